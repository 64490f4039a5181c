// Behaviour of schemes `mx_fp`, `mx_int`, `nv_fp4` and `fp8` that the vectors do not show, and the conformance suite.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "fp8_scheme.h"
#include "mx_fp_scheme.h"
#include "mx_int_scheme.h"
#include "nv_fp4_scheme.h"
#include "scheme_suite.h"
#include "schemes/aten_scaled.h"
#include "src/scaled_kernels.h"

namespace arkit::conformance {
namespace {

using arkit::testing::aten_fp8;
using arkit::testing::aten_mx;
using arkit::testing::aten_nv;

TensorQuant quant_of(const char* data_type, int bits, int64_t group_size, int64_t block_rows = 0) {
  TensorQuant quant;
  quant.data_type = data_type;
  quant.bits = bits;
  quant.group_size = group_size;
  quant.block_rows = block_rows;
  return quant;
}

template <typename S>
SchemeCase scaled_case(std::string name, const TensorQuant& quant, bool idempotent) {
  return {std::move(name), std::make_shared<S>(), quant, idempotent};
}

using mx_fp::MxFpScheme;
using mx_int::MxIntScheme;
using nv_fp4::NvFp4Scheme;
using Fp8 = fp8::Fp8Scheme;

// Scales of powers of two are found again from the values; others may move by a bit.
INSTANTIATE_TEST_SUITE_P(Scaled, SchemeSuite,
                         ::testing::Values(scaled_case<MxFpScheme>("mxfp4", quant_of("mx_fp", 4, 32), true),
                                           scaled_case<MxFpScheme>("mxfp6", quant_of("mx_fp", 6, 32), true),
                                           scaled_case<MxFpScheme>("mxfp6_e3m2", quant_of("mx_fp6e3m2", 6, 32), true),
                                           scaled_case<MxFpScheme>("mxfp8", quant_of("mx_fp", 8, 32), true),
                                           scaled_case<MxFpScheme>("mxfp8_e5m2", quant_of("mx_fp8e5m2", 8, 32), true),
                                           scaled_case<MxFpScheme>("mxfp4_rceil", quant_of("mx_fp_rceil", 4, 32),
                                                                   false),
                                           scaled_case<MxIntScheme>("mxint4", quant_of("mx_int", 4, 32), true),
                                           scaled_case<MxIntScheme>("mxint8", quant_of("mx_int", 8, 32), true),
                                           scaled_case<NvFp4Scheme>("nvfp4", quant_of("nv_fp", 4, 16), false),
                                           scaled_case<NvFp4Scheme>("nvfp4_e5m3", quant_of("nvfp4_v2", 4, 16), false),
                                           scaled_case<Fp8>("fp8_channel", quant_of("fp", 8, -1), false),
                                           scaled_case<Fp8>("fp8_tensor", quant_of("fp", 8, 0), false),
                                           scaled_case<Fp8>("fp8_group", quant_of("fp", 8, 24), false),
                                           scaled_case<Fp8>("fp8_block", quant_of("fp", 8, 16, 4), false),
                                           scaled_case<Fp8>("fp8_e5m2", quant_of("fp8_e5m2", 8, -1), false)),
                         scheme_case_name);

struct Twin {
  std::string name;
  std::shared_ptr<const sdk::ScaledScheme> scheme;
  TensorQuant quant;
  std::function<at::Tensor(const at::Tensor& groups, const at::Tensor& peak, const at::Tensor& v)> formula;
};

std::vector<Twin> twins(const at::Tensor& global) {
  const auto mx = [](const sdk::ElementGrid& grid, bool follow, float limit = 0) {
    return [=](const at::Tensor& x, const at::Tensor& peak, const at::Tensor& v) {
      return aten_mx(x, peak, v, grid, follow, limit);
    };
  };
  return {
      {"mxfp4", std::make_shared<MxFpScheme>(), quant_of("mx_fp", 4, 32), mx(sdk::kE2m1, true)},
      {"mxfp6", std::make_shared<MxFpScheme>(), quant_of("mx_fp", 6, 32), mx(sdk::kE2m3, true)},
      {"mxfp8", std::make_shared<MxFpScheme>(), quant_of("mx_fp", 8, 32), mx(sdk::kE4m3, true)},
      {"mxfp8_rceil", std::make_shared<MxFpScheme>(), quant_of("mx_fp_rceil", 8, 32), mx(sdk::kE4m3, true, 448)},
      {"mxint4", std::make_shared<MxIntScheme>(), quant_of("mx_int", 4, 32), mx(sdk::fixed_point_grid(4), false)},
      {"nvfp4", std::make_shared<NvFp4Scheme>(), quant_of("nv_fp", 4, 16),
       [=](const at::Tensor& x, const at::Tensor& peak, const at::Tensor& v) { return aten_nv(x, peak, v, global); }},
      {"fp8", std::make_shared<Fp8>(), quant_of("fp", 8, -1), aten_fp8}};
}

void expect_near(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_TRUE(actual.defined() && expected.defined()) << what;
  const double size = std::max(1e-30, expected.abs().max().item<double>());
  EXPECT_LE((actual.to(at::kFloat) - expected.to(at::kFloat)).abs().max().item<double>(), tolerance * size) << what;
}

// Sums of another order; gradients that are products of another order.
constexpr double kSumTolerance = 2e-5;
constexpr double kProductTolerance = 1e-6;

TEST(ScaledSchemes, FusedPassesEqualAutograd) {
  at::manual_seed(5);
  for (const at::ScalarType dtype : weight_dtypes()) {
    const at::Tensor weight = (at::randn({4, 96}) * 0.05).to(dtype);
    const at::Tensor global = 2688 / weight.to(at::kFloat).abs().max().reshape({1});
    for (const Twin& twin : twins(global)) {
      sdk::WeightTuning tuning = twin.scheme->begin_tuning(weight, twin.quant, {.global_scale = global});
      tuning.v.uniform_(-0.5, 0.5);
      tuning.max_scale.uniform_(0.4, 1);
      at::Tensor y = at::empty({4, 96});
      twin.scheme->fake_quant_weight(weight, tuning, twin.quant, y);

      at::Tensor v = tuning.v.clone().requires_grad_(), max_scale = tuning.max_scale.clone().requires_grad_();
      const at::Tensor groups = sdk::to_groups(weight, twin.quant.group_size);
      const at::Tensor peak = groups.to(at::kFloat).abs().amax(-1, true) * max_scale.unsqueeze(-1);
      const at::Tensor expected = sdk::from_groups(twin.formula(groups, peak, v), weight.sizes());
      EXPECT_TRUE(at::equal(y, expected)) << twin.name << " " << dtype;

      const at::Tensor grad = at::randn({4, 96});
      expected.backward(grad);
      sdk::WeightGradient gradient;
      twin.scheme->fake_quant_weight_backward(weight, tuning, twin.quant, grad, gradient);
      expect_near(gradient.v, v.grad(), kProductTolerance, twin.name + " v");
      expect_near(gradient.max_scale, max_scale.grad(), kSumTolerance, twin.name + " max_scale");
    }
  }
}

TEST(ScaledSchemes, ActivationsEqualAutograd) {
  at::manual_seed(6);
  const at::Tensor values = at::randn({2, 3, 64}), global = values.abs().max().reshape({1}).reciprocal() * 2688;
  for (const Twin& twin : twins(global)) {
    at::Tensor x = values.clone().requires_grad_(), x2 = values.clone().requires_grad_();
    const at::Tensor y = twin.scheme->fake_quant_act(x, twin.quant, {});
    const at::Tensor groups = sdk::to_groups(x2, twin.quant.group_size);
    const at::Tensor peak = std::get<0>(groups.abs().max(-1, true));
    const at::Tensor expected = sdk::from_groups(twin.formula(groups, peak, at::zeros({})), x.sizes());
    EXPECT_TRUE(at::equal(y, expected)) << twin.name;
    const at::Tensor grad = at::randn(values.sizes());
    y.backward(grad);
    expected.backward(grad);
    expect_near(x.grad(), x2.grad(), kSumTolerance, twin.name + " x");
  }
}

// A largest magnitude of 7 = 1.75 * 2^2 is divided by 2 where compressed-tensors rounds, by 1 else.
TEST(ScaledSchemes, ActivationsAsCompressedTensorsRoundsThem) {
  const MxFpScheme scheme;
  TensorQuant quant = quant_of("mx_fp", 4, 32);
  at::Tensor x = at::zeros({2, 32});
  x[0][3] = 7;
  x[0][4] = -0.6;
  x[1][0] = 6.99;
  const auto rounded = [&](int row, int column) {
    return scheme.fake_quant_act(x, quant, {})[row][column].item<float>();
  };
  EXPECT_EQ(rounded(0, 3), 6.0F);
  EXPECT_EQ(rounded(0, 4), -0.5F);
  quant.observer = "compressed-tensors";
  EXPECT_EQ(rounded(0, 3), 8.0F);
  EXPECT_EQ(rounded(0, 4), -1.0F);
  EXPECT_EQ(rounded(1, 0), 6.0F);
}

TEST(ScaledSchemes, StaticActivationsPassGradientsToTheirLimit) {
  const Fp8 scheme;
  TensorQuant quant = quant_of("fp", 8, 0);
  quant.dynamic = false;
  at::manual_seed(3);
  const at::Tensor values = at::randn({5, 16});
  at::Tensor x = values.clone().requires_grad_(), x2 = values.clone().requires_grad_();
  at::Tensor limit = at::full({1}, 1.5F).requires_grad_(), limit2 = at::full({1}, 1.5F).requires_grad_();
  const at::Tensor y = scheme.fake_quant_act(x, quant, limit);
  const at::Tensor expected = aten_fp8(x2, limit2.unsqueeze(0), at::zeros({}));
  EXPECT_TRUE(at::equal(y, expected));
  EXPECT_LE(y.abs().max().item<float>(), 1.5F);
  const at::Tensor grad = at::randn({5, 16});
  y.backward(grad);
  expected.backward(grad);
  expect_near(x.grad(), x2.grad(), kSumTolerance, "x");
  expect_near(limit.grad(), limit2.grad(), kSumTolerance, "limit");
}

// Observer "mse" beside the same search in plain operators; bf16 arithmetic throughout.
TEST(ScaledSchemes, MseShrinksTheRangesOfFloats) {
  at::manual_seed(12);
  const at::Tensor w = at::randn({6, 64}).to(at::kBFloat16);
  const auto search = [&](const at::Tensor& rows, double top, const auto& round, const auto& scale_of) {
    at::Tensor peak = rows.abs().amax(-1, true), best = peak.clone();
    at::Tensor least = at::full_like(peak, std::numeric_limits<double>::infinity());
    for (int i = 0, idle = 0; i < 20 && idle < 5; ++i) {
      const at::Tensor tried = peak * (1 - i / 100.0), scale = scale_of(tried);
      const at::Tensor y = round((rows / scale).clamp(-top, top)) * scale;
      const at::Tensor loss = (y - rows).abs().pow(2.4).sum(-1, true), better = loss < least;
      idle = better.any().item<bool>() ? 0 : idle + 1;
      least = at::where(better, loss, least);
      best = at::where(better, tried, best);
    }
    return scale_of(best);
  };
  const auto e4m3 = [](const at::Tensor& t) { return t.to(at::kFloat8_e4m3fn).to(at::kBFloat16); };
  for (const int64_t group : {-1, 32}) {
    TensorQuant quant = quant_of("fp", 8, group);
    quant.observer = "mse";
    quant.scale_dtype = "bfloat16";
    const at::Tensor rows = group == -1 ? w : w.view({12, 32});
    const at::Tensor expected = search(rows, 448, e4m3, [](const at::Tensor& peak) { return peak / 448.0; });
    const QuantizedWeight got = Fp8().quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
    EXPECT_TRUE(at::equal(got.scale.flatten(), expected.flatten())) << group;
    EXPECT_TRUE((got.scale.flatten() < (rows.abs().amax(-1) / 448.0)).any().item<bool>()) << "nothing shrank";
  }
  LayerPlan layer{.name = "x", .out_features = 6, .in_features = 64};
  layer.quant.weight = quant_of("nv_fp", 4, 16);
  layer.quant.weight.observer = "mse";
  EXPECT_FALSE(NvFp4Scheme().supports(layer));
  const TensorQuant mx = [] {
    TensorQuant quant = quant_of("mx_fp", 4, 32);
    quant.observer = "mse";
    quant.scale_dtype = "bfloat16";
    return quant;
  }();
  TensorQuant wide = mx;
  wide.observer = "minmax";
  const auto error = [&](const TensorQuant& quant) {
    const QuantizedWeight got = MxFpScheme().quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
    return (MxFpScheme().dequantize(got, quant, at::kFloat) - w.to(at::kFloat)).abs().pow(2.4).sum().item<double>();
  };
  EXPECT_LE(error(mx), error(wide));
}

// Every compiled variant of the kernels gives the same bits.
TEST(ScaledKernels, InstructionSetsAgree) {
  namespace k = sdk::scaled;
  at::manual_seed(8);
  const int64_t rows = 5, in = 83, group = 24, per_row = 4, n = rows * per_row;
  const at::Tensor x = at::randn({rows, in}), v = at::rand({n, group}) - 0.5, grad = at::randn({rows, in});
  const at::Tensor scale = at::rand({n}) * 0.2, inverse = scale.reciprocal(), importance = at::rand({in});
  scale[3] = 0;
  const auto run = [&](const k::Kernels& kernels, const sdk::ElementGrid& grid, bool divide) {
    k::Args args{.grid = grid, .groups = {in, group, per_row}, .x = x.data_ptr(), .follow_grid = divide};
    args.scale = scale.const_data_ptr<float>();
    if (!divide) args.inverse = inverse.const_data_ptr<float>();
    args.v = v.const_data_ptr<float>();
    std::vector<at::Tensor> out = {at::zeros({n}),        at::zeros({rows, in}), at::zeros({rows, in}, at::kByte),
                                   at::zeros({n, group}), at::zeros({n}),        at::zeros({rows, in}),
                                   at::zeros({n}),        at::zeros({rows, in})};
    EXPECT_TRUE(
        kernels.peaks(x.data_ptr(), arkit::sdk::Dtype::f32, args.groups, 0, n, out[0].mutable_data_ptr<float>()));
    kernels.fake_quant(args, out[1].mutable_data_ptr(), arkit::sdk::Dtype::f32, 0, n);
    kernels.encode(args, true, out[2].mutable_data_ptr<uint8_t>(), 0, n);
    const k::GradientArgs b{.grad_out = grad.data_ptr(),
                            .grad_v = out[3].mutable_data_ptr<float>(),
                            .grad_scale = out[4].mutable_data_ptr<float>(),
                            .grad_x = out[5].mutable_data_ptr()};
    kernels.gradient(args, b, 0, n);
    k::Args candidates = args;  // three for each of the first groups
    candidates.v = nullptr;
    const int64_t groups = n / 3;
    std::vector<int32_t> best(static_cast<size_t>(groups));
    kernels.choose(candidates, importance.const_data_ptr<float>(), 0, 3, best.data(), 0, groups);
    for (int64_t i = 0; i < groups; ++i) out[6][i] = best[static_cast<size_t>(i)];
    const k::DecodeArgs d{.grid = grid,
                          .groups = args.groups,
                          .codes = out[2].const_data_ptr<uint8_t>(),
                          .scale = args.scale,
                          .out = out[7].mutable_data_ptr()};
    kernels.decode(d, 0, n);
    return out;
  };
  for (const sdk::ElementGrid& grid : {sdk::kE2m1, sdk::kE3m2, sdk::kE4m3, sdk::kE5m2, sdk::fixed_point_grid(4)})
    for (const bool divide : {true, false}) {
      const std::vector<at::Tensor> expected = run(k::kernels_baseline, grid, divide);
      for (const k::Kernels* kernels : {&k::kernels_avx2, &k::kernels_avx512}) {
        if (!k::cpu_runs(*kernels)) continue;
        const std::vector<at::Tensor> actual = run(*kernels, grid, divide);
        for (size_t i = 0; i < expected.size(); ++i)
          EXPECT_TRUE(at::equal(actual[i], expected[i])) << kernels->name << " output " << i << " bits " << grid.bits;
      }
      EXPECT_TRUE(at::equal(expected[1], expected[7])) << "decode(encode(x)) is not fake_quant(x)";
    }
}

// Codes by hand: README of each scheme.
TEST(ScaledSchemes, CodesAreBitPatterns) {
  const at::Tensor w = at::tensor({0.5F, -0.75F, 6.0F, -0.1F}).reshape({1, 4});
  const auto codes = [&](const Scheme& scheme, const TensorQuant& quant) {
    const QuantizedWeight r = scheme.quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
    return r.codes.view(at::kByte).to(at::kLong);
  };
  const auto equal = [](const at::Tensor& actual, std::initializer_list<int64_t> expected) {
    EXPECT_TRUE(at::equal(actual.flatten(), at::tensor(std::vector<int64_t>(expected), at::kLong))) << actual;
  };
  equal(codes(MxFpScheme(), quant_of("mx_fp", 4, 4)), {1, 10, 7, 8});             // scale 1; -0.1 is -0
  equal(codes(MxFpScheme(), quant_of("mx_fp", 8, 4)), {0x60, 0xE4, 0x7C, 0xCD});  // scale 2^-6: 32, -48, 384, -6.5
  equal(codes(MxIntScheme(), quant_of("mx_int", 4, 4)), {0, 9, 6, 8});            // scale 4: quarters of it are 1
  equal(codes(NvFp4Scheme(), quant_of("nvfp4_v2", 4, 16)), {1, 10, 7, 0});        // zero has no sign
  equal(codes(Fp8(), quant_of("fp", 8, -1)), {0x61, 0xE6, 0x7E, 0xCF});           // 37.3 -> 36, -56, 448, -7.5
}

TEST(ScaledSchemes, RowsOfMinusZeroAreCodeZero) {
  const at::Tensor w = at::tensor({-0.0F, 4.0F}).reshape({1, 2});
  const QuantizedWeight r = MxFpScheme().quantize_rtn(w, quant_of("mx_fp", 4, 2), RtnMode::plain, {}, 0, {});
  EXPECT_EQ(r.codes[0][0].item<uint8_t>(), 0);
}

TEST(ScaledSchemes, FusedLayersShareTheSmallestGlobalScale) {
  const NvFp4Scheme scheme;
  const TensorQuant quant = quant_of("nv_fp", 4, 16);
  const at::Tensor small = at::full({1, 16}, 0.5F), large = at::full({1, 16}, -2.0F), zero = at::zeros({1, 16});
  const at::Tensor scales[] = {scheme.global_scale(small, quant), scheme.global_scale(large, quant),
                               scheme.global_scale(zero, quant)};
  EXPECT_EQ(scales[0].item<float>(), 5376.0F);
  EXPECT_EQ(scales[2].item<float>(), 0.0F);
  EXPECT_EQ(scheme.merge_global_scales(scales).item<float>(), 1344.0F);
  EXPECT_FALSE(scheme.global_scale(small, quant_of("nvfp4_v2", 4, 16)).defined());
}

TEST(ScaledSchemes, SearchNeverLosesToRoundToNearest) {
  at::manual_seed(2);
  const at::Tensor weight = (at::randn({16, 256}) * 0.05).to(at::kBFloat16), imatrix = at::rand({256}) * 10;
  const std::pair<std::shared_ptr<const sdk::ScaledScheme>, TensorQuant> all[] = {
      {std::make_shared<MxFpScheme>(), quant_of("mx_fp", 4, 32)},
      {std::make_shared<MxIntScheme>(), quant_of("mx_int", 4, 32)},
      {std::make_shared<NvFp4Scheme>(), quant_of("nv_fp", 4, 16)}};
  for (const auto& [scheme, quant] : all) {
    EXPECT_TRUE(scheme->traits({.weight = quant}).searches);
    const auto loss = [&](RtnMode mode) {
      const QuantizedWeight codes = scheme->quantize_rtn(weight, quant, mode, imatrix, 4, {});
      const at::Tensor error = scheme->dequantize(codes, quant, at::kFloat) - weight;
      return (error * error * imatrix).sum().item<double>();
    };
    EXPECT_LT(loss(RtnMode::searched), 0.98 * loss(RtnMode::plain)) << quant.data_type;
    sdk::WeightTuning tuning = scheme->begin_tuning(weight, quant, {.enable_alg_ext = true, .imatrix = imatrix});
    EXPECT_EQ(tuning.scale_limit, 2.0F);
    ASSERT_TRUE(tuning.init_scale.defined());
    EXPECT_TRUE(at::equal(scheme->quantize_tuned(weight, tuning, quant).codes.view(at::kByte),
                          scheme->quantize_rtn(weight, quant, RtnMode::searched, imatrix, 0, {}).codes.view(at::kByte)))
        << quant.data_type;
  }
  EXPECT_FALSE(Fp8().traits({.weight = quant_of("fp", 8, -1)}).searches);
  EXPECT_FALSE(NvFp4Scheme().traits({.weight = quant_of("nvfp4_v2", 4, 16)}).searches);
}

TEST(ScaledSchemes, FewBitsLeaveOutliersOutOfTheLossExceptInFp8) {
  LayerQuant quant{.weight = quant_of("mx_fp", 4, 32), .act = quant_of("mx_fp", 4, 32)};
  EXPECT_TRUE(MxFpScheme().traits(quant).outlier_free_loss);
  quant.act.bits = 8;
  EXPECT_FALSE(MxFpScheme().traits(quant).outlier_free_loss);
  EXPECT_FALSE(MxFpScheme().traits(quant).integer_grid || MxFpScheme().traits(quant).plain_by_default);
  quant = {.weight = quant_of("fp", 8, -1), .act = quant_of("int", 4, -1)};
  EXPECT_FALSE(Fp8().traits(quant).outlier_free_loss);
}

// The elements are this scheme's own, unlike the reference's (docs/spec/floats.md 4).
TEST(ScaledSchemes, MxInt4SearchStaysOnItsOwnGrid) {
  at::manual_seed(4);
  const MxIntScheme scheme;
  const TensorQuant quant = quant_of("mx_int", 4, 32);
  const at::Tensor weight = at::randn({4, 64});
  const QuantizedWeight r = scheme.quantize_rtn(weight, quant, RtnMode::searched, at::ones({64}), 1, {});
  const at::Tensor quarters =
      scheme.dequantize({.codes = r.codes, .scale = at::full_like(r.scale, 127)}, quant, at::kFloat) * 4;
  EXPECT_TRUE(at::equal(quarters, quarters.round()));
  EXPECT_EQ(quarters.abs().max().item<float>(), 7.0F);
}

TEST(ScaledSchemes, BlocksShareOneScaleAndTheirEdgesMayBeShort) {
  const Fp8 scheme;
  at::manual_seed(1);
  const at::Tensor weight = at::randn({7, 20}).to(at::kBFloat16);
  const TensorQuant quant = quant_of("fp", 8, 8, 4);
  const QuantizedWeight r = scheme.quantize_rtn(weight, quant, RtnMode::plain, {}, 0, {});
  EXPECT_EQ(r.scale.sizes(), at::IntArrayRef({2, 3}));
  EXPECT_EQ(r.scale.scalar_type(), at::kBFloat16);
  const at::Tensor corner = weight.slice(0, 4, 7).slice(1, 16, 20).abs().max();
  EXPECT_EQ(r.scale[1][2].item<float>(), (corner / 448).item<float>());
  sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, {});
  EXPECT_EQ(tuning.max_scale.numel(), 6);
  EXPECT_EQ(scheme.quantize_tuned(weight, tuning, quant).scale.scalar_type(), at::kFloat);
}

TEST(ScaledSchemes, NanInCodesIsNotTurnedIntoANumber) {
  const at::Tensor codes = at::tensor({0x7F, 0x7E}, at::kByte).reshape({1, 2});
  const at::Tensor y = Fp8().dequantize({.codes = codes.view(at::kFloat8_e4m3fn), .scale = at::ones({1, 1})},
                                        quant_of("fp", 8, -1), at::kFloat);
  EXPECT_TRUE(y[0][0].isnan().item<bool>());
  EXPECT_EQ(y[0][1].item<float>(), 448.0F);
}

TEST(ScaledSchemes, ReasonsAreClear) {
  LayerPlan layer;
  layer.out_features = 32;
  layer.in_features = 80;
  layer.quant.weight = quant_of("mx_fp", 4, 32);
  EXPECT_EQ(MxFpScheme().supports(layer).why_not,
            "in_features 80 is not divisible by the weight group_size 32 of 'mx_fp'");
  layer.quant.weight = quant_of("mx_fp", 5, 16);
  EXPECT_EQ(MxFpScheme().supports(layer).why_not, "weight bits 5 is not possible with 'mx_fp'; choose 4, 6 or 8");
  layer.quant.weight = quant_of("nv_fp", 4, 32);
  EXPECT_EQ(NvFp4Scheme().supports(layer).why_not, "weight group_size 32 is not possible with 'nv_fp'; choose 16");
  layer.quant.weight = quant_of("nv_fp", 4, 16);
  EXPECT_TRUE(NvFp4Scheme().supports(layer));
  layer.quant.weight = quant_of("fp", 4, -1);
  EXPECT_EQ(Fp8().supports(layer).why_not, "weight bits 4 is not possible with 'fp'; it has 8");
  layer.quant.weight = quant_of("fp", 8, 128, 128);
  layer.quant.act = quant_of("fp", 8, 0);
  layer.quant.act.dynamic = false;
  EXPECT_FALSE(Fp8().supports(layer));
}

TEST(ScaledSchemes, PresetsFollowTheTable) {
  const auto preset = [](const Scheme& scheme, std::string_view name) {
    for (const Preset& p : scheme.presets())
      if (p.name == name) return p.quant;
    ADD_FAILURE() << "no preset " << name;
    return LayerQuant();
  };
  EXPECT_EQ(MxFpScheme().presets().size(), 5U);
  EXPECT_EQ(preset(MxFpScheme(), "MXFP8_RCEIL").weight.data_type, "mx_fp");
  EXPECT_EQ(preset(MxFpScheme(), "MXFP8_RCEIL").act.data_type, "mx_fp_rceil");
  EXPECT_EQ(preset(MxIntScheme(), "MXINT4").act.bits, 4);
  EXPECT_EQ(preset(NvFp4Scheme(), "NVFP4").act.data_type, "nv_fp4_with_static_gs");
  EXPECT_EQ(preset(NvFp4Scheme(), "NVFP4").act.group_size, 16);
  EXPECT_TRUE(preset(NvFp4Scheme(), "NVFP4_E5M3").act.dynamic);
  EXPECT_FALSE(preset(Fp8(), "FPW8A16").act.quantized());
  EXPECT_FALSE(preset(Fp8(), "FP8_STATIC").act.dynamic);
  EXPECT_EQ(preset(Fp8(), "FP8_STATIC").act.group_size, 0);
  EXPECT_EQ(preset(Fp8(), "FP8_BLOCK").weight.block_rows, 128);
  EXPECT_FALSE(preset(Fp8(), "BF16").quantized());
}

TEST(ScaledSchemes, BitsPerWeightCountScales) {
  LayerPlan layer;
  layer.out_features = 128;
  layer.in_features = 256;
  layer.quant.weight = quant_of("mx_fp", 4, 32);
  EXPECT_DOUBLE_EQ(MxFpScheme().bits_per_weight(layer), 4.25);
  layer.quant.weight = quant_of("nv_fp", 4, 16);
  EXPECT_DOUBLE_EQ(NvFp4Scheme().bits_per_weight(layer), 4.5);
  layer.quant.weight = quant_of("fp", 8, 128, 128);
  EXPECT_DOUBLE_EQ(Fp8().bits_per_weight(layer), 8 + 2 * 16.0 / (128 * 256));
}

}  // namespace
}  // namespace arkit::conformance
