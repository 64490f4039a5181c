// Weights that are zero, and weights that are huge: what is written can be computed with, or is refused by name.

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>

#include "jobs/job_testing.h"
#include "jobs/written_model.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::TemporaryFolder;

const std::string kLlama = testing::tiny_model("source-llama-bf16");

struct Combination {
  const char* scheme;
  const char* format;
  const char* recipe = "rtn";
};

// Schemes by how they make scales, formats by how they keep them.
const std::vector<Combination> kRuns = {{"W4A16", "auto_round"},
                                        {"W4A16", "auto_gptq"},
                                        {"W4A16", "auto_awq"},
                                        {"W2A16", "auto_round"},
                                        {"W8A16", "llm_compressor"},
                                        {"W4A16", "llm_compressor"},
                                        {"INT8_W8A8", "llm_compressor"},
                                        {"W4A16", "mlx"},
                                        {"W4A16", "fake"},
                                        {"MXFP4", "auto_round"},
                                        {"MXFP8", "llm_compressor"},
                                        {"MXINT4", "auto_round"},
                                        {"NVFP4", "auto_round"},
                                        {"NVFP4", "llm_compressor"},
                                        {"NVFP4", "fake"},
                                        {"NVFP4_E5M3", "auto_round"},
                                        {"FP8_STATIC", "auto_round"},
                                        {"FP8_DYNAMIC", "llm_compressor"},
                                        {"FP8_BLOCK", "fp8"},
                                        {"FPW8A16", "llm_compressor"},
                                        {"NVFP4", "llm_compressor", "default"},
                                        {"W4A16", "auto_round", "opt-rtn"},
                                        {"NVFP4", "llm_compressor", "opt-rtn"}};

QuantizeOptions options_of(const Combination& run, const fs::path& model, const fs::path& out) {
  QuantizeOptions options;
  options.model = model.string();
  options.output_dir = out;
  options.recipe = run.recipe;
  options.scheme = run.scheme;
  options.formats = {run.format};
  options.dataset = "self";
  options.tuning.nsamples = 2;
  options.tuning.seqlen = 16;
  options.tuning.batch_size = 2;
  if (std::string(run.recipe) == "default") options.tuning.iters = 2;
  options.force = true;
  fs::copy_file(fs::path(kLlama) / "tokenizer.json", model / "tokenizer.json", fs::copy_options::skip_existing);
  return options;
}

// Every number of the export is finite, and nothing a loader divides by is zero.
void expect_usable(const fs::path& folder, const std::string& what) {
  const auto weights = open_safetensors(folder);
  for (const TensorInfo& tensor : weights->tensors()) {
    const at::Tensor values = weights->load(tensor.name);
    if (!at::isFloatingType(values.scalar_type())) continue;
    const at::Tensor numbers = values.to(at::kFloat);
    EXPECT_TRUE(numbers.isfinite().all().item<bool>()) << what << ": " << tensor.name;
    if (tensor.name.ends_with("global_scale")) EXPECT_GT(numbers.min().item<float>(), 0) << what << ": " << tensor.name;
  }
}

std::string label(const Combination& run) {
  return std::string(run.scheme) + " " + run.format + " " + run.recipe;
}

// A layer of zeros has no range, and what follows it never sees an input.
TEST(UsableScales, LayersRowsAndGroupsOfZeros) {
  const TemporaryFolder folder;
  TensorMap tensors = testing::tensors_of(kLlama);
  for (const char* layer : {"model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.gate_proj.weight",
                            "model.layers.1.self_attn.o_proj.weight"})
    tensors.at(layer).zero_();
  tensors.at("model.layers.1.mlp.up_proj.weight")[3].zero_();
  tensors.at("model.layers.1.mlp.down_proj.weight")[5].narrow(0, 32, 32).zero_();
  const fs::path model = testing::write_model(folder.path() / "model", tensors, testing::config_of(kLlama));
  for (const Combination& run : kRuns) {
    const QuantizeOptions options = options_of(run, model, folder.path() / "out");
    Reporter silent;
    (void)quantize(options, testing::registry(), silent);
    expect_usable(options.output_dir, label(run));
    if (std::string(run.format) == "fake") continue;
    const auto source = open_source(options.output_dir.string(), testing::registry());
    for (const LinearSpec& spec : sdk::packed_layers(*source)) {
      const at::Tensor back = testing::registry()
                                  .scheme_for(spec.quant.weight.data_type)
                                  .dequantize(sdk::packed_of(*source).unpack(spec.name), spec.quant.weight, at::kFloat);
      const at::Tensor was = tensors.at(spec.name + ".weight").to(at::kFloat);
      EXPECT_TRUE(back.masked_select(was.eq(0)).eq(0).all().item<bool>()) << label(run) << ": " << spec.name;
    }
  }
}

