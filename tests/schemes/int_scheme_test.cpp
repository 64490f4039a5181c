// Behaviour of scheme `int` that the vectors do not show, and the conformance suite.
#include "int_scheme.h"

#include <limits>

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "fp8_int_scheme.h"
#include "scheme_suite.h"
#include "schemes/aten_int_scheme.h"

namespace arkit::conformance {
namespace {

TensorQuant quant_of(int bits, int64_t group_size, bool sym, const char* scale_dtype = "float16") {
  TensorQuant quant;
  quant.bits = bits;
  quant.group_size = group_size;
  quant.sym = sym;
  quant.scale_dtype = scale_dtype;
  return quant;
}

TensorQuant with_rule(TensorQuant quant, const char* observer) {
  quant.observer = observer;
  return quant;
}

SchemeCase int_case(std::string name, const TensorQuant& quant) {
  // The range of asymmetric codes need not touch both ends again.
  return {std::move(name), std::make_shared<int_scheme::IntScheme>(), quant, quant.sym};
}

INSTANTIATE_TEST_SUITE_P(
    Int, SchemeSuite,
    ::testing::Values(int_case("w4_g32", quant_of(4, 32, true)), int_case("w4_g128_asym", quant_of(4, 128, false)),
                      int_case("w2_g64", quant_of(2, 64, true)), int_case("w2_g32_asym", quant_of(2, 32, false)),
                      int_case("w3_row_asym", quant_of(3, -1, false)), int_case("w8_row", quant_of(8, -1, true)),
                      int_case("w5_g24_bf16", quant_of(5, 24, true, "bfloat16")),
                      int_case("w8_g32_asym_f32", quant_of(8, 32, false, "float32"))),
    scheme_case_name);

// The extremes of what such a grid gives need not span it again.
SchemeCase rule_case(std::string name, const TensorQuant& quant, const char* observer) {
  return {std::move(name), std::make_shared<int_scheme::IntScheme>(), with_rule(quant, observer), false};
}

INSTANTIATE_TEST_SUITE_P(IntRules, SchemeSuite,
                         ::testing::Values(rule_case("w4_g32_gptq", quant_of(4, 32, true), "gptq"),
                                           rule_case("w4_g32_power_of_two", quant_of(4, 32, true), "power_of_two"),
                                           rule_case("w4_g32_neuqi", quant_of(4, 32, true), "neuqi"),
                                           rule_case("w2_g48_asym_neuqi", quant_of(2, 48, false), "neuqi")),
                         scheme_case_name);

TensorQuant fp8_int_quant() {
  TensorQuant quant = quant_of(4, 32, true);
  quant.data_type = "fp8_to_int_sym";
  return quant;
}

INSTANTIATE_TEST_SUITE_P(Fp8Int, SchemeSuite,
                         ::testing::Values(SchemeCase{"w4_g32", std::make_shared<int_scheme::Fp8IntScheme>(),
                                                      fp8_int_quant(), false}),
                         scheme_case_name);

INSTANTIATE_TEST_SUITE_P(AtenInt, SchemeSuite,
                         ::testing::Values(SchemeCase{"w4_g32", std::make_shared<arkit::testing::AtenIntScheme>(),
                                                      quant_of(4, 32, true)}),
                         scheme_case_name);

// The scale's gradient is a difference of sums that are each rounded to the scale's dtype and may be eight times as
// large as it; sums of another order can round the other way. f32 sums differ by their order alone.
double scale_tolerance(std::string_view scale_dtype) {
  if (scale_dtype == "float32") return 1e-4;
  return 8 * (scale_dtype == "float16" ? 0x1p-10 : 0x1p-7);
}

void expect_same_gradient(const at::Tensor& actual, const at::Tensor& expected, double tolerance,
                          const std::string& what) {
  ASSERT_EQ(actual.defined(), expected.defined()) << what;
  if (!expected.defined()) return;
  const double error = (actual - expected).abs().max().item<double>(), size = expected.abs().max().item<double>();
  EXPECT_LE(error, tolerance * size) << what;
}

TEST(IntScheme, FusedPassesEqualAutograd) {
  const int_scheme::IntScheme fused;
  const arkit::testing::AtenIntScheme aten;
  at::manual_seed(5);
  for (const at::ScalarType dtype : weight_dtypes())
    for (const char* scale_dtype : {"float16", "bfloat16", "float32"})
      for (const bool sym : {true, false})
        for (const int64_t group : {16, 48, -1})
          for (const bool minmax : {true, false})
            for (const bool ext : {true, false}) {
              const std::string what =
                  str(scale_dtype, sym ? " sym g" : " asym g", group, minmax ? " minmax" : "", ext ? " ext" : "");
              const TensorQuant quant = quant_of(3, group, sym, scale_dtype);
              const at::Tensor weight = (at::randn({4, 64}) * 0.05).to(dtype);
              TuningSetup setup;
              setup.enable_minmax_tuning = minmax;
              setup.enable_alg_ext = ext;
              sdk::WeightTuning tuning = fused.begin_tuning(weight, quant, setup);
              tuning.v.uniform_(-0.5, 0.5);
              if (tuning.min_scale.defined()) tuning.min_scale.uniform_(0.5, 1);
              if (tuning.max_scale.defined()) tuning.max_scale.uniform_(0.5, 1);
              at::Tensor y = at::empty({4, 64}), expected = at::empty({4, 64});
              fused.fake_quant_weight(weight, tuning, quant, y);
              aten.fake_quant_weight(weight, tuning, quant, expected);
              EXPECT_TRUE(at::equal(y, expected)) << what << " " << dtype;
              const at::Tensor grad = at::randn({4, 64});
              sdk::WeightGradient a, b;
              fused.fake_quant_weight_backward(weight, tuning, quant, grad, a);
              aten.fake_quant_weight_backward(weight, tuning, quant, grad, b);
              expect_same_gradient(a.v, b.v, 0, what + " v");
              const double tolerance = scale_tolerance(scale_dtype);
              expect_same_gradient(a.min_scale, b.min_scale, tolerance, what + " min_scale");
              expect_same_gradient(a.max_scale, b.max_scale, tolerance, what + " max_scale");
            }
}

// Where elements are clipped the value is s * q with q fixed: the one place where the estimator is the true derivative.
TEST(IntScheme, ScaleGradientOfClippedElementsMatchesFiniteDifferences) {
  const int_scheme::IntScheme scheme;
  const TensorQuant quant = quant_of(4, 32, true, "float32");
  at::manual_seed(9);
  const at::Tensor weight = at::randn({1, 32}).abs() + 0.9;  // all positive: max_scale alone decides
  sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, {});
  tuning.max_scale.fill_(0.2);  // everything beyond 0.2 of the range is clipped
  const at::Tensor grad = at::randn({1, 32});
  const auto loss = [&](float max_scale) {
    tuning.max_scale.fill_(max_scale);
    at::Tensor y = at::empty_like(weight);
    scheme.fake_quant_weight(weight, tuning, quant, y);
    return (y * grad).sum().item<double>();
  };
  const double numeric = (loss(0.21F) - loss(0.19F)) / 0.02;
  tuning.max_scale.fill_(0.2);
  sdk::WeightGradient gradient;
  scheme.fake_quant_weight_backward(weight, tuning, quant, grad, gradient);
  EXPECT_NEAR(gradient.max_scale.item<double>(), numeric, 1e-3 * std::abs(numeric));
  EXPECT_EQ(gradient.min_scale.item<double>(), 0);
  EXPECT_EQ(gradient.v.abs().max().item<double>(), 0);
}

TEST(IntScheme, EqualEndsShareTheGradient) {
  const int_scheme::IntScheme scheme;
  const TensorQuant quant = quant_of(4, 4, true);
  const at::Tensor weight = at::tensor({0.5F, -0.5F, 0.13F, 0.2F}).reshape({1, 4});
  const sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, {});
  sdk::WeightGradient gradient;
  scheme.fake_quant_weight_backward(weight, tuning, quant, at::ones({1, 4}), gradient);
  EXPECT_NE(gradient.max_scale.item<float>(), 0);
  EXPECT_EQ(gradient.max_scale.item<float>(), gradient.min_scale.item<float>());
}

