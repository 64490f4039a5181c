#pragma once
// Conformance tests every Scheme must pass. Include it in one test source and name the cases:
//
//   INSTANTIATE_TEST_SUITE_P(Nf4, SchemeSuite, ::testing::Values(SchemeCase{"nf4", scheme, quant}), scheme_case_name);

#include <limits>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>

namespace arkit::conformance {

struct SchemeCase {
  std::string name;  // letters, digits and '_'
  std::shared_ptr<const Scheme> scheme;
  TensorQuant quant;
  // Values on the grid quantize to themselves (false: the range of a grid need not be the grid's).
  bool idempotent = true;
};

inline std::string scheme_case_name(const ::testing::TestParamInfo<SchemeCase>& info) {
  return info.param.name;
}

class SchemeSuite : public ::testing::TestWithParam<SchemeCase> {
 protected:
  static constexpr int64_t kOut = 6;

  const Scheme& scheme() const { return *GetParam().scheme; }
  const TensorQuant& quant() const { return GetParam().quant; }

  // Not a multiple of any group size but 1: the last group of every row is short.
  int64_t ragged_in() const { return quant().group_size > 0 ? 2 * quant().group_size + 5 : 37; }
  int64_t full_in() const { return quant().group_size > 0 ? 3 * quant().group_size : 48; }

  static at::Tensor normal(at::IntArrayRef sizes, double spread, at::ScalarType dtype) {
    return (at::randn(sizes, at::kFloat) * spread).to(dtype);
  }

  LayerPlan plan(int64_t in) const {
    LayerPlan layer;
    layer.name = "layer";
    layer.out_features = kOut;
    layer.in_features = in;
    layer.quant.weight = quant();
    return layer;
  }

  at::Tensor round_trip(const at::Tensor& weight) const {
    return scheme().dequantize(scheme().quantize_rtn(weight, quant(), RtnMode::plain, {}, 0, {}), quant(),
                               weight.scalar_type());
  }

  // A tuner in the middle of a run: what it trains has moved.
  std::unique_ptr<WeightTuner> some_tuner(const at::Tensor& weight) const {
    std::unique_ptr<WeightTuner> tuner = scheme().tuner(weight, quant(), {});
    for (Trainable& trainable : tuner->trainables())
      if (trainable.rate == Trainable::Rate::offset)
        trainable.value.add_(at::empty_like(trainable.value).uniform_(-0.5, 0.5));
      else
        trainable.value.mul_(at::empty_like(trainable.value).uniform_(0.7, 1.0));
    return tuner;
  }

