// Schemes `mx_fp`, `mx_int`, `nv_fp4` and `fp8` against values computed by AutoRound 0.16.1
// (tests/data/schemes/float_vectors.json, from quant_vectors.json). Values are compared bit for bit.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/sdk/ste.h>

#include "fp8_scheme.h"
#include "mx_fp_scheme.h"
#include "mx_int_scheme.h"
#include "nv_fp4_scheme.h"
#include "schemes/vectors.h"

namespace arkit::testing {
namespace {

// Gradients of V only multiply.
constexpr double kGradV = 1e-6;
// Gradients of max_scale are sums of both signs in another order.
constexpr double kGradScale = 1e-5;

struct Case {
  std::string name;
  json::Object params, inputs, outputs;

  [[nodiscard]] at::Tensor in(std::string_view key) const { return tensor_at(inputs, key); }
  [[nodiscard]] at::Tensor out(std::string_view key) const { return tensor_at(outputs, key); }
};

Case named(const std::string& name) {
  static const json::Value file = json::read_file(ARKIT_TEST_DATA "/schemes/float_vectors.json");
  for (const json::Value& value : file.as_object().at("cases").as_array()) {
    const json::Object& c = value.as_object();
    if (c.at("name").as_string() == name)
      return {name, c.at("params").as_object(), c.at("inputs").as_object(), c.at("outputs").as_object()};
  }
  ADD_FAILURE() << "no vector '" << name << "'";
  return {};
}

TensorQuant quant_of(const char* data_type, int bits, int64_t group_size) {
  TensorQuant quant;
  quant.data_type = data_type;
  quant.bits = bits;
  quant.group_size = group_size;
  return quant;
}

void expect_equal(const at::Tensor& actual, const at::Tensor& expected, const std::string& what) {
  ASSERT_EQ(actual.numel(), expected.numel()) << what;
  const at::Tensor a = actual.flatten().to(at::kDouble), e = expected.flatten().to(at::kDouble);
  const at::Tensor wrong = (a != e).nonzero();
  if (wrong.numel() == 0) return;
  const int64_t i = wrong[0].item<int64_t>();
  ADD_FAILURE() << what << ": " << wrong.size(0) << " of " << a.numel() << " differ, first [" << i
                << "]: " << a[i].item<double>() << ", expected " << e[i].item<double>();
}

void expect_close(const at::Tensor& actual, const at::Tensor& expected, double tolerance, const std::string& what) {
  ASSERT_TRUE(actual.defined()) << what;
  const double size = expected.abs().max().item<double>();
  EXPECT_LE((actual.flatten() - expected.flatten()).abs().max().item<double>(), tolerance * size) << what;
}

struct MxCase {
  const char *name, *data_type;
  int bits;
};

TEST(MxVectors, WeightsAreBitEqual) {
  const mx_fp::MxFpScheme floats;
  const mx_int::MxIntScheme ints;
  for (const MxCase& m :
       {MxCase{"mxfp4_g32", "mx_fp", 4}, MxCase{"mxfp6_e2m3_g32", "mx_fp", 6},
        MxCase{"mxfp6_e3m2_g32", "mx_fp6e3m2", 6}, MxCase{"mxfp8_e4m3_g32", "mx_fp", 8},
        MxCase{"mxfp8_e5m2_g32", "mx_fp8e5m2", 8}, MxCase{"mxint4_g32", "mx_int", 4}, MxCase{"mxint8_g32", "mx_int", 8},
        MxCase{"mxfp4_zero_group", "mx_fp", 4}, MxCase{"mxfp4_rceil_g32", "mx_fp_rceil", 4},
        MxCase{"mxfp8_rceil_g32", "mx_fp_rceil", 8}, MxCase{"mxfp4_rceil_v2_g32", "mx_fp_rceil_v2", 4}}) {
    const Case c = named(m.name);
    const sdk::ScaledScheme& scheme =
        std::string_view(m.data_type) == "mx_int" ? static_cast<const sdk::ScaledScheme&>(ints) : floats;
    const TensorQuant quant = quant_of(m.data_type, m.bits, 32);
    const at::Tensor w = c.in("w");
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
    expect_equal(got.scale, c.out("e8m0"), c.name + " e8m0");
    expect_equal(scheme.dequantize(got, quant, at::kFloat), c.out("dequant"), c.name + " dequant");
    QuantizedWeight elements = got;
    elements.scale = at::full_like(got.scale, 127);
    expect_equal(scheme.dequantize(elements, quant, at::kFloat), sdk::from_groups(c.out("element"), w.sizes()),
                 c.name + " element");
    expect_equal(scheme.fake_quant_act(w, quant, {}), c.out("dequant"), c.name + " as activation");
  }
}

TEST(MxVectors, SearchedMultipliersAreBitEqual) {
  const mx_fp::MxFpScheme scheme;
  const Case c = named("mxfp4_opt_rtn_imatrix");
  const TensorQuant quant = quant_of("mx_fp", 4, 32);
  const QuantizedWeight got = scheme.quantize_rtn(c.in("w"), quant, RtnMode::searched, c.in("imatrix"), 0, {});
  expect_equal(got.scale.to(at::kFloat) - 127, c.out("shared_exp"), c.name + " shared_exp");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), c.out("dequant"), c.name + " dequant");
  TuningSetup setup;
  setup.enable_alg_ext = true;
  setup.imatrix = c.in("imatrix");
  expect_equal(scheme.begin_tuning(c.in("w"), quant, setup).init_scale, c.out("multiplier"), c.name + " multiplier");
}

