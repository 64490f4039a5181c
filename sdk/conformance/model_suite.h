#pragma once
// What every ModelAdapter must do, run over checkpoints with expected results. A plugin's test instantiates it:
//
//   INSTANTIATE_TEST_SUITE_P(Llama, ModelSuite, testing::ValuesIn(cases), arkit::conformance::model_case_name);
//
// A case's folder is a Hugging Face checkpoint plus expected.safetensors with a.input_ids, a.attention_mask, a.logits,
// a.block_in, a.block_out.i and, where the family can, b.* (left padding) and c.* (b with position_ids).

#include <algorithm>
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
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/layout.h>
#include <arkit/sdk/paged_hook.h>
#include <arkit/sdk/sequence_cache.h>
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
class RecordingHook final : public sdk::PlainHook {
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
  at::Tensor forward(const at::Tensor& ids, const at::Tensor& mask, const at::Tensor& positions) const {
    const c10::NoGradGuard no_grad;
    sdk::PlainHook hook;
    const ForwardContext context = model_->context(ids.size(0), ids.size(1), mask, positions, {});
    return model_->logits(run_blocks(model_->embed(ids), context, hook), hook);
  }
  // Logits of the real tokens of every row, one behind the other: rows as sequences of a cache, fed `first` tokens and
  // then `chunk` at a time.
  at::Tensor cached_forward(const at::Tensor& ids, const at::Tensor& mask, int64_t page_size, int64_t first,
                            int64_t chunk) const {
    const c10::NoGradGuard no_grad;
    const int64_t rows = ids.size(0), pages = rows * ((ids.size(1) + page_size - 1) / page_size);
    sdk::PlainHook plain;
    sdk::SequenceCache cache(page_size, pages);
    sdk::PagedHook hook(plain, cache);
    std::vector<at::Tensor> texts, logits(static_cast<size_t>(rows));
    std::vector<int64_t> sequences;
    for (int64_t row = 0; row < rows; ++row) {
      texts.push_back(ids[row].index({mask[row].to(at::kBool)}).contiguous());
      sequences.push_back(cache.add());
      EXPECT_TRUE(cache.reserve(sequences.back(), texts.back().numel()));
    }
    for (int64_t count = first;; count = chunk) {
      std::vector<sdk::NewTokens> fed;
      std::vector<size_t> which;
      for (size_t row = 0; row < texts.size(); ++row) {
        const int64_t done = cache.length(sequences[row]), left = texts[row].numel() - done;
        if (left == 0) continue;
        const int64_t* next = texts[row].const_data_ptr<int64_t>() + done;
        fed.push_back({sequences[row], {next, static_cast<size_t>(std::min(count, left))}});
        which.push_back(row);
      }
      if (fed.empty()) return at::cat(logits);
      const at::Tensor got = model_->logits(sdk::feed(*model_, hook, cache, fed, false), hook)[0];
      int64_t at = 0;
      for (size_t i = 0; i < fed.size(); ++i) {
        const auto taken = static_cast<int64_t>(fed[i].ids.size());
        at::Tensor& whole = logits[which[i]];
        whole = whole.defined() ? at::cat({whole, got.narrow(0, at, taken)}) : got.narrow(0, at, taken);
        at += taken;
      }
    }
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
  sdk::PlainHook hook;
  const at::Tensor ids = expected("a.input_ids");
  at::Tensor hidden = model_->embed(ids);
  ASSERT_TRUE(agrees(hidden, expected("a.block_in")));
  const ForwardContext context = model_->context(ids.size(0), ids.size(1), {}, {}, {});
  for (int64_t i = 0; i < model_->num_blocks(); ++i) {
    hidden = model_->run_block(i, hidden, context, hook);
    ASSERT_TRUE(agrees(hidden, expected("a.block_out." + std::to_string(i)))) << "block " << i;
  }
}

TEST_P(ModelSuite, LogitsEqualTheReference) {
  load_all();
  const at::Tensor ids = expected("a.input_ids");
  EXPECT_TRUE(logits_agree("a", forward(ids, {}, {})));
  EXPECT_TRUE(logits_agree("a", forward(ids, expected("a.attention_mask"), {}))) << "with a mask of ones";
}

TEST_P(ModelSuite, LeftPaddedLogitsEqualTheReference) {
  if (!has("b.logits")) GTEST_SKIP() << "needs b.* in expected.safetensors";
  load_all();
  const at::Tensor ids = expected("b.input_ids"), mask = expected("b.attention_mask");
  EXPECT_TRUE(logits_agree("b", forward(ids, mask, {})));
  if (has("c.logits")) EXPECT_TRUE(logits_agree("c", forward(ids, mask, expected("c.position_ids"))));
}

// Case b has rows of different lengths, and c says what positions they have: those of sequences of their own. Pages as
// long as the rows, and such that a row needs several.
TEST_P(ModelSuite, CachedDecodingEqualsOnePass) {
  load_all();
  for (const std::string which : {"a", "c"}) {
    if (!has(which + ".logits")) continue;
    const std::string base = which == "a" ? "a" : "b";
    const at::Tensor ids = expected(base + ".input_ids"), mask = expected(base + ".attention_mask");
    const at::Tensor wanted = expected(which + ".logits").index({mask.to(at::kBool)});
    for (const int64_t page_size : {ids.size(1), int64_t{3}})
      EXPECT_TRUE(agrees(cached_forward(ids, mask, page_size, 10, 1), wanted)) << "case " << which << ", " << page_size;
  }
}

// A chunk that continues a cache needs a mask of its own: causal, but not from the first key.
TEST_P(ModelSuite, CachedChunksEqualOnePass) {
  load_all();
  const at::Tensor ids = expected("a.input_ids"), mask = expected("a.attention_mask");
  const at::Tensor wanted = expected("a.logits").index({mask.to(at::kBool)});
  for (const int64_t page_size : {ids.size(1), int64_t{3}})
    EXPECT_TRUE(agrees(cached_forward(ids, mask, page_size, 4, 4), wanted)) << page_size;
}

// One row holds several sequences, which do not see each other.
TEST_P(ModelSuite, SequencesInOneRowEqualRows) {
  load_all();
  const c10::NoGradGuard no_grad;
  const at::Tensor ids = expected("a.input_ids").narrow(0, 0, 1), tail = ids.narrow(1, 0, 5);
  sdk::PlainHook hook;
  const std::vector<SequenceSpan> both = {{.id = 7, .count = 5}, {.id = 3, .count = ids.size(1)}};
  const ForwardContext context = model_->context(1, 5 + ids.size(1), {}, {}, both);
  const at::Tensor got = model_->logits(run_blocks(model_->embed(at::cat({tail, ids}, 1)), context, hook), hook);
  EXPECT_TRUE(agrees(got.narrow(1, 0, 5), forward(tail, {}, {})));
  EXPECT_TRUE(agrees(got.narrow(1, 5, ids.size(1)), forward(ids, {}, {})));
}

// What a model keeps: nothing. What is given to the hook: the modules and shapes that are announced.
TEST_P(ModelSuite, EveryAttentionPassesTheHookAsPlanned) {
  load_all();
  const c10::NoGradGuard no_grad;
  class Calls final : public sdk::PlainHook {
   public:
    at::Tensor attention(AttentionCall call) override {
      seen.push_back({.name = std::string(call.module),
                      .block = call.block,
                      .heads = call.query.size(1),
                      .kv_heads = call.key.size(1),
                      .key_dim = call.key.size(3),
                      .value_dim = call.value.size(3)});
      EXPECT_EQ(call.query.size(3), call.key.size(3));
      return PlainHook::attention(std::move(call));
    }
    std::vector<AttentionPlan> seen;
  } hook;
  const at::Tensor ids = expected("a.input_ids");
  (void)run_blocks(model_->embed(ids), model_->context(ids.size(0), ids.size(1), {}, {}, {}), hook);
  const std::vector<AttentionPlan> planned = model_->attentions();
  ASSERT_EQ(hook.seen.size(), planned.size());
  for (size_t i = 0; i < planned.size(); ++i) {
    EXPECT_EQ(hook.seen[i].name, planned[i].name);
    EXPECT_EQ(hook.seen[i].block, planned[i].block);
    EXPECT_EQ(hook.seen[i].heads, planned[i].heads);
    EXPECT_EQ(hook.seen[i].kv_heads, planned[i].kv_heads);
    EXPECT_EQ(hook.seen[i].key_dim, planned[i].key_dim);
    EXPECT_EQ(hook.seen[i].value_dim, planned[i].value_dim);
  }
}

// A backend may have made them ready as one.
TEST_P(ModelSuite, LayersOfAFusedGroupPassTheHookTogether) {
  load_all();
  const c10::NoGradGuard no_grad;
  class Groups final : public sdk::PlainHook {
   public:
    std::vector<at::Tensor> linears(std::span<const Linear* const> layers, const at::Tensor& x) override {
      std::vector<std::string>& names = seen.emplace_back();
      for (const Linear* layer : layers) names.push_back(layer->name);
      return PlainHook::linears(layers, x);
    }
    std::vector<std::vector<std::string>> seen;
  } hook;
  const at::Tensor ids = expected("a.input_ids");
  (void)run_blocks(model_->embed(ids), model_->context(ids.size(0), ids.size(1), {}, {}, {}), hook);
  std::vector<std::vector<std::string>> planned;
  std::string last;
  for (const LayerPlan& plan : model_->linears()) {
    if (!plan.fused_group.empty() && plan.fused_group == last)
      planned.back().push_back(plan.name);
    else if (!plan.fused_group.empty())
      planned.push_back({plan.name});
    last = plan.fused_group;
  }
  EXPECT_EQ(hook.seen, planned);
}

TEST_P(ModelSuite, EveryLinearPassesTheHookOnceInOrder) {
  load_all();
  const c10::NoGradGuard no_grad;
  RecordingHook hook;
  const at::Tensor ids = expected("a.input_ids");
  const ForwardContext context = model_->context(ids.size(0), ids.size(1), {}, {}, {});
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

// Plans are made from the layout, work is done by the model.
TEST_P(ModelSuite, TheLayoutSaysWhatTheModelIs) {
  const ModelLayout layout = GetParam().adapter().layout(*source_);
  sdk::check_tensors(layout, *source_);
  EXPECT_EQ(static_cast<int64_t>(layout.blocks.size()), model_->num_blocks());
  EXPECT_EQ(layout.tokens.tied, model_->tied_embeddings());
  EXPECT_EQ(layout.tokens.vocab_size, model_->vocab_size());
  EXPECT_EQ(layout.tokens.max_positions, model_->max_positions());
  EXPECT_EQ(sdk::block_list_names(layout), model_->block_lists());
  const std::vector<LayerPlan> stated = layout.linears(), opened = model_->linears();
  ASSERT_EQ(stated.size(), opened.size());
  for (size_t i = 0; i < stated.size(); ++i) {
    EXPECT_EQ(stated[i].name, opened[i].name);
    EXPECT_EQ(stated[i].role, opened[i].role) << stated[i].name;
    EXPECT_EQ(stated[i].block, opened[i].block) << stated[i].name;
  }
  const std::vector<AttentionPlan> modules = sdk::attention_plans(layout), passed = model_->attentions();
  ASSERT_EQ(modules.size(), passed.size());
  for (size_t i = 0; i < modules.size(); ++i) EXPECT_EQ(modules[i].name, passed[i].name);
}

TEST_P(ModelSuite, NormNamesAreTensorsOfTheCheckpoint) {
  for (int64_t i = 0; i < model_->num_blocks(); ++i)
    for (const std::string& name : model_->norm_names(i)) EXPECT_NE(source_->weights().find(name), nullptr) << name;
}

TEST_P(ModelSuite, LoadingAndReleasingAreIdempotent) {
  load_all();
  const void* weight = model_->block_linears(0)[0]->weight.const_data_ptr();
  const at::Tensor ids = expected("a.input_ids");
  const at::Tensor before = forward(ids, {}, {});
  load_all();
  EXPECT_EQ(model_->block_linears(0)[0]->weight.const_data_ptr(), weight);
  for (int round = 0; round < 2; ++round) {
    for (int64_t i = 0; i < model_->num_blocks(); ++i) model_->release_block(i);
    model_->release_rest();
  }
  EXPECT_THROW((void)model_->block_linears(0), Error);
  load_all();
  EXPECT_TRUE(forward(ids, {}, {}).equal(before));
}

// Uses clones of the weights that require gradients, as tuning does.
class GradientHook final : public sdk::PlainHook {
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
  const ForwardContext context = model_->context(hidden.size(0), hidden.size(1), {}, {}, {});
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
