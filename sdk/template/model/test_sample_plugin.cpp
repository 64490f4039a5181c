#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>
#include <arkit/sdk/block_hooks.h>

namespace {

// Random weights in memory.
class TinyWeights final : public arkit::WeightSource {
 public:
  explicit TinyWeights(const std::vector<std::pair<std::string, std::vector<int64_t>>>& shapes) {
    std::vector<arkit::TensorInfo> infos;
    for (const auto& [name, shape] : shapes) {
      const at::Tensor tensor = at::randn(shape) * 0.1;
      infos.push_back({name, at::kFloat, "F32", shape, static_cast<int64_t>(tensor.nbytes()), "memory"});
      tensors_[name] = tensor;
    }
    set_tensors(std::move(infos));
  }
  at::Tensor load(std::string_view name) const override { return tensors_.at(std::string(name)); }

 private:
  std::map<std::string, at::Tensor> tensors_;
};

// One block, hidden size 8.
class TinySource final : public arkit::ModelSource {
 public:
  std::string kind() const override { return "memory"; }
  const std::filesystem::path& path() const override { return path_; }
  const arkit::json::Object& config() const override { return config_; }
  const arkit::WeightSource& weights() const override { return weights_; }
  std::vector<arkit::CompanionFile> companions() const override { return {}; }

 private:
  std::filesystem::path path_ = "tiny";
  arkit::json::Object config_{{"model_type", "sample_plugin"},
                              {"vocab_size", 11},
                              {"hidden_size", 8},
                              {"intermediate_size", 16},
                              {"num_hidden_layers", 1},
                              {"num_attention_heads", 2},
                              {"num_key_value_heads", 1},
                              {"max_position_embeddings", 32},
                              {"tie_word_embeddings", false}};
  TinyWeights weights_{{{"model.embed_tokens.weight", {11, 8}},
                        {"model.norm.weight", {8}},
                        {"lm_head.weight", {11, 8}},
                        {"model.layers.0.input_layernorm.weight", {8}},
                        {"model.layers.0.post_attention_layernorm.weight", {8}},
                        {"model.layers.0.self_attn.q_proj.weight", {8, 8}},
                        {"model.layers.0.self_attn.q_proj.bias", {8}},
                        {"model.layers.0.self_attn.k_proj.weight", {4, 8}},
                        {"model.layers.0.self_attn.k_proj.bias", {4}},
                        {"model.layers.0.self_attn.v_proj.weight", {4, 8}},
                        {"model.layers.0.self_attn.v_proj.bias", {4}},
                        {"model.layers.0.self_attn.o_proj.weight", {8, 8}},
                        {"model.layers.0.mlp.gate_proj.weight", {16, 8}},
                        {"model.layers.0.mlp.up_proj.weight", {16, 8}},
                        {"model.layers.0.mlp.down_proj.weight", {8, 16}}}};
};

}  // namespace

TEST(SamplePlugin, MatchesItsModelTypeOnly) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  const arkit::ModelAdapter& adapter = registry.model("sample_plugin");
  EXPECT_TRUE(adapter.matches({{"model_type", "sample_plugin"}}));
  EXPECT_FALSE(adapter.matches({{"model_type", "another"}}));
}

TEST(SamplePlugin, RunsATinyModelAndDependsOnItsInput) {
  const arkit::Registry registry({{PLUGIN_FILE}, {}});
  const TinySource source;
  const auto model = registry.model("sample_plugin").open(source, at::kFloat);
  ASSERT_EQ(model->num_blocks(), 1);
  EXPECT_EQ(model->linears().size(), 8U);  // 7 in the block, and the head
  model->load_block(0);
  model->load_rest();
  arkit::sdk::PlainHook hook;
  const auto context = model->context(1, 3, {}, {}, {});
  const auto logits_of = [&](const at::Tensor& ids) {
    return model->logits(model->run_block(0, model->embed(ids), context, hook), hook);
  };
  const at::Tensor first = logits_of(at::tensor({1, 2, 3}, at::kLong).reshape({1, 3}));
  const at::Tensor second = logits_of(at::tensor({4, 2, 3}, at::kLong).reshape({1, 3}));
  EXPECT_EQ(first.sizes(), at::IntArrayRef({1, 3, 11}));
  EXPECT_TRUE(at::isfinite(first).all().item<bool>());
  EXPECT_GT((first - second).abs().max().item<float>(), 0.0F);
}
