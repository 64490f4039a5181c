// Scheme `int` against values computed by AutoRound 0.16.1 (tests/data/schemes/int_vectors.json, from
// quant_vectors.json).
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/sdk/ste.h>

#include "fp8_int_scheme.h"
#include "int_neuqi.h"
#include "int_scheme.h"
#include "schemes/vectors.h"

namespace arkit::testing {
namespace {

// Gradients of V only multiply and add.
constexpr double kGradV = 1e-6;
// Gradients of min_scale and max_scale pass through float16 (docs/spec/signround.md 11).
constexpr double kGradScale = 5e-3;

struct Case {
  std::string name;
  json::Object params, inputs, outputs;
};

std::vector<Case> cases(const std::string& prefix, const std::string& name_of_file = "int_vectors.json") {
  const json::Value file = json::read_file(ARKIT_TEST_DATA "/schemes/" + name_of_file);
  std::vector<Case> all;
  for (const json::Value& value : file.as_object().at("cases").as_array()) {
    const json::Object& c = value.as_object();
    const std::string name(c.at("name").as_string());
    if (name.starts_with(prefix))
      all.push_back({name, c.at("params").as_object(), c.at("inputs").as_object(), c.at("outputs").as_object()});
  }
  return all;
}

TensorQuant quant_of(const Case& c) {
  TensorQuant quant;
  quant.bits = static_cast<int>(*json::get_int(c.params, "bits", c.name));
  quant.group_size = json::get_int(c.params, "group_size", c.name).value_or(32);
  quant.sym = json::get_bool(c.params, "sym", c.name).value_or(true);
  quant.scale_dtype = json::get_string(c.params, "scale_dtype", c.name).value_or("float16");
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

TEST(IntVectors, RoundToNearestIsBitEqual) {
  const int_scheme::IntScheme scheme;
  int seen = 0;
  for (const Case& c : cases("int")) {
    if (c.name.starts_with("int8_act") || c.name.starts_with("int4_sym_gptq")) continue;
    ++seen;
    const TensorQuant quant = quant_of(c);
    const at::Tensor w = tensor_at(c.inputs, "w"), expected_scale = tensor_at(c.outputs, "scale");
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::plain, {}, 0, {});
    EXPECT_EQ(got.scale.scalar_type(), expected_scale.scalar_type()) << c.name;
    expect_equal(got.scale, expected_scale, c.name + " scale");
    if (quant.sym)
      EXPECT_FALSE(got.zero_point.defined()) << c.name;
    else
      expect_equal(got.zero_point, tensor_at(c.outputs, "zp"), c.name + " zp");
    const int offset = quant.sym ? 1 << (quant.bits - 1) : 0;
    expect_equal(got.codes.to(at::kInt) - offset, sdk::from_groups(tensor_at(c.outputs, "q"), w.sizes()),
                 c.name + " q");
    expect_equal(scheme.dequantize(got, quant, w.scalar_type()), tensor_at(c.outputs, "dequant"), c.name + " dequant");
  }
  EXPECT_EQ(seen, 12);
}

TEST(IntVectors, GradientsMatchAutograd) {
  const int_scheme::IntScheme scheme;
  const std::vector<Case> all = cases("grad_int");
  EXPECT_EQ(all.size(), 3U);
  for (const Case& c : all) {
    const TensorQuant quant = quant_of(c);
    const at::Tensor w = tensor_at(c.inputs, "w");
    sdk::WeightTuning tuning = scheme.begin_tuning(w, quant, {});
    tuning.v = tensor_at(c.inputs, "v");
    tuning.min_scale = tensor_at(c.inputs, "min_scale");
    tuning.max_scale = tensor_at(c.inputs, "max_scale");
    at::Tensor y = at::empty_like(w);
    scheme.fake_quant_weight(w, tuning, quant, y);
    expect_equal(y, tensor_at(c.outputs, "dequant"), c.name + " dequant");
    expect_equal(scheme.quantize_tuned(w, tuning, quant).scale, tensor_at(c.outputs, "scale"), c.name + " scale");
    sdk::WeightGradient gradient;
    scheme.fake_quant_weight_backward(w, tuning, quant, tensor_at(c.inputs, "grad_out"), gradient);
    EXPECT_TRUE(at::allclose(gradient.v, tensor_at(c.outputs, "grad_v"), kGradV, 0)) << c.name;
    EXPECT_TRUE(at::allclose(gradient.min_scale, tensor_at(c.outputs, "grad_min_scale"), kGradScale, 0)) << c.name;
    EXPECT_TRUE(at::allclose(gradient.max_scale, tensor_at(c.outputs, "grad_max_scale"), kGradScale, 0)) << c.name;
  }
}

TEST(IntVectors, SearchedScalesAreBitEqual) {
  const int_scheme::IntScheme scheme;
  const std::vector<Case> all = cases("opt_rtn_int");
  EXPECT_EQ(all.size(), 5U);
  for (const Case& c : all) {
    const TensorQuant quant = quant_of(c);
    const at::Tensor w = tensor_at(c.inputs, "w");
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::searched, tensor_at(c.inputs, "imatrix"), 0, {});
    EXPECT_EQ(got.scale.scalar_type(), w.scalar_type()) << c.name;
    expect_equal(got.scale, tensor_at(c.outputs, "scale"), c.name + " scale");
    expect_equal(scheme.dequantize(got, quant, w.scalar_type()), tensor_at(c.outputs, "dequant"), c.name + " dequant");
  }
}

TEST(IntVectors, ActivationsPerTokenAreBitEqual) {
  const std::vector<Case> all = cases("int8_act");
  ASSERT_EQ(all.size(), 1U);
  const at::Tensor x = tensor_at(all[0].inputs, "x");
  expect_equal(int_scheme::IntScheme().fake_quant_act(x, quant_of(all[0]), {}), tensor_at(all[0].outputs, "dequant"),
               all[0].name);
}

TEST(IntVectors, NeuqiGridsAreBitEqual) {
  const std::vector<Case> all = cases("neuqi_int4");
  EXPECT_EQ(all.size(), 2U);
  for (const Case& c : all) {
    TensorQuant quant = quant_of(c);
    quant.sym = c.name.ends_with("_sym");
    const int_scheme::SearchedGrid found = int_scheme::search_neuqi(tensor_at(c.inputs, "w"), quant, {});
    expect_equal(found.scale, tensor_at(c.outputs, "scale"), c.name + " scale");
    EXPECT_EQ(found.zero_point.defined(), !quant.sym);
    if (!quant.sym) expect_equal(found.zero_point, tensor_at(c.outputs, "zp"), c.name + " zp");
  }
}

// Made with the reference's own functions: short groups, dtypes, importances with zeros to repair.
TEST(IntVectors, NeuqiWeightsAreBitEqual) {
  const int_scheme::IntScheme scheme;
  const std::vector<Case> all = cases("w", "neuqi_vectors.json");
  EXPECT_EQ(all.size(), 8U);
  for (const Case& c : all) {
    TensorQuant quant = quant_of(c);
    quant.observer = "neuqi";
    const at::Tensor w = tensor_at(c.inputs, "w");
    const at::Tensor imatrix = c.inputs.contains("imatrix") ? tensor_at(c.inputs, "imatrix") : at::Tensor();
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::searched, imatrix, 0, {});
    expect_equal(got.scale, tensor_at(c.outputs, "scale"), c.name + " scale");
    if (!quant.sym) expect_equal(got.zero_point, tensor_at(c.outputs, "zp"), c.name + " zp");
    expect_equal(scheme.dequantize(got, quant, w.scalar_type()), tensor_at(c.outputs, "dequant"), c.name + " dequant");
  }
}

