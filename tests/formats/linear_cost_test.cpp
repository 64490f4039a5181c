// What a format does for a model grows with the number of its layers, not with its square: counted in bytes that are
// asked for, which no other load of the machine changes.

#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "formats/memory_source.h"
#include "formats/tiny_export.h"

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
  (void)source.weights().find("");
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

}  // namespace
}  // namespace arkit::test