// Float16 ends at 65504, and so do the scales of many formats.
TEST(UsableScales, HugeWeightsAreHeldOrRefusedByName) {
  const TemporaryFolder folder;
  TensorMap tensors = testing::tensors_of(kLlama);
  const std::string layer = "model.layers.0.mlp.up_proj";
  at::Tensor row = tensors.at(layer + ".weight")[3];
  row.mul_(3e7);
  const fs::path model = testing::write_model(folder.path() / "model", tensors, testing::config_of(kLlama));
  int refused = 0, held = 0;
  for (const Combination& run : kRuns) {
    if (std::string(run.recipe) != "rtn") continue;
    const QuantizeOptions options = options_of(run, model, folder.path() / "out");
    Reporter silent;
    try {
      (void)quantize(options, testing::registry(), silent);
      ++held;
      expect_usable(options.output_dir, label(run));
    } catch (const Error& error) {
      ++refused;
      EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
      EXPECT_TRUE(contains(error.what(), layer)) << label(run) << ": " << error.what();
    }
  }
  EXPECT_GE(refused, 6) << "integers with scales in float16";
  EXPECT_GE(held, 5) << "powers of two, 8-bit floats";
}

const std::string kLayer = "model.layers.0.mlp.up_proj";

// Schemes whose scales are not float16.
const std::vector<Combination> kFloats = {{"MXFP4", "auto_round"},      {"MXFP8", "llm_compressor"},
                                          {"MXINT4", "auto_round"},     {"FP8_BLOCK", "fp8"},
                                          {"FPW8A16", "auto_round"},    {"FP8_DYNAMIC", "llm_compressor"},
                                          {"NVFP4_E5M3", "auto_round"}, {"NVFP4", "llm_compressor"}};

// Quantizes with kLayer changed. Held: verify has no complaint, and the layer's relative error is returned. Refused:
// -1, by the layer's name, with a next step.
double error_or_refusal(const Combination& run, const std::function<void(at::Tensor&)>& change, Reporter& reporter) {
  const TemporaryFolder folder;
  TensorMap tensors = testing::tensors_of(kLlama);
  change(tensors.at(kLayer + ".weight"));
  const fs::path model = testing::write_model(folder.path() / "model", tensors, testing::config_of(kLlama));
  const QuantizeOptions options = options_of(run, model, folder.path() / "out");
  try {
    (void)quantize(options, testing::registry(), reporter);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input) << label(run) << ": " << error.what();
    for (const std::string& part : {kLayer, std::string("--ignore_layers")})
      EXPECT_TRUE(contains(error.what(), part)) << label(run) << ": " << error.what();
    return -1;
  }
  expect_usable(options.output_dir, label(run));
  const json::Object report =
      verify({.directory = options.output_dir, .against = model.string()}, testing::registry(), reporter);
  EXPECT_TRUE(report.at("passed").as_bool()) << label(run) << ": " << json::dump(report.at("checks"), 2);
  const json::Value record = json::read_file(options.output_dir / "arkit-run.json");
  for (const json::Value& layer : record.as_object().at("plan").as_object().at("layers").as_array())
    if (layer.as_object().at("name").as_string() == kLayer)
      return layer.as_object().at("relative_error").to_number<double>();
  ADD_FAILURE() << label(run) << ": the record has no such layer";
  return 0;
}

// What is written is right and verify says so, or the run ends.
TEST(UsableScales, WeightsAtTheEndOfFloat) {
  Reporter silent;
  for (const Combination& run : kFloats) {
    if (std::string(run.scheme) == "NVFP4") continue;  // its calibration asks for a model that computes
    const double one = error_or_refusal(
        run, [](at::Tensor& w) { w[3][5] = 3e38; }, silent);
    const double all = error_or_refusal(
        run, [](at::Tensor& w) { w.copy_(w.sign().mul(3e38)); }, silent);
    const bool cut = std::string(run.scheme) == "NVFP4_E5M3";  // its scales end at 114688
    for (const double error : {one, all}) {
      if (cut) EXPECT_EQ(error, -1) << label(run);
      if (!cut && error >= 0) EXPECT_LT(error, 0.3) << label(run);
    }
  }
}