  void SetUp() override { at::manual_seed(7); }
};

inline const std::vector<at::ScalarType>& weight_dtypes() {
  static const std::vector<at::ScalarType> all = {at::kFloat, at::kBFloat16, at::kHalf};
  return all;
}

TEST_P(SchemeSuite, SupportsItsOwnCaseAndRefusesNonsense) {
  // A shape no layout objects to: whole groups and whole words along both sides.
  LayerPlan layer = plan(32 * full_in());
  layer.out_features = 96;
  EXPECT_EQ(scheme().supports(layer).why_not, "");
  layer.quant.weight.bits = 0;
  EXPECT_FALSE(scheme().supports(layer));
}

TEST_P(SchemeSuite, ScalesCostBits) {
  EXPECT_GE(scheme().bits_per_weight(plan(full_in())), quant().bits);
  EXPECT_GE(scheme().bits_per_weight(plan(ragged_in())), scheme().bits_per_weight(plan(full_in())));
}

TEST_P(SchemeSuite, FakeQuantIsDequantizeOfQuantize) {
  for (const at::ScalarType dtype : weight_dtypes())
    for (const int64_t in : {full_in(), ragged_in()})
      for (const at::ScalarType out_dtype : {at::kFloat, at::kBFloat16}) {
        const at::Tensor weight = normal({kOut, in}, 0.05, dtype);
        const std::unique_ptr<WeightTuner> tuner = some_tuner(weight);
        at::Tensor fake = at::empty({kOut, in}, out_dtype);
        tuner->fake_quant(fake);
        const QuantizedWeight codes = tuner->finish();
        EXPECT_TRUE(at::equal(fake, scheme().dequantize(codes, quant(), out_dtype))) << dtype << " in " << in;
      }
}

TEST_P(SchemeSuite, WhatIsTrainedHasANameAndStartsWithinItsBounds) {
  const at::Tensor weight = normal({kOut, full_in()}, 0.05, at::kFloat);
  const std::unique_ptr<WeightTuner> tuner = scheme().tuner(weight, quant(), {});
  std::set<std::string_view> names;
  for (const Trainable& trainable : tuner->trainables()) {
    EXPECT_TRUE(names.insert(trainable.name).second) << trainable.name;
    EXPECT_FALSE(trainable.name.empty());
    EXPECT_TRUE(trainable.value.scalar_type() == at::kFloat && trainable.value.is_contiguous()) << trainable.name;
    EXPECT_TRUE(((trainable.value >= trainable.low) & (trainable.value <= trainable.high)).all().item<bool>())
        << trainable.name;
    EXPECT_FALSE(trainable.gradient.defined()) << trainable.name;
  }
  EXPECT_FALSE(names.empty()) << "nothing to tune";
}

TEST_P(SchemeSuite, GradientsReachWhatIsTrainedAndAccumulate) {
  for (const int64_t in : {full_in(), ragged_in()}) {
    const at::Tensor weight = normal({kOut, in}, 0.05, at::kBFloat16);
    const std::unique_ptr<WeightTuner> tuner = some_tuner(weight);
    at::Tensor fake = at::empty(weight.sizes(), at::kFloat);
    tuner->fake_quant(fake);
    const at::Tensor grad_out = normal({kOut, in}, 1.0, at::kFloat);
    tuner->backward(grad_out);
    std::vector<at::Tensor> once;
    for (const Trainable& trainable : tuner->trainables()) {
      ASSERT_TRUE(trainable.gradient.defined()) << trainable.name;
      EXPECT_EQ(trainable.gradient.sizes(), trainable.value.sizes()) << trainable.name;
      EXPECT_TRUE(trainable.gradient.isfinite().all().item<bool>()) << trainable.name;
      if (trainable.rate == Trainable::Rate::offset)
        EXPECT_GT((trainable.gradient != 0).sum().item<int64_t>(), kOut * in / 3) << trainable.name;
      once.push_back(trainable.gradient.clone());
      trainable.gradient.zero_();  // as the optimizer does
    }
    tuner->backward(grad_out);
    tuner->backward(grad_out);
    for (size_t i = 0; i < once.size(); ++i)
      EXPECT_TRUE(at::equal(tuner->trainables()[i].gradient, once[i] * 2)) << tuner->trainables()[i].name;
  }
}

TEST_P(SchemeSuite, ErrorIsSmallerThanTheWeight) {
  const at::Tensor weight = normal({kOut, full_in()}, 0.05, at::kFloat);
  EXPECT_LT((round_trip(weight) - weight).norm().item<float>(), weight.norm().item<float>());
}

// What its traits say decides whether samples are read, what people are told, and how `arkit verify` judges.
TEST_P(SchemeSuite, SearchesOnlyWhereItSaysSo) {
  LayerQuant layer;
  layer.weight = quant();
  if (scheme().traits(layer).searches) GTEST_SKIP() << "it searches";
  const at::Tensor weight = normal({kOut, full_in()}, 0.05, at::kBFloat16);
  const at::Tensor importance = at::rand({full_in()}, at::kFloat) + 0.1;
  const auto rounded = [&](RtnMode mode) {
    return scheme().dequantize(scheme().quantize_rtn(weight, quant(), mode, importance, 4, {}), quant(), at::kFloat);
  };
  EXPECT_TRUE(at::equal(rounded(RtnMode::searched), rounded(RtnMode::plain)));
}

TEST_P(SchemeSuite, ValuesOnTheGridStay) {
  if (!GetParam().idempotent) GTEST_SKIP() << "SKIPPED: needs a scheme whose grid is found again from its values";
  const at::Tensor once = round_trip(normal({kOut, ragged_in()}, 0.05, at::kFloat));
  EXPECT_TRUE(at::equal(round_trip(once), once));
}

TEST_P(SchemeSuite, ZeroRowsStayZero) {
  for (const at::ScalarType dtype : weight_dtypes()) {
    at::Tensor weight = normal({kOut, ragged_in()}, 0.05, dtype);
    weight[2].zero_();
    const QuantizedWeight codes = scheme().quantize_rtn(weight, quant(), RtnMode::plain, {}, 0, {});
    EXPECT_TRUE(codes.scale.to(at::kFloat).isfinite().all().item<bool>());
    const at::Tensor back = scheme().dequantize(codes, quant(), at::kFloat);
    EXPECT_EQ(back[2].abs().max().item<float>(), 0.0F);
    EXPECT_TRUE(back.isfinite().all().item<bool>());
  }
}

TEST_P(SchemeSuite, NaNAndInfinityAreRefused) {
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    at::Tensor weight = normal({kOut, ragged_in()}, 0.05, at::kBFloat16);
    weight[kOut - 1][ragged_in() - 1] = poison;
    EXPECT_THROW((void)scheme().quantize_rtn(weight, quant(), RtnMode::plain, {}, 0, {}), Error);
    EXPECT_THROW((void)scheme().tuner(weight, quant(), {}), Error);
  }
}

TEST_P(SchemeSuite, ShortLastGroupIsAsIfPaddedWithZeros) {
  if (quant().group_size <= 0) GTEST_SKIP() << "SKIPPED: needs a scheme with groups";
  const int64_t in = ragged_in(), padded = (in + quant().group_size - 1) / quant().group_size * quant().group_size;
  const at::Tensor weight = normal({kOut, in}, 0.05, at::kBFloat16);
  const at::Tensor whole = at::constant_pad_nd(weight, {0, padded - in});
  EXPECT_TRUE(at::equal(round_trip(weight), round_trip(whole).slice(1, 0, in)));
}

}  // namespace arkit::conformance
