#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/registry.h>
#include <arkit/sdk/conformance/transform_suite.h>
#include <arkit/transform.h>

namespace {

const arkit::Transform& plugin() {
  static const arkit::Registry registry({{PLUGIN_FILE}, {}});
  return registry.transform("sample_plugin");
}

}  // namespace

TEST(SamplePlugin, GivesChannelsWithOutliersMoreRange) {
  const arkit::conformance::ToyScene scene;
  const std::vector<arkit::ScalePlace> places = arkit::conformance::ToyScene::places();
  const auto run = plugin().start(plugin().settings({{"strength", 1.0}}));
  run->begin(places, scene);
  const at::Tensor scales = run->choose(places.front(), scene).scales;  // channels 0, 11 and 22 are outliers
  EXPECT_GT(scales[0].item<float>(), 5.0F * scales[1].item<float>());
  EXPECT_GT(scales[11].item<float>(), 5.0F * scales[12].item<float>());
}

namespace arkit::conformance {
INSTANTIATE_TEST_SUITE_P(SamplePlugin, TransformSuite,
                         ::testing::Values(TransformCase{"sample_plugin", &plugin()}), transform_case_name);
}
