// `arkit list` as a function: rows made from what the plugins say of themselves.
#include "jobs/job_testing.h"

#include <arkit/json.h>

namespace arkit {
namespace {

TEST(List, AFormatShowsASchemeTwiceOnlyWhereTheSchemeCanBeAsymmetric) {
  const json::Object lists = list_things("formats", testing::registry());
  ASSERT_FALSE(lists.at("formats").as_array().empty());
  for (const json::Value& format : lists.at("formats").as_array()) {
    const json::Object& schemes = format.at("schemes").as_object();
    EXPECT_TRUE(schemes.contains("W4A16"));
    EXPECT_TRUE(schemes.contains("W4A16 asym"));
    for (const char* name : {"BF16", "INT8", "MXFP4", "NVFP4"}) {
      EXPECT_TRUE(schemes.contains(name)) << name;
      EXPECT_FALSE(schemes.contains(std::string(name) + " asym")) << name;
    }
  }
}

TEST(List, AnUnknownListIsRefusedWithTheNearestName) {
  EXPECT_TRUE(
      testing::contains(testing::refusal(ErrorCode::usage, [] { (void)list_things("shemes", testing::registry()); }),
                        "did you mean 'schemes'"));
}

}  // namespace
}  // namespace arkit
