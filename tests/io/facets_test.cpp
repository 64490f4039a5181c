// What only some sources have, and what decorators make of it.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/toml_json.h>

#include "formats/memory_source.h"
#include "io/io_testing.h"
#include "jobs/truncated_source.h"

namespace arkit {
namespace {

using testing::error_of;

constexpr const char *kFirst = "model.layers.0.mlp.up_proj", *kSecond = "model.layers.1.mlp.up_proj";

// A model of two blocks with a packed layer and static scales in each of them.
class Export final : public sdk::ForwardingSource, private PackedLayers, private AttentionScales {
 public:
  Export() : ForwardingSource(open_hf_folder(ARKIT_TEST_DATA "/models/llama")) {
    for (const char* name : {kFirst, kSecond}) layers_.push_back({.name = name, .packing = "test"});
    for (const char* name : {"model.layers.0.self_attn", "model.layers.1.self_attn"})
      modules_.push_back({.name = name, .quant = {}, .tensors = {}});
  }
  const PackedLayers* packed() const override { return this; }
  const AttentionScales* attention_scales() const override { return this; }

 private:
  std::span<const LinearSpec> layers() const override { return layers_; }
  TensorMap tensors(std::string_view layer) const override {
    return {{std::string(layer), at::ones({1})}, {"bias", at::ones({1})}};
  }
  QuantizedWeight unpack(std::string_view layer) const override {
    QuantizedWeight weight;
    weight.codes = at::full({1}, layer == kFirst ? 1 : 2);
    return weight;
  }
  std::span<const AttentionSpec> modules() const override { return modules_; }
  AttentionRanges ranges(std::string_view module) const override {
    return {.module = std::string(module), .key = at::ones({1}), .value = at::ones({1}), .query = {}};
  }

  std::vector<LinearSpec> layers_;
  std::vector<AttentionSpec> modules_;
};

TEST(ForwardingSource, ShowsEverythingOfTheOtherWhetherItOwnsItOrNot) {
  const Export made;
  const ModelSource& lent = made;
  const sdk::ForwardingSource borrowing(lent);
  const sdk::ForwardingSource owning(std::make_unique<Export>());
  EXPECT_EQ(borrowing.packed(), lent.packed());
  EXPECT_EQ(borrowing.attention_scales(), lent.attention_scales());
  EXPECT_EQ(borrowing.tokenizer(), lent.tokenizer());
  EXPECT_EQ(borrowing.rotations(), nullptr);
  for (const ModelSource* source :
       {static_cast<const ModelSource*>(&borrowing), static_cast<const ModelSource*>(&owning)}) {
    EXPECT_EQ(source->kind(), lent.kind());
    EXPECT_EQ(source->path(), lent.path());
    EXPECT_EQ(source->config(), lent.config());
    EXPECT_EQ(source->companions().size(), lent.companions().size());
    EXPECT_EQ(source->weights().tensors().size(), lent.weights().tensors().size());
    EXPECT_EQ(sdk::packed_layers(*source).size(), 2U);
    EXPECT_EQ(sdk::attention_modules(*source).size(), 2U);
  }
}

TEST(ForwardingSource, APlainModelHasNoFacetOfAnExport) {
  const auto plain = open_hf_folder(ARKIT_TEST_DATA "/models/llama");
  EXPECT_EQ(plain->packed(), nullptr);
  EXPECT_TRUE(sdk::packed_layers(*plain).empty());
  EXPECT_TRUE(sdk::attention_modules(*plain).empty());
  EXPECT_EQ(sdk::input_rotation(*plain, kFirst), nullptr);
  EXPECT_NE(error_of([&] { (void)sdk::packed_of(*plain); }).find("has no packed layers"), std::string::npos);
}

TEST(TruncatedSource, KeepsScalesAndPackedLayersOfBlocksThatStay) {
  const auto cut = truncate_blocks(std::make_unique<Export>(), 1);
  ASSERT_EQ(sdk::packed_layers(*cut).size(), 1U);
  EXPECT_EQ(sdk::packed_layers(*cut).front().name, kFirst);
  EXPECT_EQ(cut->packed()->unpack(kFirst).codes.item<int64_t>(), 1);
  EXPECT_TRUE(cut->packed()->tensors(kFirst).contains(kFirst));
  ASSERT_EQ(sdk::attention_modules(*cut).size(), 1U);
  EXPECT_EQ(sdk::attention_modules(*cut).front().name, "model.layers.0.self_attn");
  EXPECT_EQ(cut->attention_scales()->ranges("model.layers.0.self_attn").module, "model.layers.0.self_attn");
}

TEST(TruncatedSource, KnowsNothingOfWhatWasCutOff) {
  const auto cut = truncate_blocks(std::make_unique<Export>(), 1);
  EXPECT_NE(error_of([&] { (void)cut->packed()->unpack(kSecond); }).find("has no packed layer"), std::string::npos);
  EXPECT_NE(error_of([&] { (void)cut->packed()->tensors(kSecond); }).find("input: "), std::string::npos);
  EXPECT_NE(error_of([&] {
              (void)cut->attention_scales()->ranges("model.layers.1.self_attn");
            }).find("has no static scales of 'model.layers.1.self_attn'"),
            std::string::npos);
  // A selection of nothing is no facet.
  const Export whole;
  EXPECT_EQ(sdk::PackedSelection(whole, [](const LinearSpec&) { return false; }).facet(), nullptr);
  EXPECT_EQ(sdk::ScalesSelection(whole, [](const AttentionSpec&) { return false; }).facet(), nullptr);
}

TEST(WeightSource, FindsTheFirstOfTwoTensorsOfOneName) {
  test::MemoryTensors memory;
  memory.add("twice", at::ones({3}), "F32");
  memory.add("twice", at::ones({5}), "F32");
  memory.add("once", at::ones({7}), "F32");
  const WeightSource& weights = memory.weights();
  EXPECT_EQ(weights.tensors().size(), 3U);
  EXPECT_EQ(weights.find("twice"), &weights.tensors()[0]);
  EXPECT_EQ(weights.find("once"), &weights.tensors()[2]);
  EXPECT_EQ(weights.find("never"), nullptr);
}

TEST(WeightSource, SaysOnceWhatItHas) {
  class Twice final : public WeightSource {
   public:
    explicit Twice(int times) {
      for (int i = 0; i < times; ++i) set_tensors({});
    }
    at::Tensor load(std::string_view) const override { return {}; }
  };
  EXPECT_TRUE(Twice(0).tensors().empty());
  EXPECT_EQ(Twice(0).find("x"), nullptr);
  EXPECT_TRUE(Twice(1).tensors().empty());
  EXPECT_NE(error_of([] { const Twice twice(2); }).find("says twice"), std::string::npos);
}

TEST(TomlJson, NamesTheFileAndTheLine) {
  const json::Value value = sdk::toml_as_json("a = 1\n[b]\nc = [true, \"x\"]\n", "'x.toml'");
  EXPECT_EQ(json::dump(value), R"({"a": 1, "b": {"c": [true, "x"]}})");
  EXPECT_NE(error_of([] { (void)sdk::toml_as_json("a = 1\nb = \n", "'x.toml'"); }).find("'x.toml': line 2: not TOML"),
            std::string::npos);
  std::string deep = "a";
  for (int i = 0; i < 100; ++i) deep += ".a";
  EXPECT_NE(error_of([&] { (void)sdk::toml_as_json(deep + " = 1", "'x.toml'"); }).find("'x.toml': a key has more than"),
            std::string::npos);
}

}  // namespace
}  // namespace arkit