// Values of codes 0..15 of a 4-bit scheme; rounding of single elements.
TEST(MxVectors, ElementsRoundHalfToEven) {
  const mx_fp::MxFpScheme scheme;
  const Case c = named("fp4_e2m1_element_rounding");
  const at::Tensor x = c.in("x");
  // A group each, with a 4 beside the value: the scale is 1.
  const at::Tensor w = at::stack({x.clamp(-6, 6), at::full_like(x, 4)}, 1);
  const TensorQuant quant = quant_of("mx_fp", 4, 2);
  const at::Tensor y = scheme.dequantize(scheme.quantize_rtn(w, quant, RtnMode::plain, {}, 0, {}), quant, at::kFloat);
  expect_equal(y.select(1, 0), c.out("quant_element").clamp(-6, 6), c.name);
  expect_equal(y.select(1, 0), c.out("cast_to_fp4"), c.name);
}

TEST(NvVectors, WeightsAreBitEqual) {
  const nv_fp4::NvFp4Scheme scheme;
  const TensorQuant quant = quant_of("nv_fp", 4, 16);
  const Case own = named("nvfp4_weight"), given = named("nvfp4_weight_given_gs");
  const at::Tensor w = own.in("w");
  QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
  expect_equal(got.global_scale, own.out("global_scale"), "G");
  expect_equal(got.scale, own.out("scale_fp8"), "scale");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), own.out("dequant"), "dequant");
  got = scheme.quantize_rtn(given.in("w"), quant, RtnMode::plain, {}, 0, given.in("global_scale"));
  expect_equal(got.scale, given.out("scale_fp8"), "scale with given G");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), given.out("dequant"), "dequant with given G");
}

TEST(NvVectors, ActivationsUnderACalibratedMaximumAreBitEqual) {
  const nv_fp4::NvFp4Scheme scheme;
  const Case c = named("nvfp4_act_static_gs");
  expect_equal(scheme.fake_quant_act(c.in("x"), quant_of("nv_fp4_with_static_gs", 4, 16), c.in("tensor_max")),
               c.out("dequant"), c.name);
}

TEST(NvVectors, SearchedMultipliersAreBitEqual) {
  const nv_fp4::NvFp4Scheme scheme;
  const Case c = named("nvfp4_opt_rtn_imatrix");
  const TensorQuant quant = quant_of("nv_fp", 4, 16);
  const QuantizedWeight got =
      scheme.quantize_rtn(c.in("w"), quant, RtnMode::searched, c.in("imatrix"), 0, c.in("global_scale"));
  expect_equal(got.scale, c.out("scale_fp8"), c.name + " scale");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), c.out("dequant"), c.name + " dequant");
}

TEST(NvVectors, UnsignedE5m3IsBitEqual) {
  const nv_fp4::NvFp4Scheme scheme;
  const Case weight = named("nvfp4_v2_e5m3"), cast = named("ue5m3_cast");
  const TensorQuant quant = quant_of("nvfp4_v2", 4, 16);
  const QuantizedWeight got = scheme.quantize_rtn(weight.in("w"), quant, RtnMode::plain, {}, 0, {});
  EXPECT_FALSE(got.global_scale.defined());
  std::vector<float> scales;
  for (int64_t i = 0; i < got.scale.numel(); ++i)
    scales.push_back(sdk::ue5m3_to_float(got.scale.flatten()[i].item<uint8_t>()));
  expect_equal(at::tensor(scales, at::kFloat), weight.out("scale_ue5m3"), weight.name + " scale");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), weight.out("dequant"), weight.name + " dequant");
  const at::Tensor x = cast.in("x"), codes = cast.out("code"), values = cast.out("value");
  for (int64_t i = 0; i < x.numel(); ++i) {
    const uint8_t code = sdk::float_to_ue5m3(x[i].item<float>());
    EXPECT_EQ(code, codes[i].item<float>()) << x[i].item<float>();
    EXPECT_EQ(sdk::ue5m3_to_float(code), values[i].item<float>()) << x[i].item<float>();
  }
}

