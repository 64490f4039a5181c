// A rotated model computes what the original computes, whatever the rotation.
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>

#include "rotation/rotation_testing.h"
#include "rotations.h"

namespace arkit::rotation {
namespace {

using auto_round::rotation_tensors;

// To 1e-5 of their norm, and no single one further off than float32 sums of these models go when their order changes.
testing::AssertionResult same_logits(const at::Tensor& actual, const at::Tensor& expected) {
  const double relative = ((actual - expected).norm() / expected.norm()).item<double>();
  if (!(relative <= 1e-5)) return testing::AssertionFailure() << "differ by " << relative << " of their norm";
  return sdk::close(actual, expected, 1e-4);
}

const std::vector<std::string>& all_kinds() {
  static const std::vector<std::string> kKinds = {
      "default",
      "hadamard",
      "random_hadamard",
      R"({"block_size": 16})",
      "quarot",
      "inplace_hadamard",
      "inplace_random",
      "inplace_quarot_hadamard",
      R"({"algorithm": "quarot", "r1": false})",
      R"({"algorithm": "quarot", "r1": true, "r2": false, "rotation_size": 32})",
      R"({"algorithm": "quarot", "r3": true, "r4": true})",
      R"({"algorithm": "quarot", "r4": true, "random_r1": true, "random_r2": true, "random_r4": true, "seed": 5})",
      R"({"algorithm": "spinquant", "online_r1_rotation": false, "r3": true, "r4": true, "rotation_size": 32})"};
  return kKinds;
}

class RotatedModel : public testing::TestWithParam<const char*> {};

TEST_P(RotatedModel, HasTheLogitsOfTheOriginal) {
  const at::Tensor expected = logits_of(*open_hf_folder(kModels / GetParam()));
  for (const std::string& kind : all_kinds())
    EXPECT_TRUE(same_logits(logits_of(*fully_rotated(GetParam(), kind)), expected)) << kind;
}

// The test above could pass if nothing was rotated at all.
TEST_P(RotatedModel, HasOtherWeights) {
  const auto original = open_hf_folder(kModels / GetParam());
  for (const std::string& kind : all_kinds()) {
    const auto source = fully_rotated(GetParam(), kind);
    int changed = 0;
    for (const TensorInfo& info : original->weights().tensors())
      if (!source->weights().load(info.name).equal(original->weights().load(info.name))) ++changed;
    EXPECT_GE(changed, 4) << kind;
  }
}

INSTANTIATE_TEST_SUITE_P(Families, RotatedModel, testing::Values("llama", "llama31", "mistral", "qwen2", "qwen3"),
                         [](const auto& which) { return std::string(which.param); });

TEST(RotatedSource, UntiesTheHeadOfATurnedStream) {
  const auto source = rotated("qwen2", "inplace_hadamard");
  EXPECT_FALSE(source->config().at("tie_word_embeddings").as_bool());
  ASSERT_NE(source->weights().find("lm_head.weight"), nullptr);
  EXPECT_FALSE(source->weights().load("lm_head.weight").equal(source->weights().load("model.embed_tokens.weight")));
  EXPECT_TRUE(rotated("qwen2", "quarot")->config().at("tie_word_embeddings").as_bool());
}

TEST(RotatedSource, NeedsNothingAtRunTimeWhenFused) {
  const auto source = fully_rotated("llama", "inplace_random");
  EXPECT_EQ(source->rotations(), nullptr);
  for (const LayerPlan& layer : plan_of(*source).layers) EXPECT_EQ(sdk::input_rotation(*source, layer.name), nullptr);
}

TEST(RotatedSource, LeavesLayersOf16BitsAlone) {
  const std::string kept = "model.layers.1.mlp.down_proj", head = "lm_head";
  const auto original = open_hf_folder(kModels / "llama");
  const auto source = rotated("llama", "hadamard");
  QuantPlan plan = plan_of(*source);
  for (LayerPlan& layer : plan.layers)
    if (layer.name == kept) layer.quant.weight.bits = 16;
  source->rotate_inputs(plan);
  for (const LayerPlan& layer : plan.layers) {
    const bool left = layer.name == kept || layer.name == head;
    EXPECT_EQ(layer.quant.rotation, left ? "" : "hadamard 32");
    EXPECT_EQ(sdk::input_rotation(*source, layer.name) == nullptr, left);
    EXPECT_EQ(source->weights().load(layer.name + ".weight").equal(original->weights().load(layer.name + ".weight")),
              left);
  }
  const auto& record = std::get<LayerRotations>(source->rotations()->record());
  EXPECT_EQ(record.left_alone, (std::vector<std::string>{kept, head}));
  EXPECT_TRUE(same_logits(logits_of(*source), logits_of(*original)));
}

TEST(RotatedSource, MayBeAskedAgainWithAnotherPlan) {
  const auto source = fully_rotated("llama", "hadamard");
  QuantPlan none = plan_of(*source);
  for (LayerPlan& layer : none.layers) layer.quant.weight.bits = 16;
  source->rotate_inputs(none);
  const auto original = open_hf_folder(kModels / "llama");
  for (const TensorInfo& info : original->weights().tensors())
    EXPECT_TRUE(source->weights().load(info.name).equal(original->weights().load(info.name))) << info.name;
}

// Several layers read the same input: it is turned once for all of them.
TEST(RotatedSource, TurnsASharedInputOnce) {
  class Inputs final : public sdk::PlainHook {
   public:
    at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
      pointers.insert(x.const_data_ptr());
      kept.push_back(x);
      return BlockHook::linear(layer, x);
    }
    std::set<const void*> pointers;
    std::vector<at::Tensor> kept;
  } inputs;
  (void)logits_of(*fully_rotated("llama", R"({"algorithm": "quarot", "r4": true})"), inputs);
  EXPECT_EQ(inputs.pointers.size(), 2u * 4u + 1u);  // a block: q/k/v, o, gate/up, down; and the head
}

TEST(RotatedSource, SaysWhatFormatsStore) {
  const auto random = fully_rotated("llama", "random_hadamard");
  const at::Tensor matrix = rotation_tensors(*random, "model.layers.0.mlp.up_proj").at("hadamard_matrix");
  EXPECT_EQ(matrix.sizes(), (std::vector<int64_t>{32, 32}));
  const at::Tensor x = at::randn({4, 64});
  EXPECT_TRUE(sdk::close(sdk::input_rotation(*random, "model.layers.0.mlp.up_proj")->apply(x),
                         at::matmul(x.reshape({-1, 32}), matrix.t()).reshape({4, 64}), 1e-5));
  const auto quarot = fully_rotated("llama", R"({"algorithm": "quarot", "r4": true, "random_r4": true})");
  const TensorMap r1 = rotation_tensors(*quarot, "model.layers.0.mlp.up_proj");
  EXPECT_EQ(r1.at("spinquant_r1_type").item<int>(), 0);
  EXPECT_EQ(r1.at("spinquant_r1_size").item<int>(), 64);
  EXPECT_EQ(r1.size(), 2u);
  const TensorMap r4 = rotation_tensors(*quarot, "model.layers.0.mlp.down_proj");
  EXPECT_EQ(r4.at("spinquant_r4_type").item<int>(), 1);
  EXPECT_EQ(r4.at("spinquant_r4_matrix").sizes(), (std::vector<int64_t>{96, 96}));
  EXPECT_TRUE(rotation_tensors(*quarot, "model.layers.0.self_attn.o_proj").empty());
}

// The order of the members is AutoRound's.
TEST(RotatedSource, IsRecordedInTheWordsOfTheFormat) {
  const auto written = [](const ModelSource& source) {
    json::Object config;
    auto_round::write_rotations(source, config);
    return json::dump(config);
  };
  EXPECT_EQ(written(*fully_rotated("llama", "random_hadamard")),
            R"({"rotation_config": {"algorithm": "hadamard", "backend": "transform", "block_size": 32, )"
            R"("hadamard_type": "random_hadamard", "layerwise": false, "fuse_online_to_weight": null, )"
            R"("allow_online_rotation": true, "not_rotated": ["lm_head"]}})");
  EXPECT_EQ(written(*fully_rotated("llama", R"({"algorithm": "quarot", "r4": true, "random_r4": true})")),
            R"({"spinquant_config": {"r1": true, "r2": true, "r3": false, "r4": true, "online_r1_rotation": true, )"
            R"("rotation_size": null, "random_r1": false, "random_r2": false, "random_r3": false, "random_r4": true, )"
            R"("trainable_rotation": false, "head_dim": 16, "hidden_size": 64, "intermediate_size": 96, )"
            R"("algorithm": "spinquant"}})");
  EXPECT_EQ(written(*fully_rotated("llama", "inplace_random")), "{}");
  EXPECT_EQ(written(*open_hf_folder(kModels / "llama")), "{}");
}

// What a format writes it reads back as the same record.
TEST(RotatedSource, ItsRecordComesBack) {
  const auto folder = open_hf_folder(kModels / "llama");
  for (const std::string& kind : all_kinds()) {
    const auto source = fully_rotated("llama", kind);
    json::Object config;
    auto_round::write_rotations(*source, config);
    const auto read = auto_round::read_rotations(config, *folder);
    ASSERT_EQ(read.has_value(), source->rotations() != nullptr) << kind;
    if (!read) continue;
    EXPECT_EQ(read->record, source->rotations()->record()) << kind;
  }
}

TEST(RotatedSource, RefusesBlocksThatDoNotDivide) {
  EXPECT_THROW((void)fully_rotated("llama", R"({"block_size": 64})"), Error);  // 96 inputs of down_proj
  EXPECT_THROW((void)rotated("llama", R"({"algorithm": "quarot", "rotation_size": 128})"), Error);
}

TEST(RotatedSource, NamesTheFamiliesItKnows) {
  class Other final : public sdk::ForwardingSource {
   public:
    Other() : ForwardingSource(open_hf_folder(kModels / "llama")) {}
    const json::Object& config() const override { return config_; }

   private:
    json::Object config_{{"model_type", "gemma3_text"}};
  };
  try {
    RotatedSource source(std::make_unique<Other>(), parse_rotation("quarot"), roles_of);
    FAIL() << "a family nobody knows was rotated";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("gemma3_text"), std::string::npos);
    EXPECT_NE(std::string(error.what()).find("qwen3"), std::string::npos);
  }
}

}  // namespace
}  // namespace arkit::rotation
