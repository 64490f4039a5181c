#pragma once
// What every ModelAdapter must do, run over checkpoints with expected results. A plugin's test instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Llama, ModelSuite, testing::ValuesIn(cases), arkit::conformance::model_case_name);
//
// A case's folder is a Hugging Face checkpoint plus expected.safetensors with a.input_ids, a.attention_mask, a.logits,
// a.block_in, a.block_out.i and, where the family can, b.* (left padding) and c.* (b with position_ids).

#include <filesystem>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/testing.h>

namespace arkit::conformance {

struct ModelCase {
  std::string name;
  std::filesystem::path folder;
  ModelAdapter& (*adapter)();
  at::ScalarType dtype = at::kFloat;
  double atol = 1e-4, rtol = 0.0;
};
inline std::ostream& operator<<(std::ostream& out, const ModelCase& c) {
  return out << c.name;
}
inline std::string model_case_name(const testing::TestParamInfo<ModelCase>& info) {
  return info.param.name;
}

// Records which linears were asked for, and computes them in full precision.
class RecordingHook final : public BlockHook {
 public:
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    names.push_back(layer.name);
    return BlockHook::linear(layer, x);
  }
  std::vector<std::string> names;
};

class ModelSuite : public testing::TestWithParam<ModelCase> {
 protected:
  void SetUp() override {
    source_ = open_hf_folder(GetParam().folder);
    expected_ = open_safetensors(GetParam().folder / "expected.safetensors");
    ASSERT_TRUE(GetParam().adapter().matches(source_->config()));
    model_ = GetParam().adapter().open(*source_, GetParam().dtype);
  }

  bool has(const std::string& name) const { return expected_->find(name) != nullptr; }
  at::Tensor expected(const std::string& name) const { return expected_->load(name); }
  void load_all() {
    model_->load_rest();
    for (int64_t i = 0; i < model_->num_blocks(); ++i) model_->load_block(i);
  }
  at::Tensor run_blocks(at::Tensor hidden, const ForwardContext& context, BlockHook& hook) const {
    for (int64_t i = 0; i < model_->num_blocks(); ++i) hidden = model_->run_block(i, hidden, context, hook);
    return hidden;
  }
  at::Tensor forward(const at::Tensor& ids, const at::Tensor& mask, const at::Tensor& positions, KvCache* cache) const {
    const c10::NoGradGuard no_grad;
    BlockHook hook;
    const ForwardContext context = model_->context(ids.size(0), ids.size(1), mask, positions, cache);
    return model_->logits(run_blocks(model_->embed(ids), context, hook), hook);
  }
  testing::AssertionResult agrees(const at::Tensor& actual, const at::Tensor& wanted) const {
    return sdk::close(actual, wanted, GetParam().atol, GetParam().rtol);
  }
  // Only rows of real tokens: the others are undefined.
  testing::AssertionResult logits_agree(const std::string& which, const at::Tensor& actual) const {
    const at::Tensor real = expected((which == "a" ? "a" : "b") + std::string(".attention_mask")).to(at::kBool);
    return agrees(actual.index({real}), expected(which + ".logits").index({real}));
  }

  std::unique_ptr<ModelSource> source_;
  std::unique_ptr<WeightSource> expected_;
  std::unique_ptr<Model> model_;
};

TEST_P(ModelSuite, EmbeddingsAndBlocksEqualTheReference) {
  load_all();
  const c10::NoGradGuard no_grad;
  BlockHook hook;
  const at::Tensor ids = expected("a.input_ids");
  at::Tensor hidden = model_->embed(ids);
  ASSERT_TRUE(agrees(hidden, expected("a.block_in")));
  const ForwardContext context = model_->context(ids.size(0), ids.size(1), {}, {}, nullptr);
  for (int64_t i = 0; i < model_->num_blocks(); ++i) {
    hidden = model_->run_block(i, hidden, context, hook);
    ASSERT_TRUE(agrees(hidden, expected("a.block_out." + std::to_string(i)))) << "block " << i;
  }
}

TEST_P(ModelSuite, LogitsEqualTheReference) {
  load_all();
  const at::Tensor ids = expected("a.input_ids");
  EXPECT_TRUE(logits_agree("a", forward(ids, {}, {}, nullptr)));
  EXPECT_TRUE(logits_agree("a", forward(ids, expected("a.attention_mask"), {}, nullptr))) << "with a mask of ones";
}

TEST_P(ModelSuite, LeftPaddedLogitsEqualTheReference) {
  if (!has("b.logits")) GTEST_SKIP() << "needs b.* in expected.safetensors";
  load_all();
  const at::Tensor ids = expected("b.input_ids"), mask = expected("b.attention_mask");
  EXPECT_TRUE(logits_agree("b", forward(ids, mask, {}, nullptr)));
  if (has("c.logits")) EXPECT_TRUE(logits_agree("c", forward(ids, mask, expected("c.position_ids"), nullptr)));
}