TEST(IntVectors, IntegersOfFloatsAreBitEqual) {
  const int_scheme::Fp8IntScheme scheme;
  const std::vector<Case> all = cases("w4fp8");
  ASSERT_EQ(all.size(), 1U);
  const Case& c = all.front();
  TensorQuant quant = quant_of(c);
  quant.data_type = "fp8_to_int_sym";
  const at::Tensor w = tensor_at(c.inputs, "w");
  const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::searched, {}, 0, {});
  expect_equal(got.global_scale, tensor_at(c.outputs, "bf16_to_fp8_scale"), c.name + " scale of the floats");
  expect_equal((got.scale * got.global_scale.reshape({})).to(at::kBFloat16), tensor_at(c.outputs, "scale"),
               c.name + " scale");
  const at::Tensor expected = tensor_at(c.outputs, "dequant");
  expect_equal(scheme.dequantize(got, quant, at::kFloat), expected, c.name + " dequant");
  sdk::WeightTuning tuning = scheme.begin_tuning(w, quant, {.enable_minmax_tuning = false});
  at::Tensor y = at::empty_like(w);
  scheme.fake_quant_weight(w, tuning, quant, y);
  expect_equal(y, expected, c.name + " fake quantization");
}

TEST(IntVectors, ScaleRulesAreBitEqual) {
  const int_scheme::IntScheme scheme;
  for (const char* rule : {"gptq", "power_of_two"}) {
    const bool gptq = std::string(rule) == "gptq";
    const std::vector<Case> all = cases(gptq ? "int4_sym_gptq" : "mx_uint4");
    ASSERT_EQ(all.size(), 1U) << rule;
    const Case& c = all.front();
    TensorQuant quant = quant_of(c);
    quant.observer = rule;
    const at::Tensor w = tensor_at(c.inputs, "w");
    const QuantizedWeight got = scheme.quantize_rtn(w, quant, RtnMode::searched, {}, 0, {});
    // The reference's exponent is that of the whole range; codes are quarters of it.
    const at::Tensor expected =
        gptq ? tensor_at(c.outputs, "scale") : tensor_at(c.outputs, "shared_exp").exp2().div(4).to(at::kHalf);
    expect_equal(got.scale, expected, c.name + " scale");
    expect_equal(scheme.dequantize(got, quant, at::kFloat), tensor_at(c.outputs, "dequant"), c.name + " dequant");
  }
}

}  // namespace
}  // namespace arkit::testing
