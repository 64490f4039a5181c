// The layout of the vendor's operator, and layers through an operator of its name on the CPU.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "door.h"
#include "hpu_linears.h"
#include "kernel_testing.h"

namespace arkit::hpu {
namespace {

using cuda::tests::LayerCase;
using cuda::tests::RandomLayer;

// What the vendor's operator is said to do: nibble i of word c is column 8c + i, groups are runs of rows.
at::Tensor convert_from_uint4(const at::Tensor& words, const at::Tensor& scales, const at::Tensor& zeros,
                              at::ScalarType type) {
  const auto spread = [](const at::Tensor& packed) {
    const at::Tensor shifts = at::arange(8, at::kInt) * 4;
    return packed.unsqueeze(-1).bitwise_right_shift(shifts).bitwise_and(15).flatten(1);
  };
  const int64_t group = words.size(0) / scales.size(0);
  const at::Tensor zero = spread(zeros).repeat_interleave(group, 0), scale = scales.repeat_interleave(group, 0);
  return ((spread(words) - zero).to(at::kFloat) * scale.to(at::kFloat)).to(type);
}

TORCH_LIBRARY(hpu, library) {
  library.def("convert_from_uint4(Tensor words, Tensor scales, Tensor zeros, ScalarType type) -> Tensor",
              convert_from_uint4);
}

LayerCase small() {
  LayerCase c;
  c.group = 32;
  c.rows = 3;
  c.inputs = 96;
  c.outputs = 21;
  c.half = false;
  c.x_type = cuda::RowType::bfloat16;
  c.bias = true;
  return c;
}

RandomLayer whole_zeros(const LayerCase& c) {
  RandomLayer layer(c);
  for (float& zero : layer.numbers.zeros) zero = std::floor(zero);
  return layer;
}

TEST(HpuWeight, PutsNibblesAlongOutputs) {
  LayerCase c = small();
  c.zeros = true;
  const RandomLayer layer = whole_zeros(c);
  const HpuWeight weight(layer.numbers, "a layer");
  ASSERT_EQ(weight.columns, 24);
  for (int64_t n = 0; n < 24; ++n) {
    for (int64_t k = 0; k < 96; ++k) {
      const auto word = static_cast<uint32_t>(weight.codes[static_cast<size_t>(k * 3 + n / 8)]);
      EXPECT_EQ(word >> (4 * (n % 8)) & 15, n < 21 ? layer.numbers.codes[static_cast<size_t>(n * 96 + k)] : 0U);
    }
    for (int64_t g = 0; g < 3; ++g) {
      const auto word = static_cast<uint32_t>(weight.zeros[static_cast<size_t>(g * 3 + n / 8)]);
      const auto at = static_cast<size_t>(n * 3 + g);
      EXPECT_EQ(word >> (4 * (n % 8)) & 15, n < 21 ? static_cast<uint32_t>(layer.numbers.zeros[at] + 8) : 0U);
      EXPECT_EQ(weight.scales[static_cast<size_t>(g * 24 + n)], n < 21 ? layer.numbers.factors[at] : 0);
    }
  }
}

TEST(HpuWeight, RefusesWhatTheOperatorCannotHold) {
  const auto refuses = [](const char* words, LayerCase c, float zero) {
    RandomLayer layer = whole_zeros(c);
    if (!layer.numbers.zeros.empty()) layer.numbers.zeros[5] = zero;
    try {
      const HpuWeight weight(layer.numbers, "layer 'x'");
      ADD_FAILURE() << "taken: " << words;
    } catch (const sdk::BackendError& error) {
      EXPECT_EQ(error.status(), ARKIT_UNSUPPORTED);
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
    }
  };
  LayerCase c = small();
  c.act_order = true;
  refuses("layer 'x' has act order", c, 0);
  c.act_order = false;
  c.zeros = true;
  refuses("zero point 16", c, 8);
  refuses("zero point 8.5", c, 0.5F);
}

TEST(HpuLinears, MultipliesThroughTheOperator) {
  for (const bool zeros : {false, true}) {
    LayerCase c = small();
    c.zeros = zeros;
    const RandomLayer layer = whole_zeros(c);
    std::vector<HpuLayer> layers;
    layers.emplace_back(HpuWeight(layer.numbers, "a layer"), at::kCPU);
    HpuLinears linears(at::kCPU, std::move(layers));
    std::vector<std::byte> x = cuda::tests::stored(layer.x, cuda::RowType::bfloat16), y(3 * 21 * 2);
    const int64_t x_shape[] = {3, 96}, y_shape[] = {3, 21};
    const ArkitTensor x_tensor{sizeof(ArkitTensor), x_shape, 2, ARKIT_BFLOAT16, x.data(), nullptr, 0};
    const ArkitTensor y_tensor{sizeof(ArkitTensor), y_shape, 2, ARKIT_BFLOAT16, y.data(), nullptr, 0};
    const sdk::TensorView out(y_tensor);
    linears.run(sdk::TensorView(x_tensor), {&out, 1}, nullptr);
    // Scales, weights, products and bias are bfloat16 here: 2^-8 each.
    for (int64_t row = 0; row < 3; ++row)
      for (int64_t n = 0; n < 21; ++n) {
        double expected = layer.numbers.bias[static_cast<size_t>(n)], size = std::abs(expected);
        for (int64_t k = 0; k < 96; ++k) {
          const auto at = static_cast<size_t>(n * 3 + k / 32);
          const double zero = layer.numbers.zeros.empty() ? 0 : layer.numbers.zeros[at];
          const double w = (layer.numbers.codes[static_cast<size_t>(n * 96 + k)] - 8 - zero) *
                           double{layer.numbers.factors[at]} * layer.x[static_cast<size_t>(row * 96 + k)];
          expected += w;
          size += std::abs(w);
        }
        const auto i = static_cast<size_t>(row * 21 + n);
        EXPECT_NEAR(cuda::tests::restored(y, cuda::RowType::bfloat16, i), expected, size * 0x1p-7) << row << " " << n;
      }
  }
}

TEST(HpuBackend, SaysWhatIsMissing) {
  const cuda::tests::Door door(ARKIT_HPU_PLUGIN);
  if (door.count > 0) GTEST_SKIP() << "needs a machine without an accelerator";
  EXPECT_NE(door.why_none.find("libSynapse.so"), std::string::npos) << door.why_none;
  EXPECT_NE(door.why_none.find("hl-smi"), std::string::npos) << door.why_none;
}

}  // namespace
}  // namespace arkit::hpu