// autograd would overflow there too, and loss curves depend on it; the optimizer copes (docs/spec/signround.md 11).
TEST(IntScheme, LargeGradientsOverflowInTheDtypeOfTheScale) {
  const int_scheme::IntScheme scheme;
  for (const bool sym : {true, false}) {
    const TensorQuant quant = quant_of(4, 32, sym);
    const at::Tensor weight = at::randn({2, 64});
    const sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, {});
    sdk::WeightGradient gradient;
    scheme.fake_quant_weight_backward(weight, tuning, quant, at::randn({2, 64}) * 1e7, gradient);
    EXPECT_FALSE(gradient.max_scale.isfinite().all().item<bool>());
    EXPECT_TRUE(gradient.v.isfinite().all().item<bool>());
  }
}

TEST(IntScheme, SymmetricScaleIsNegativeWhenThePositiveEndIsLargerOrEqual) {
  const int_scheme::IntScheme scheme;
  const auto scale = [&](float a, float b, float c) {
    const at::Tensor weight = at::tensor({a, b, c}).reshape({1, 3});
    return scheme.quantize_rtn(weight, quant_of(4, -1, true), RtnMode::plain, {}, 0, {}).scale.item<float>();
  };
  EXPECT_EQ(scale(1, -1, 0.5F), -0.125F);
  EXPECT_EQ(scale(-1, 0.9F, 0.1F), 0.125F);
  EXPECT_EQ(scale(1, -0.9F, 0.1F), -0.125F);
}