TEST(Fp8Vectors, WeightsAreBitEqual) {
  const fp8::Fp8Scheme scheme;
  struct Fp8Case {
    const char *name, *data_type;
    int64_t group_size, block_rows;
  };
  for (const Fp8Case& f : {Fp8Case{"fp8_weight_per_channel", "fp", -1, 0}, Fp8Case{"fp8_weight_per_tensor", "fp", 0, 0},
                           Fp8Case{"fp8_e5m2_per_channel", "fp8_e5m2", -1, 0}, Fp8Case{"fp8_block_4x4", "fp", 4, 4}}) {
    const Case c = named(f.name);
    TensorQuant quant = quant_of(f.data_type, 8, f.group_size);
    quant.block_rows = f.block_rows;
    const QuantizedWeight got = scheme.quantize_rtn(c.in("w"), quant, RtnMode::plain, {}, 0, {});
    expect_equal(got.scale, c.out("scale"), c.name + " scale");
    expect_equal(scheme.dequantize(got, quant, at::kFloat), c.out("dequant"), c.name + " dequant");
    if (const at::Tensor value = c.out("fp8_value"); value.defined())
      // The reference's straight-through estimator leaves a last bit of noise on the number it rounded.
      expect_equal(got.codes.to(at::kFloat), value.to(at::kFloat8_e4m3fn).to(at::kFloat), c.name + " fp8_value");
  }
}

TEST(Fp8Vectors, ActivationsAreBitEqual) {
  const fp8::Fp8Scheme scheme;
  const Case per_token = named("fp8_act_dynamic_per_token"), fixed = named("fp8_act_static_per_tensor");
  expect_equal(scheme.fake_quant_act(per_token.in("x"), quant_of("fp", 8, -1), {}), per_token.out("dequant"),
               per_token.name);
  TensorQuant quant = quant_of("fp", 8, 0);
  quant.dynamic = false;
  expect_equal(scheme.fake_quant_act(fixed.in("x"), quant, fixed.in("tensor_max")), fixed.out("dequant"), fixed.name);
}

TEST(ScaledVectors, GradientsMatchAutograd) {
  const mx_fp::MxFpScheme mx;
  const mx_int::MxIntScheme mx_ints;
  const nv_fp4::NvFp4Scheme nv;
  const fp8::Fp8Scheme f8;
  const std::pair<const char*, std::pair<const sdk::ScaledScheme*, TensorQuant>> all[] = {
      {"grad_mxfp4_g32", {&mx, quant_of("mx_fp", 4, 32)}},
      {"grad_mxfp8_g32", {&mx, quant_of("mx_fp", 8, 32)}},
      {"grad_mxint4_g32", {&mx_ints, quant_of("mx_int", 4, 32)}},
      {"grad_nvfp4_g16", {&nv, quant_of("nv_fp", 4, 16)}},
      {"grad_fp8_perchannel", {&f8, quant_of("fp", 8, -1)}}};
  for (const auto& [name, what] : all) {
    const auto& [scheme, quant] = what;
    const Case c = named(name);
    const at::Tensor w = c.in("w");
    sdk::WeightTuning tuning = scheme->begin_tuning(w, quant, {});
    tuning.v = c.in("v");
    tuning.max_scale = c.in("max_scale");
    at::Tensor y = at::empty_like(w);
    scheme->fake_quant_weight(w, tuning, quant, y);
    expect_equal(y, c.out("dequant"), c.name + " dequant");
    sdk::WeightGradient gradient;
    scheme->fake_quant_weight_backward(w, tuning, quant, c.in("grad_out"), gradient);
    expect_close(gradient.v, c.out("grad_v"), kGradV, c.name + " v");
    expect_close(gradient.max_scale, c.out("grad_max_scale"), kGradScale, c.name + " max_scale");
    EXPECT_FALSE(gradient.min_scale.defined());
  }
}

}  // namespace
}  // namespace arkit::testing
