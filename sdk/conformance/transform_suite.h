#pragma once
// Conformance tests every Transform must pass. Include it in one test source and name the cases:
//
//   INSTANTIATE_TEST_SUITE_P(Awq, TransformSuite, ::testing::Values(TransformCase{"awq", transform}),
//                            transform_case_name);

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/transform.h>

#include "toy_scene.h"

namespace arkit::conformance {

struct TransformCase {
  std::string name;  // letters, digits and '_'
  const Transform* transform = nullptr;
};

inline std::string transform_case_name(const ::testing::TestParamInfo<TransformCase>& info) {
  return info.param.name;
}

class TransformSuite : public ::testing::TestWithParam<TransformCase> {
 protected:
  static const Transform& transform() { return *GetParam().transform; }
  static std::unique_ptr<BlockTransform> started() { return transform().start(transform().settings({})); }

  // A plan in which the layers of the toy are quantized, or not.
  static QuantPlan plan(bool quantized) {
    QuantPlan plan;
    for (const Linear& linear : ToyScene().layers) {
      LayerPlan& layer = plan.layers.emplace_back();
      layer.name = linear.name;
      layer.quant.weight.bits = quantized ? 4 : 16;
    }
    return plan;
  }

  // What it chooses for every place, each folded before the next is asked.
  static std::vector<at::Tensor> choices(ToyScene& scene) {
    const auto run = started();
    std::vector<at::Tensor> all;
    const std::vector<ScalePlace> places = ToyScene::places();
    run->begin(places, scene);
    for (const ScalePlace& place : places) {
      const at::Tensor scales = run->choose(place, scene).scales;
      all.push_back(scales);
      if (scales.defined()) scene.fold(place, scales);
    }
    return all;
  }
};

TEST_P(TransformSuite, ItsSettingsAreCompleteAndReadBack) {
  const json::Object all = transform().settings({});
  EXPECT_EQ(json::dump(transform().settings(all), 0, true), json::dump(all, 0, true));
}

TEST_P(TransformSuite, RefusesASettingItDoesNotHave) {
  try {
    (void)transform().settings({{"no_such_setting", 1}});
    FAIL() << "a setting that does nothing was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("no_such_setting"), std::string::npos);
  }
}

TEST_P(TransformSuite, WantsNothingWhereNothingIsRounded) {
  for (const ScalePlace& place : ToyScene::places()) {
    const Verdict verdict = transform().wants(place, plan(false));
    EXPECT_FALSE(verdict) << place.from;
    EXPECT_NE(verdict.why_not, "");
  }
  bool any = false;
  for (const ScalePlace& place : ToyScene::places())
    any = any || static_cast<bool>(transform().wants(place, plan(true)));
  EXPECT_TRUE(any);
}

TEST_P(TransformSuite, GivesOnePositiveScaleAChannelAndTouchesNothing) {
  ToyScene scene;
  std::vector<at::Tensor> before;
  for (const Linear& layer : scene.layers) before.push_back(layer.weight.clone());
  const auto run = started();
  const std::vector<ScalePlace> places = ToyScene::places();
  run->begin(places, scene);
  for (const ScalePlace& place : places) {
    const at::Tensor scales = run->choose(place, scene).scales;
    if (!scales.defined()) continue;
    ASSERT_EQ(scales.numel(), place.channels);
    EXPECT_TRUE(scales.isfinite().logical_and(scales.gt(0)).all().item<bool>());
  }
  for (size_t i = 0; i < before.size(); ++i) EXPECT_TRUE(scene.layers[i].weight.equal(before[i]));
}

// What it is for: outliers of activations cost less.
TEST_P(TransformSuite, LessensTheLossOfRounding) {
  ToyScene scene;
  const double before = scene.rounding_loss();
  (void)choices(scene);
  EXPECT_LT(scene.rounding_loss(), 0.9 * before);
}

TEST_P(TransformSuite, DoesNotDependOnTheNumberOfThreads) {
  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  ToyScene one, several;
  const std::vector<at::Tensor> alone = choices(one);
  at::set_num_threads(3);
  const std::vector<at::Tensor> shared = choices(several);
  at::set_num_threads(threads);
  for (size_t i = 0; i < alone.size(); ++i) {
    ASSERT_EQ(alone[i].defined(), shared[i].defined());
    if (alone[i].defined()) EXPECT_TRUE(alone[i].equal(shared[i]));
  }
}

}  // namespace arkit::conformance