TEST(IntScheme, GroupLargerThanTheRowIsOneGroupARow) {
  const int_scheme::IntScheme scheme;
  const at::Tensor weight = at::randn({3, 40});
  const QuantizedWeight a = scheme.quantize_rtn(weight, quant_of(4, 128, false), RtnMode::plain, {}, 0, {});
  const QuantizedWeight b = scheme.quantize_rtn(weight, quant_of(4, -1, false), RtnMode::plain, {}, 0, {});
  EXPECT_EQ(a.scale.sizes(), at::IntArrayRef({3, 1}));
  EXPECT_TRUE(at::equal(a.codes, b.codes));
  EXPECT_TRUE(at::equal(a.scale, b.scale));
}

TEST(IntScheme, SearchNeverLosesToRoundToNearest) {
  const int_scheme::IntScheme scheme;
  at::manual_seed(2);
  const at::Tensor weight = (at::randn({16, 256}) * 0.05).to(at::kBFloat16), imatrix = at::rand({256}) * 10;
  const TensorQuant quant = quant_of(3, 64, true);
  const auto loss = [&](RtnMode mode) {
    const QuantizedWeight codes = scheme.quantize_rtn(weight, quant, mode, imatrix, 4, {});
    const at::Tensor error = scheme.dequantize(codes, quant, at::kFloat) - weight;
    return (error * error * imatrix).sum().item<double>();
  };
  EXPECT_LT(loss(RtnMode::searched), 0.95 * loss(RtnMode::plain));
}

TEST(IntScheme, InitialScaleIsTheSearchedOneAndOpensTheClamp) {
  const int_scheme::IntScheme scheme;
  at::manual_seed(2);
  const at::Tensor weight = at::randn({4, 64}) * 0.05, imatrix = at::rand({64}) + 0.1;
  const TensorQuant quant = quant_of(2, 32, true);
  TuningSetup setup;
  setup.enable_alg_ext = true;
  setup.imatrix = imatrix;
  sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, setup);
  EXPECT_EQ(tuning.scale_limit, 2.0F);
  EXPECT_FALSE(tuning.min_scale.defined());
  const QuantizedWeight searched = scheme.quantize_rtn(weight, quant, RtnMode::searched, imatrix, 0, {});
  EXPECT_TRUE(at::equal(tuning.init_scale, searched.scale.flatten()));
  const TensorQuant asym = quant_of(2, 32, false);
  EXPECT_FALSE(scheme.begin_tuning(weight, asym, setup).init_scale.defined());
}

// || importance^0.5 (y - w) ||^2 of every row.
at::Tensor row_losses(const at::Tensor& y, const at::Tensor& w, const at::Tensor& importance) {
  return (y.to(at::kDouble) - w.to(at::kDouble)).square().mul(importance).sum(-1);
}