// Scales end below as well: a layer of which nothing would be left is refused, unless nothing computes with it anyway.
TEST(UsableScales, WeightsBelowTheScalesOfTheirScheme) {
  Reporter silent;
  for (const Combination& run : kFloats) {
    const std::string scheme = run.scheme;
    const double small = error_or_refusal(
        run, [](at::Tensor& w) { w.mul_(1e-12); }, silent);
    if (scheme.starts_with("MX"))
      EXPECT_TRUE(small >= 0 && small < 0.3) << label(run) << " " << small;
    else
      EXPECT_EQ(small, -1) << label(run);
    testing::Recorder recorder;
    const double none = error_or_refusal(
        run, [](at::Tensor& w) { w.copy_(w.sign().mul(1e-36)); }, recorder);
    EXPECT_GE(none, 0) << label(run);
    const bool told = std::any_of(recorder.warnings.begin(), recorder.warnings.end(), [&](const std::string& warning) {
      return contains(warning, kLayer) && contains(warning, "zeros");
    });
    EXPECT_EQ(told, none >= 0.99) << label(run) << " " << none;
  }
}

TEST(UsableScales, OneDenormalAmongZeros) {
  Reporter silent;
  for (const Combination& run : kFloats)
    EXPECT_GE(error_or_refusal(
                  run,
                  [](at::Tensor& w) {
                    w.zero_();
                    w[3][5] = 1e-39;
                  },
                  silent),
              0)
        << label(run);
}

// Cut off above its largest scale, silently, it was.
TEST(UsableScales, ScalesOfE5m3EndWhereTheyEnd) {
  Reporter silent;
  for (const char* recipe : {"rtn", "opt-rtn", "default"}) {
    const Combination run{"NVFP4_E5M3", "auto_round", recipe};
    EXPECT_EQ(error_or_refusal(
                  run, [](at::Tensor& w) { w[3][5] = 8e5; }, silent),
              -1)
        << recipe;
  }
  const Combination run{"NVFP4_E5M3", "auto_round"};
  EXPECT_LT(error_or_refusal(
                run, [](at::Tensor& w) { w[3][5] = 7e5; }, silent),
            0.05);
}

// Layers that engines fuse share a global scale: one huge weight in one makes zeros of the others.
TEST(UsableScales, SharedScalesThatDestroyALayer) {
  struct Pair {
    std::string asking, lost;
  };
  const std::string block = "model.layers.1.";
  for (const Pair& pair : {Pair{block + "self_attn.q_proj", block + "self_attn.k_proj"},
                           Pair{block + "mlp.gate_proj", block + "mlp.up_proj"}})
    for (const char* recipe : {"rtn", "opt-rtn", "default"})
      for (const bool model_free : {false, true}) {
        if (model_free && std::string(recipe) != "rtn") continue;
        const TemporaryFolder folder;
        TensorMap tensors = testing::tensors_of(kLlama);
        tensors.at(pair.asking + ".weight")[3][5] = 2e6;
        const fs::path model = testing::write_model(folder.path() / "model", tensors, testing::config_of(kLlama));
        QuantizeOptions options = options_of({"NVFP4", "llm_compressor", recipe}, model, folder.path() / "out");
        options.model_free = model_free;
        if (model_free) options.overrides.act_bits = 16;  // nothing is calibrated
        Reporter silent;
        try {
          (void)quantize(options, testing::registry(), silent);
          ADD_FAILURE() << recipe << ": " << pair.lost << " was written as zeros";
        } catch (const Error& error) {
          EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
          for (const std::string& part : {pair.asking, pair.lost, std::string("--ignore_layers")})
            EXPECT_TRUE(contains(error.what(), part)) << recipe << ": " << error.what();
        }
      }
}

TEST(UsableScales, SharedScalesThatAreFarApartButFine) {
  const TemporaryFolder folder;
  TensorMap tensors = testing::tensors_of(kLlama);
  tensors.at("model.layers.1.self_attn.q_proj.weight")[3][5] = 100;
  const fs::path model = testing::write_model(folder.path() / "model", tensors, testing::config_of(kLlama));
  const QuantizeOptions options = options_of({"NVFP4", "llm_compressor"}, model, folder.path() / "out");
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
  const json::Object report =
      verify({.directory = options.output_dir, .against = model.string()}, testing::registry(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
}

}  // namespace
}  // namespace arkit
