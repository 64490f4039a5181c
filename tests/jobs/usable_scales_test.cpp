// Weights that are zero, and weights that are huge: what is written can be computed with, or is refused by name.

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/scheme.h>

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
    for (const LinearSpec& spec : source->packed_layers()) {
      const at::Tensor back = testing::registry()
                                  .scheme_for(spec.quant.weight.data_type)
                                  .dequantize(source->unpack(spec.name), spec.quant.weight, at::kFloat);
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
      EXPECT_TRUE(error.code() == ErrorCode::unsupported || error.code() == ErrorCode::input) << error.what();
      EXPECT_TRUE(contains(error.what(), layer)) << label(run) << ": " << error.what();
    }
  }
  EXPECT_GE(refused, 6) << "integers with scales in float16";
  EXPECT_GE(held, 5) << "powers of two, 8-bit floats";
}

}  // namespace
}  // namespace arkit
