// Every preset that is no plain W?A16, from a model to a dequantized one: rounded, searched and tuned, activations
// included. What the formats pack of it is tested with them.
#include <set>

#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/scheme.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::Recorder;
using testing::registry;

struct PresetCase {
  std::string name;
  double error;  // what rounding Gaussian weights costs at most, ||W - D|| / ||W||
};

std::string case_name(const ::testing::TestParamInfo<PresetCase>& info) {
  return info.param.name;
}

class SchemePreset : public ::testing::TestWithParam<PresetCase> {
 protected:
  SchemePreset() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.formats = {"fake"};
    options_.scheme = GetParam().name;
    options_.output_dir = folder_.path() / "out";
    options_.dataset = "self";
    options_.tuning.nsamples = 4;
    options_.tuning.seqlen = 16;
    options_.tuning.batch_size = 4;
  }

  json::Array run() {
    (void)quantize(options_, registry(), recorder_);
    const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
    return record.as_object().at("plan").as_object().at("layers").as_array();
  }

  std::vector<double> errors() {
    std::vector<double> found;
    for (const json::Value& layer : run())
      if (const json::Value* error = layer.as_object().if_contains("relative_error"))
        found.push_back(error->to_number<double>());
    EXPECT_EQ(found.size(), 14U);
    return found;
  }

  void expect_errors_below(double limit) {
    int seen = 0;
    for (const json::Value& layer : run())
      if (const json::Value* error = layer.as_object().if_contains("relative_error")) {
        ++seen;
        EXPECT_GT(error->to_number<double>(), limit / 20) << layer.as_object().at("name").as_string();
        EXPECT_LT(error->to_number<double>(), limit) << layer.as_object().at("name").as_string();
      }
    EXPECT_EQ(seen, 14);
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
};

TEST_P(SchemePreset, RoundsEveryLayer) {
  options_.recipe = "rtn";
  expect_errors_below(GetParam().error);
}

TEST_P(SchemePreset, SearchesEveryLayer) {
  options_.recipe = "opt-rtn";
  expect_errors_below(GetParam().error * 1.3);  // the search weighs errors by the inputs
}

TEST_P(SchemePreset, TunesEveryBlock) {
  options_.recipe = "rtn";
  const std::vector<double> rounded = errors();
  recorder_.blocks.clear();
  options_.force = true;
  options_.recipe = "default";
  options_.tuning.iters = 16;
  options_.tuning.lr = 0.01;  // 1 / 16 is too coarse for eight bits
  const std::vector<double> tuned = errors();
  // Outputs matter, not weights: theirs are a little further from the originals than the nearest codes are. Codes or
  // scales that are wrong are much further.
  for (size_t i = 0; i < tuned.size(); ++i) {
    EXPECT_GT(tuned[i], 0.9 * rounded[i]) << i;
    EXPECT_LT(tuned[i], 1.5 * rounded[i]) << i;
  }
  EXPECT_NE(tuned, rounded);
  ASSERT_EQ(recorder_.blocks.size(), 2U);
  double before = 0, after = 0;
  for (const BlockProgress& block : recorder_.blocks) {
    before += block.loss_before;
    after += block.loss_after;
  }
  EXPECT_LT(after, before) << "all samples in every iteration: losses compare";
}

// SignRoundV2: initial scales from the search, the clamp of scales at 2, the loss without outliers.
TEST_P(SchemePreset, TunesFromSearchedScales) {
  options_.recipe = "default";
  options_.tuning.iters = 4;
  options_.tuning.enable_alg_ext = true;
  expect_errors_below(GetParam().error * 1.5);
}

INSTANTIATE_TEST_SUITE_P(All, SchemePreset,
                         ::testing::Values(PresetCase{"MXFP4", 0.16}, PresetCase{"MXFP4_RCEIL", 0.16},
                                           PresetCase{"MXFP6", 0.05}, PresetCase{"MXFP8", 0.04},
                                           PresetCase{"MXFP8_RCEIL", 0.04}, PresetCase{"MXINT4", 0.2},
                                           PresetCase{"NVFP4", 0.13}, PresetCase{"NVFP4_E5M3", 0.13},
                                           PresetCase{"FPW8A16", 0.04}, PresetCase{"FP8_STATIC", 0.04},
                                           PresetCase{"FP8_DYNAMIC", 0.04}, PresetCase{"FP8_BLOCK", 0.04},
                                           PresetCase{"INT8", 0.02}, PresetCase{"INT4", 0.25}),
                         case_name);

// layer_config may ask for static activations where the global scheme needs no data at all.
TEST(SchemePresets, CalibrateForTheLayerThatNeedsIt) {
  testing::TemporaryFolder folder;
  Recorder recorder;
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.formats = {"fake"};
  options.recipe = "rtn";
  options.dataset = "self";
  options.tuning.nsamples = 2;
  options.tuning.seqlen = 8;
  options.layer_config = R"({"down_proj": "FP8_STATIC"})";
  options.output_dir = folder.path() / "out";
  (void)quantize(options, registry(), recorder);
  const json::Value record = json::read_file(options.output_dir / "arkit-run.json");
  EXPECT_EQ(record.as_object().at("method").as_string(), "RTN");
  EXPECT_FALSE(record.as_object().at("calibration").as_object().empty());
}

TEST(SchemePresets, HaveNamesOfTheirOwn) {
  std::set<std::string> names;
  for (const std::string& scheme : registry().names(Kind::scheme))
    for (const Preset& preset : registry().scheme(scheme).presets())
      EXPECT_TRUE(names.insert(preset.name).second) << preset.name;
  for (const char* name : {"W4A16", "MXFP4", "NVFP4", "FP8_BLOCK", "INT8_W8A8", "BF16"})
    EXPECT_TRUE(names.contains(name));
}

}  // namespace
}  // namespace arkit
