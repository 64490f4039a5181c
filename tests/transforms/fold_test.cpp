// A folded model computes what the original computes, and a record brings it back.
#include <gtest/gtest.h>

#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>

#include "transforms_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::kModels;
using testing::logits_of;
using testing::refusal;
using testing::some_folds;

// llama and mistral: grouped queries; qwen2: with biases of q, k and v, tied; qwen3: norms of heads, wide heads.
class Folded : public ::testing::TestWithParam<const char*> {};

TEST_P(Folded, ComputesTheSameInFullPrecision) {
  const TransformRecord record = some_folds(GetParam(), at::kFloat);
  EXPECT_EQ(record.folds.size(), 8u);  // four places in each of two blocks
  const at::Tensor expected = logits_of(*open_hf_folder(kModels / GetParam()));
  const auto source = fold_source(open_hf_folder(kModels / GetParam()), {record});
  EXPECT_TRUE(sdk::close(logits_of(*source), expected, 2e-4));
}

// Norms in bfloat16 would cost 1e-2 here; what their rounding changes goes into the columns behind them.
TEST_P(Folded, RoundingOfNormsIsMadeUpFor) {
  const TransformRecord record = some_folds(GetParam(), at::kBFloat16);
  const auto source = fold_source(open_hf_folder(kModels / GetParam()), {record});
  const ScalePlace& first = record.folds.front().place;
  ASSERT_TRUE(first.from_norm);
  EXPECT_EQ(source->weights().load(first.from).scalar_type(), at::kBFloat16);
  const at::Tensor expected = logits_of(*open_hf_folder(kModels / GetParam()));
  EXPECT_TRUE(sdk::close(logits_of(*source), expected, 2e-4));
}

// The tests above could pass if nothing was folded at all.
TEST_P(Folded, ChangesEveryTensorOfAPlace) {
  const TransformRecord record = some_folds(GetParam(), at::kFloat);
  const auto original = open_hf_folder(kModels / GetParam());
  const auto source = fold_source(open_hf_folder(kModels / GetParam()), {record});
  int64_t changed = 0;
  for (const TensorInfo& info : original->weights().tensors())
    if (!original->weights().load(info.name).to(at::kFloat).equal(source->weights().load(info.name).to(at::kFloat)))
      ++changed;
  const bool bias = original->weights().find("model.layers.0.self_attn.v_proj.bias") != nullptr;
  EXPECT_EQ(changed, 2 * (7 + 2 + (bias ? 1 : 0)));  // layers, norms, the bias of v
}

TEST_P(Folded, ARecordBringsBackTheSameBits) {
  const TransformRecord record = some_folds(GetParam(), at::kBFloat16);
  const json::Object run{{"transforms", json::Array{to_json(record)}}};
  const std::vector<TransformRecord> read =
      read_transforms(json::parse(json::dump(run, 2), "record").as_object(), "record");
  ASSERT_EQ(read.size(), 1u);
  const auto first = fold_source(open_hf_folder(kModels / GetParam()), {record});
  const auto second = fold_source(open_hf_folder(kModels / GetParam()), read);
  for (const TensorInfo& info : first->weights().tensors())
    EXPECT_TRUE(first->weights().load(info.name).equal(second->weights().load(info.name))) << info.name;
}

INSTANTIATE_TEST_SUITE_P(Families, Folded, ::testing::Values("llama", "mistral", "qwen2", "qwen3"),
                         [](const auto& info) { return info.param; });

TEST(FoldNorm, ColumnsMakeUpForRounding) {
  const at::Tensor weight = at::tensor({1.0F, 3.0F, 0.0F, -2.5F}), scales = at::tensor({3.0F, 1.7F, 5.0F, 0.3F});
  const FoldedNorm folded = fold_norm(weight, scales, at::kBFloat16);
  EXPECT_EQ(folded.weight.scalar_type(), at::kBFloat16);
  EXPECT_TRUE(sdk::close(folded.weight.to(at::kFloat) * folded.columns, weight, 0, 1e-6));
  EXPECT_EQ(folded.columns[2].item<float>(), 5.0F);  // of a channel that is always 0
}

TEST(FoldRecord, RefusesWhatMakesNoSense) {
  const json::Object good = to_json(some_folds("llama", at::kBFloat16));
  const auto reading = [&](const std::function<void(json::Object & record, json::Object & fold)>& damage) {
    json::Object record = good;
    damage(record, record["folds"].get_array()[1].get_object());
    return refusal(ErrorCode::input, [&] {
      (void)fold_source(open_hf_folder(kModels / "llama"),
                        read_transforms({{"transforms", json::Array{record}}}, "'arkit-run.json'"));
    });
  };
  using O = json::Object;
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["scales"] = "3f8"; }), "scales"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["scales"] = "7fc0"; }), "positive"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["scales"] = "zzzz"; }), "hexadecimal"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["scales"] = "3f803f80"; }), "2 scales"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["repeats"] = -1; }), "repeats"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["heads"] = 0; }), "heads"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["into"] = json::Array(); }), "no layer"));
  EXPECT_TRUE(contains(reading([](O&, O& fold) { fold["layer"] = "model.layers.9.x"; }), "model.layers.9.x"));
  EXPECT_TRUE(contains(reading([](O& record, O&) { record["norms"] = "int4"; }), "int4"));
}

TEST(ScalePlaces, NoneBehindARotationAtRunTime) {
  class Turned final : public sdk::ForwardingSource, private Rotations {
   public:
    Turned() : ForwardingSource(open_hf_folder(kModels / "llama")) {}
    const Rotations* rotations() const override { return this; }

   private:
    class Same final : public InputRotation {
     public:
      int64_t size() const override { return 1; }
      at::Tensor apply(const at::Tensor& x) const override { return x; }
    };
    std::shared_ptr<const InputRotation> of_input(std::string_view layer) const override {
      return layer.ends_with("down_proj") ? std::make_shared<Same>() : nullptr;
    }
    std::shared_ptr<const InputRotation> of_query_key() const override { return nullptr; }
    const RotationRecord& record() const override { return record_; }
    std::optional<StoredRotation> stored(std::string_view) const override { return std::nullopt; }

    RotationRecord record_;
  } source;
  const std::vector<ScalePlace> places = scale_places(source, adapter_for(source, testing::registry()).layout(source));
  EXPECT_EQ(places.size(), 6u);
  for (const ScalePlace& place : places) EXPECT_FALSE(place.into.front().ends_with("down_proj"));
}

}  // namespace
}  // namespace arkit
