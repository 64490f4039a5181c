#include "conformance/transform_suite.h"

#include "jobs/job_testing.h"

namespace arkit::conformance {
namespace {

std::vector<TransformCase> all_transforms() {
  std::vector<TransformCase> cases;
  for (const std::string& name : testing::registry().names(Kind::transform))
    if (const Transform& transform = testing::registry().transform(name);
        transform.info().stage == TransformStage::block)
      cases.push_back({name, &transform});
  return cases;
}

INSTANTIATE_TEST_SUITE_P(Plugins, TransformSuite, ::testing::ValuesIn(all_transforms()), transform_case_name);

}  // namespace
}  // namespace arkit::conformance