TEST_P(ModelSuite, CachedDecodingEqualsOnePass) {
  load_all();
  for (const std::string which : {"a", "c"}) {
    if (!has(which + ".logits")) continue;
    const std::string base = which == "a" ? "a" : "b";
    const at::Tensor ids = expected(base + ".input_ids"), mask = expected(base + ".attention_mask");
    const at::Tensor positions = which == "c" ? expected("c.position_ids") : at::Tensor();
    const int64_t n = ids.size(1), prompt = 10;
    KvCache cache = model_->make_cache(ids.size(0), n);
    std::vector<at::Tensor> parts;
    for (int64_t at = 0; at < n;) {
      const int64_t count = at == 0 ? prompt : 1;
      parts.push_back(forward(ids.narrow(1, at, count), mask.narrow(1, 0, at + count),
                              positions.defined() ? positions.narrow(1, at, count) : positions, &cache));
      at += count;
      cache.length = at;
    }
    EXPECT_TRUE(logits_agree(which, at::cat(parts, 1))) << "case " << which;
  }
}

// A chunk that continues a cache needs a mask of its own: causal, but not from the first key.
TEST_P(ModelSuite, CachedChunksEqualOnePass) {
  load_all();
  const at::Tensor ids = expected("a.input_ids");
  KvCache cache = model_->make_cache(ids.size(0), ids.size(1));
  std::vector<at::Tensor> parts;
  for (int64_t at = 0; at < ids.size(1); at += 4) {
    parts.push_back(forward(ids.narrow(1, at, 4), {}, {}, &cache));
    cache.length = at + 4;
  }
  EXPECT_TRUE(logits_agree("a", at::cat(parts, 1)));
}

TEST_P(ModelSuite, EveryLinearPassesTheHookOnceInOrder) {
  load_all();
  const c10::NoGradGuard no_grad;
  RecordingHook hook;
  const at::Tensor ids = expected("a.input_ids");
  const ForwardContext context = model_->context(ids.size(0), ids.size(1), {}, {}, nullptr);
  (void)model_->logits(run_blocks(model_->embed(ids), context, hook), hook);
  std::vector<std::string> planned;
  for (const LayerPlan& plan : model_->linears()) planned.push_back(plan.name);
  EXPECT_EQ(hook.names, planned);
}

TEST_P(ModelSuite, PlannedLinearsAreTheLoadedOnes) {
  load_all();
  std::vector<Linear*> loaded;
  for (int64_t i = 0; i < model_->num_blocks(); ++i)
    for (Linear* linear : model_->block_linears(i)) loaded.push_back(linear);
  loaded.push_back(&model_->head());
  const std::vector<LayerPlan> planned = model_->linears();
  ASSERT_EQ(loaded.size(), planned.size());
  for (size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(loaded[i]->name, planned[i].name);
    EXPECT_EQ(loaded[i]->fused_group, planned[i].fused_group);
    EXPECT_EQ(loaded[i]->weight.sizes(), (at::IntArrayRef{planned[i].out_features, planned[i].in_features}));
    EXPECT_EQ(loaded[i]->weight.scalar_type(), GetParam().dtype);
    EXPECT_EQ(loaded[i]->bias.defined(), planned[i].has_bias) << planned[i].name;
    EXPECT_EQ(planned[i].block < 0, i + 1 == planned.size());
  }
}

TEST_P(ModelSuite, NormNamesAreTensorsOfTheCheckpoint) {
  for (int64_t i = 0; i < model_->num_blocks(); ++i)
    for (const std::string& name : model_->norm_names(i)) EXPECT_NE(source_->weights().find(name), nullptr) << name;
}

TEST_P(ModelSuite, LoadingAndReleasingAreIdempotent) {
  load_all();
  const void* weight = model_->block_linears(0)[0]->weight.const_data_ptr();
  const at::Tensor ids = expected("a.input_ids");
  const at::Tensor before = forward(ids, {}, {}, nullptr);
  load_all();
  EXPECT_EQ(model_->block_linears(0)[0]->weight.const_data_ptr(), weight);
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < model_->num_blocks(); ++i) model_->release_block(i);
    model_->release_rest();
  }
  EXPECT_THROW((void)model_->block_linears(0), Error);
  load_all();
  EXPECT_TRUE(forward(ids, {}, {}, nullptr).equal(before));
}

// Uses clones of the weights that require gradients, as tuning does.
class GradientHook final : public BlockHook {
 public:
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    at::Tensor& leaf = leaves[layer.name];
    if (!leaf.defined()) leaf = layer.weight.detach().clone().requires_grad_(true);
    return at::linear(x, leaf, layer.bias);
  }
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override {
    at::Tensor& leaf = leaves[std::string(name)];
    if (!leaf.defined()) leaf = weight.detach().clone().requires_grad_(true);
    return leaf;
  }
  std::map<std::string, at::Tensor> leaves;
};

TEST_P(ModelSuite, GradientsReachEveryWeightAndTheInput) {
  model_->load_block(0);
  GradientHook hook;
  const at::Tensor hidden = expected("a.block_in").to(GetParam().dtype).detach().clone().requires_grad_(true);
  const ForwardContext context = model_->context(hidden.size(0), hidden.size(1), {}, {}, nullptr);
  model_->run_block(0, hidden, context, hook).to(at::kFloat).square().sum().backward();
  hook.leaves["input"] = hidden;
  EXPECT_EQ(hook.leaves.size(), 1 + model_->block_linears(0).size() + model_->norm_names(0).size());
  for (const auto& [name, leaf] : hook.leaves) {
    ASSERT_TRUE(leaf.grad().defined()) << name;
    EXPECT_TRUE(leaf.grad().isfinite().all().item<bool>()) << name;
    EXPECT_GT(leaf.grad().abs().max().item<double>(), 0.0) << name;
  }
}

}  // namespace arkit::conformance