TEST(IntScheme, TraitsFollowBitsAndSymmetry) {
  const int_scheme::IntScheme scheme;
  LayerQuant quant{.weight = {.data_type = "int", .bits = 2, .group_size = 32}};
  EXPECT_TRUE(scheme.traits(quant).outlier_free_loss && scheme.traits(quant).imatrix_when_tuned);
  EXPECT_TRUE(scheme.traits(quant).integer_grid && scheme.traits(quant).grid_search);
  quant.weight.bits = 4;
  EXPECT_FALSE(scheme.traits(quant).outlier_free_loss);
  EXPECT_TRUE(scheme.traits(quant).searches && scheme.traits(quant).independent_rows);
  quant.act.bits = 4;
  EXPECT_TRUE(scheme.traits(quant).outlier_free_loss && scheme.traits(quant).searches);
  EXPECT_FALSE(scheme.traits(quant).imatrix_when_tuned) << "W4A4 goes without";
  quant.weight.sym = false;
  EXPECT_FALSE(scheme.traits(quant).outlier_free_loss || scheme.traits(quant).searches);
  quant.weight = {.data_type = "int", .bits = 8, .group_size = -1};
  EXPECT_FALSE(scheme.traits(quant).plain_by_default) << "activations of 4 bits";
  quant.act.bits = 8;
  EXPECT_TRUE(scheme.traits(quant).plain_by_default);
  quant.weight.group_size = 0;
  EXPECT_FALSE(scheme.traits(quant).independent_rows);
  quant.weight.observer = "mse";
  EXPECT_FALSE(scheme.traits(quant).grid_search);
}

TEST(IntScheme, NeuqiBeatsRangesAndWeighsErrors) {
  const int_scheme::IntScheme scheme;
  at::manual_seed(23);
  for (const at::ScalarType dtype : weight_dtypes())
    for (const bool sym : {true, false})
      for (const int bits : {2, 4}) {
        const at::Tensor w = at::randn({8, 80}).mul_(0.1).add_(0.02).to(dtype);  // 80 = 48 and a group of 32
        at::Tensor importance = at::rand({80}) + 0.01;
        importance[7] = 100;
        const TensorQuant plain = quant_of(bits, 48, sym), quant = with_rule(plain, "neuqi");
        EXPECT_TRUE(scheme.traits({.weight = quant}).searches);
        const auto losses = [&](const TensorQuant& q, RtnMode mode) {
          return row_losses(scheme.dequantize(scheme.quantize_rtn(w, q, mode, importance, 1, {}), q, at::kFloat), w,
                            importance);
        };
        const std::string what = str(bits, sym ? " sym" : " asym");
        // Rounding the scale that is found to float16 may cost a group its small advantage, but not all of them.
        EXPECT_LT(losses(quant, RtnMode::searched).sum().item<double>(),
                  0.9 * losses(plain, RtnMode::plain).sum().item<double>())
            << what;
        // Experts without --enable_opt_rtn: as if nobody had asked.
        EXPECT_TRUE(at::equal(losses(quant, RtnMode::plain), losses(plain, RtnMode::plain))) << what;
      }
}

TEST(IntScheme, NeuqiKnowsZerosConstantsAndNan) {
  const int_scheme::IntScheme scheme;
  for (const bool sym : {true, false}) {
    const TensorQuant quant = with_rule(quant_of(4, 32, sym), "neuqi");
    at::Tensor w = at::cat({at::zeros({1, 40}), at::full({1, 40}, -0.25), at::full({1, 40}, 3e-7)});
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::searched, {}, 0, {});
    EXPECT_EQ(got.scale[0][0].item<float>(), at::tensor(1e-5F).to(at::kHalf).item<float>());
    const at::Tensor y = scheme.dequantize(got, quant, at::kFloat);
    EXPECT_TRUE(at::equal(y[0], w[0]));
    EXPECT_LT((y[1] - w[1]).abs().max().item<float>(), 1e-4F);
    w[2][39] = std::numeric_limits<float>::quiet_NaN();
    EXPECT_THROW((void)scheme.quantize_rtn(w, quant, RtnMode::searched, {}, 0, {}), Error);
    EXPECT_THROW((void)scheme.begin_tuning(w, quant, {}), Error);
  }
}

