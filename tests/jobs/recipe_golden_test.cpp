// Every export of llm-compressor itself, made again from its own recipe.yaml by the whole job.
#include <cmath>
#include <fstream>
#include <iterator>

#include <ATen/ATen.h>

#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>

#include "formats/golden_compare.h"
#include "jobs/job_testing.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

// Inputs of the layers come from a forward in f32 here and in bf16 there.
constexpr double kCalibratedFactor = 1.02;

struct RecipeCase {
  const char* name;
  bool needs_data = false;
};

std::string folder_of(const std::string& name) {
  return std::string(ARKIT_TEST_DATA) + "/golden-llmc/" + name;
}

std::string text_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void quantize_case(const RecipeCase& golden, const fs::path& output) {
  QuantizeOptions options;
  const std::string name = golden.name;
  options.model = testing::tiny_model(name.starts_with("qwen3") ? "source-qwen3-bf16" : "source-llama-bf16");
  options.recipe_file = folder_of(name) + "/recipe.yaml";
  options.formats.clear();
  options.output_dir = output;
  if (golden.needs_data) {
    options.dataset = folder_of("calibration.safetensors");
    options.tuning.nsamples = 4;
    options.tuning.seqlen = 32;
  }
  testing::Recorder reporter;
  (void)quantize(options, testing::registry(), reporter);
}

class RecipeGolden : public ::testing::TestWithParam<RecipeCase> {
 protected:
  void SetUp() override { quantize_case(GetParam(), output_); }

  void expect_equal_texts() const {
    for (const char* file : {"config.json", "recipe.yaml"})
      EXPECT_EQ(text_of(output_ / file), text_of(golden_ / file)) << file;
    EXPECT_FALSE(fs::exists(output_ / "quantization_config.json"));
  }

  testing::TemporaryFolder folder_;
  fs::path output_ = folder_.path() / "out", golden_ = folder_of(GetParam().name);
};

std::string name_of(const ::testing::TestParamInfo<RecipeCase>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

using RecipeGoldenFile = RecipeGolden;

TEST_P(RecipeGoldenFile, HasTheSameBytes) {
  expect_equal_texts();
  EXPECT_EQ(sha256_file(output_ / "model.safetensors") + "\n", text_of(golden_ / "model.sha256"));
}

INSTANTIATE_TEST_SUITE_P(
    All, RecipeGoldenFile,
    ::testing::Values(RecipeCase{"FP8_BLOCK"}, RecipeCase{"FP8_DYNAMIC"}, RecipeCase{"MXFP4"}, RecipeCase{"MXFP4A16"},
                      RecipeCase{"MXFP8"}, RecipeCase{"MXFP8A16"}, RecipeCase{"NVFP4A16"}, RecipeCase{"W3A16"},
                      RecipeCase{"W4A16"}, RecipeCase{"W4A16-mse"}, RecipeCase{"W4A16-nolmignore"},
                      RecipeCase{"W4A16G32"}, RecipeCase{"W4A16G32_ASYM"}, RecipeCase{"W4A16_ASYM"}, RecipeCase{"W4A8"},
                      RecipeCase{"W4AFP8"}, RecipeCase{"W8A16"}, RecipeCase{"W8A8"}, RecipeCase{"embed-W4A16"},
                      RecipeCase{"mixed-int-groups"}, RecipeCase{"mixed-nvfp4-fp8"}, RecipeCase{"qwen3tied-NVFP4A16"},
                      RecipeCase{"qwen3tied-W4A16"}, RecipeCase{"autoround-W4A16-iters0-disable_opt_rtn"},
                      RecipeCase{"autoround-W4A16-iters2", true}),
    name_of);

using RecipeGoldenScales = RecipeGolden;

TEST_P(RecipeGoldenScales, DifferByRoundingOfInputsOnly) {
  expect_equal_texts();
  fs::remove(output_ / "generation_config.json");  // not kept with the reference's files
  EXPECT_EQ(test::first_difference(output_, golden_, {.calibrated_factor = kCalibratedFactor}), "");
}

INSTANTIATE_TEST_SUITE_P(All, RecipeGoldenScales,
                         ::testing::Values(RecipeCase{"FP8", true}, RecipeCase{"FP8_DYNAMIC-kvfp8", true},
                                           RecipeCase{"NVFP4", true}, RecipeCase{"kvfp8-only", true}),
                         name_of);

at::Tensor dequantized(const ModelSource& source, const LinearSpec& layer) {
  const Scheme& scheme = testing::registry().scheme_for(layer.quant.weight.data_type);
  return scheme.dequantize(sdk::packed_of(source).unpack(layer.name), layer.quant.weight, at::kFloat);
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / b.norm()).item<double>();
}

using RecipeGoldenTuned = RecipeGolden;

// Importances and steps come from block forwards, so some weights land on the next code; the files are built alike, and
// on average the weights are as near to the source.
TEST_P(RecipeGoldenTuned, IsAsNearToTheSource) {
  expect_equal_texts();
  const auto ours = open_source(output_.string(), testing::registry());
  const auto theirs = open_source(golden_.string(), testing::registry());
  const auto source = open_safetensors(testing::tiny_model("source-llama-bf16"));
  double our_error = 0, their_error = 0;
  ASSERT_EQ(sdk::packed_layers(*ours).size(), sdk::packed_layers(*theirs).size());
  ASSERT_FALSE(sdk::packed_layers(*ours).empty());
  for (const LinearSpec& layer : sdk::packed_layers(*theirs)) {
    for (const auto& [suffix, expected] : sdk::packed_of(*theirs).tensors(layer.name)) {
      const at::Tensor got = sdk::packed_of(*ours).tensors(layer.name).at(suffix);
      EXPECT_EQ(got.scalar_type(), expected.scalar_type()) << layer.name << "." << suffix;
      EXPECT_EQ(got.sizes(), expected.sizes()) << layer.name << "." << suffix;
    }
    const at::Tensor weight = source->load(layer.name + ".weight").to(at::kFloat);
    const at::Tensor a = dequantized(*ours, layer), b = dequantized(*theirs, layer);
    our_error += distance(a, weight);
    their_error += distance(b, weight);
    EXPECT_LT(distance(a, b), distance(b, weight)) << layer.name;
  }
  EXPECT_NEAR(our_error / their_error, 1.0, 0.02);
}

INSTANTIATE_TEST_SUITE_P(All, RecipeGoldenTuned,
                         ::testing::Values(RecipeCase{"autoround-NVFP4-iters0", true},
                                           RecipeCase{"autoround-NVFP4-iters2", true},
                                           RecipeCase{"autoround-W4A16-iters0", true}),
                         name_of);

}  // namespace
}  // namespace arkit
