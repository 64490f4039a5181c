// What a format does for a model grows with the number of its layers, not with its square: counted in bytes that are
// asked for, which no other load of the machine changes.

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <new>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "convert/layer_trial.h"
#include "formats/memory_source.h"
#include "formats/tiny_export.h"
#include "jobs/tiny_checkpoint.h"

namespace {

std::atomic<int64_t> g_bytes{0};

void* counted(std::size_t size) {
  g_bytes += static_cast<int64_t>(size);
  if (void* data = std::malloc(size == 0 ? 1 : size)) return data;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) {
  return counted(size);
}
void* operator new[](std::size_t size) {
  return counted(size);
}
void operator delete(void* data) noexcept {
  std::free(data);
}
void operator delete[](void* data) noexcept {
  std::free(data);
}
void operator delete(void* data, std::size_t) noexcept {
  std::free(data);
}
void operator delete[](void* data, std::size_t) noexcept {
  std::free(data);
}

namespace arkit::test {
namespace {

// Experts of one block, every third of another scheme and every fifth left in 16 bits, beside as many layers that no
// plan knows; or all alike.
QuantPlan plan_of(int64_t layers, bool mixed, MemorySource& source) {
  QuantPlan plan;
  plan.global.weight = {.bits = 4, .group_size = 32};
  plan.block_lists = {"model.layers"};
  plan.num_blocks = 1;
  const at::Tensor weight = at::zeros({32, 32}, at::kBFloat16);
  for (int64_t i = 0; i < layers; ++i) {
    LayerPlan layer{.name = str("model.layers.0.mlp.experts.", i, ".up_proj"), .out_features = 32, .in_features = 32};
    layer.block = 0;
    layer.quant = plan.global;
    if (mixed && i % 3 == 1) layer.quant.weight.bits = 8;
    if (mixed && i % 5 == 0) layer.quant.weight.bits = 16;
    source.memory.add(layer.name + ".weight", weight, "BF16");
    if (mixed) source.memory.add(str("visual.adapters.", i, ".proj.weight"), weight, "BF16");
    plan.layers.push_back(std::move(layer));
  }
  if (mixed)
    for (const char* pattern : {"experts.1", "experts.2"}) {
      LayerQuant quant = plan.global;
      quant.weight.bits = 8;
      plan.rules.push_back({.pattern = pattern, .regex = str(".*", pattern, "[0-9]*\\.up_proj.*"), .quant = quant});
    }
  return plan;
}

int64_t bytes_of_opening(const std::string& format, int64_t layers, bool mixed) {
  MemorySource source;
  const QuantPlan plan = plan_of(layers, mixed, source);
  (void)source.weights();  // its table is no cost of an export
  const TemporaryFolder folder(str("linear_cost_", layers));
  const int64_t before = g_bytes;
  const auto job =
      exporter_named(format).open({.output_dir = folder.path(), .source = source, .plan = plan, .run = {}}, format);
  return g_bytes - before;
}

TEST(LinearCost, OpeningAnExport) {
  for (const char* format : {"llm_compressor", "llmcompressor", "auto_round", "auto_gptq", "auto_awq", "mlx"}) {
    for (const bool mixed : {false, true}) {
      if (mixed && std::string(format) == "auto_awq") continue;  // holds one scheme
      const int64_t one = bytes_of_opening(format, 600, mixed), four = bytes_of_opening(format, 2400, mixed);
      EXPECT_LT(four, 6 * one) << format << (mixed ? " mixed: " : ": ") << one << " and " << four << " bytes";
    }
  }
}

// A packer and unpacker that count the layers of the plans they are handed: what may be gone through for each layer.
class CountingExporter final : public Exporter {
 public:
  explicit CountingExporter(const Exporter& inner) : inner_(inner) {}
  mutable int64_t handed = 0;

  [[nodiscard]] const ExporterInfo& info() const noexcept override { return inner_.info(); }
  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override {
    return inner_.supports(layer, variant);
  }
  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan& plan,
                               std::string_view variant) const override {
    handed += static_cast<int64_t>(plan.layers.size());
    return inner_.pack(layer, plan, variant);
  }
  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan& plan,
                                       std::string_view variant) const override {
    handed += static_cast<int64_t>(plan.layers.size());
    return inner_.unpack(layer, packed, plan, variant);
  }
  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view variant) const override {
    return inner_.packed_bytes(layer, variant);
  }
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    return inner_.open(request, variant);
  }

 private:
  const Exporter& inner_;
};

int64_t layers_handed_to_packers(int64_t layers, bool mixed) {
  MemorySource source;
  QuantPlan plan = plan_of(layers, mixed, source);
  for (LayerPlan& layer : plan.layers) layer.quant.weight.sym = layer.quant.weight.bits != 4;
  plan.global.weight.sym = false;  // whether the AWQ packing fits is a question to all layers
  const CountingExporter counting(exporter_named("auto_round"));
  const LayerTrial trial(plan, false);
  at::manual_seed(3);
  const at::Tensor weight = at::randn({32, 32}).to(at::kBFloat16);
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    const QuantizedWeight quantized = round_to_nearest(weight, layer.quant.weight);
    EXPECT_EQ(trial.why_not(counting, "auto_round", {.plan = layer, .quantized = quantized}), "") << layer.name;
  }
  return counting.handed;
}

TEST(LinearCost, TryingLayersForConversion) {
  for (const bool mixed : {false, true}) {
    const int64_t one = layers_handed_to_packers(200, mixed), four = layers_handed_to_packers(800, mixed);
    EXPECT_GT(one, 0);
    EXPECT_LE(four, 5 * one) << (mixed ? "mixed: " : "") << one << " and " << four << " layers";
  }
}

// Block 0 of a tiny model `blocks` times, rounded to 4 asymmetric bits in `format`.
void make_export_of_blocks(const std::filesystem::path& folder, int64_t blocks, const std::string& format) {
  testing::Checkpoint checkpoint = testing::tiny_checkpoint("source-llama-bf16");
  const std::string first = "model.layers.0.";
  TensorMap tensors;
  for (const auto& [name, tensor] : checkpoint.tensors) {
    if (!name.starts_with("model.layers.")) tensors.emplace(name, tensor);
    if (!name.starts_with(first)) continue;
    for (int64_t block = 0; block < blocks; ++block)
      tensors.emplace(str("model.layers.", block, ".", name.substr(first.size())), tensor);
  }
  checkpoint.tensors = std::move(tensors);
  checkpoint.config["num_hidden_layers"] = blocks;
  QuantizeOptions options;
  options.model = checkpoint.write(folder / "model");
  options.output_dir = folder / "packed";
  options.recipe = "rtn";
  options.overrides.bits = 4;
  options.overrides.sym = false;
  options.overrides.group_size = 32;
  options.formats = {format};
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
}

int64_t bytes_of_converting(int64_t blocks) {
  const TemporaryFolder folder(str("linear_convert_", blocks));
  make_export_of_blocks(folder.path(), blocks, "auto_awq");
  ConvertOptions options;
  options.model = (folder.path() / "packed").string();
  options.output_dir = folder.path() / "converted";
  options.formats = {"auto_round"};
  Reporter silent;
  const int64_t before = g_bytes;
  (void)convert(options, testing::registry(), silent);
  return g_bytes - before;
}

TEST(LinearCost, ConvertingAnExport) {
  const int64_t one = bytes_of_converting(8), four = bytes_of_converting(32);
  EXPECT_LT(four, 5 * one) << one << " and " << four << " bytes";
}

}  // namespace
}  // namespace arkit::test