// What is tuned on a frozen grid are codes: V = 0 gives what the search alone gives, and no clipping scale is there.
TEST(IntScheme, NeuqiGridsAreFrozenWhileTuning) {
  const int_scheme::IntScheme scheme;
  at::manual_seed(29);
  for (const at::ScalarType dtype : weight_dtypes())
    for (const bool sym : {true, false})
      for (const int bits : {2, 4, 8}) {
        const TensorQuant quant = with_rule(quant_of(bits, 48, sym), "neuqi");
        const at::Tensor w = at::randn({6, 80}).mul_(0.1).sub_(0.1).to(dtype);
        sdk::WeightTuning tuning = scheme.begin_tuning(w, quant, {});
        EXPECT_FALSE(tuning.min_scale.defined() || tuning.max_scale.defined());
        const QuantizedWeight tuned = scheme.quantize_tuned(w, tuning, quant),
                              rounded = scheme.quantize_rtn(w, quant, RtnMode::searched, {}, 0, {});
        EXPECT_TRUE(at::equal(tuned.codes, rounded.codes)) << bits;
        EXPECT_TRUE(at::equal(tuned.scale, rounded.scale)) << bits;
        if (!sym) EXPECT_TRUE(at::equal(tuned.zero_point, rounded.zero_point)) << bits;
        at::Tensor y = at::empty({6, 80});
        scheme.fake_quant_weight(w, tuning, quant, y);
        EXPECT_TRUE(at::equal(y, scheme.dequantize(rounded, quant, at::kFloat))) << bits;
        sdk::WeightGradient gradient;
        scheme.fake_quant_weight_backward(w, tuning, quant, at::ones({6, 80}), gradient);
        EXPECT_TRUE(gradient.v.abs().max().item<float>() > 0);
        EXPECT_FALSE(gradient.min_scale.defined() || gradient.max_scale.defined());
      }
}

TEST(IntScheme, ActivationGradientIsStraightThrough) {
  const int_scheme::IntScheme scheme;
  for (const bool sym : {true, false}) {
    at::Tensor x = at::randn({2, 3, 32}).requires_grad_();
    const at::Tensor y = scheme.fake_quant_act(x, quant_of(8, -1, sym), {});
    EXPECT_LT((y - x).abs().max().item<float>(), 0.05F);
    y.sum().backward();
    // All but the elements that set the range pass the gradient unchanged.
    EXPECT_GE(((x.grad() - 1).abs() < 1e-6).sum().item<int64_t>(), 2 * 3 * 30);
  }
}

TEST(IntScheme, StaticActivationsUseTheCalibratedMaximum) {
  const int_scheme::IntScheme scheme;
  TensorQuant quant = quant_of(8, 0, true);
  quant.dynamic = false;
  at::Tensor x = at::tensor({-3.0F, 0.5F, 1.0F, 100.0F}).requires_grad_();
  at::Tensor limit = at::full({1}, 2.0F).requires_grad_();
  const at::Tensor y = scheme.fake_quant_act(x, quant, limit);  // scale 2 / 128
  EXPECT_TRUE(at::equal(y, at::tensor({-2.0F, 0.5F, 1.0F, 127.0F / 64})));
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::tensor({0.0F, 1.0F, 1.0F, 0.0F})));
  EXPECT_FLOAT_EQ(limit.grad().item<float>(), (-128.0F + 127.0F) / 128);    // of the saturated ones
  EXPECT_EQ(scheme.fake_quant_act(x, quant, {})[3].item<float>(), 100.0F);  // nothing calibrated: its own range
}

// Worked out with compressed-tensors 0.20: max / 127.5 symmetric, (max - min) / 255 with a zero point from -128 on.
TEST(IntScheme, ActivationsAsCompressedTensorsRoundsThem) {
  const int_scheme::IntScheme scheme;
  TensorQuant quant = quant_of(8, -1, true);
  quant.observer = "compressed-tensors";
  const auto rows = [](std::vector<float> values, int64_t count) { return at::tensor(values).reshape({count, -1}); };
  at::Tensor x = rows({-255.0F, 100.0F, 3.0F, 0.9F, 0.0F, 0.0F, 0.0F, 0.0F}, 2).requires_grad_();
  const at::Tensor y = scheme.fake_quant_act(x, quant, {});  // scale 2; -127.5 and 1.5 to even
  EXPECT_TRUE(at::equal(y, rows({-256.0F, 100.0F, 4.0F, 0.0F, 0.0F, 0.0F, 0.0F, 0.0F}, 2))) << y;
  y.sum().backward();
  EXPECT_TRUE(at::equal(x.grad(), at::ones_like(x)));
  quant.sym = false;  // scale 1, zero point -128 + 55 = -73
  EXPECT_TRUE(
      at::equal(scheme.fake_quant_act(rows({-55.0F, 200.0F, 0.6F}, 1), quant, {}), rows({-55.0F, 200.0F, 1.0F}, 1)));
  quant = quant_of(8, 0, true);
  quant.observer = "compressed-tensors";
  quant.dynamic = false;
  const at::Tensor limit = at::full({1}, 255.0F);
  EXPECT_TRUE(at::equal(scheme.fake_quant_act(rows({3.0F, -1000.0F, 1.0F, 1000.0F}, 2), quant, limit),
                        rows({4.0F, -256.0F, 0.0F, 254.0F}, 2)));
}

TEST(IntScheme, ReasonsAreClear) {
  const int_scheme::IntScheme scheme;
  LayerPlan layer;
  layer.out_features = 32;
  layer.in_features = 64;
  layer.quant.weight = quant_of(9, 32, true);
  EXPECT_EQ(scheme.supports(layer).why_not, "weight bits 9 is out of range; choose 2 to 8");
  layer.quant.weight = with_rule(quant_of(4, 32, false), "gptq");
  EXPECT_EQ(scheme.supports(layer).why_not, "the scale rule 'gptq' is for symmetric weights; leave sym true");
  layer.quant.weight = quant_of(4, 0, true);
  EXPECT_EQ(scheme.supports(layer).why_not,
            "weight group_size 0 is not possible; choose a positive number or -1 (one group a row)");
  layer.quant.weight = quant_of(4, 48, true);
  EXPECT_TRUE(scheme.supports(layer));
  layer.out_features = 40;
  EXPECT_EQ(scheme.supports(layer).why_not, "shape [40, 64] is not a multiple of 32");
  layer.quant.act = quant_of(8, -1, true);
  EXPECT_TRUE(scheme.supports(layer)) << "no packed layout of weights alone";
  layer.quant.act.dynamic = false;
  EXPECT_TRUE(scheme.supports(layer));
  layer.quant.act.sym = false;
  EXPECT_FALSE(scheme.supports(layer));
}

TEST(IntScheme, PresetsFollowTheTable) {
  const int_scheme::IntScheme scheme;
  EXPECT_EQ(scheme.presets().size(), 25U);
  for (const Preset& preset : scheme.presets()) {
    ASSERT_EQ(preset.dense.has_value(), preset.name == "W4A16_MIXED");
    if (preset.dense) EXPECT_EQ(preset.dense->weight.bits, 8);
    EXPECT_TRUE(preset.quant.weight.sym);
    EXPECT_EQ(preset.quant.act.quantized(), preset.name.starts_with("INT"));
    if (preset.name == "W3A16G64") {
      EXPECT_EQ(preset.quant.weight.bits, 3);
      EXPECT_EQ(preset.quant.weight.group_size, 64);
    }
  }
}

TEST(IntScheme, BitsPerWeightCountScalesAndZeroPoints) {
  const int_scheme::IntScheme scheme;
  LayerPlan layer;
  layer.out_features = 32;
  layer.in_features = 128;
  layer.quant.weight = quant_of(4, 32, true);
  EXPECT_DOUBLE_EQ(scheme.bits_per_weight(layer), 4.5);
  layer.quant.weight.sym = false;
  EXPECT_DOUBLE_EQ(scheme.bits_per_weight(layer), 4.625);
}

}  // namespace
}  // namespace arkit::conformance
