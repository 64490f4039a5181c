// What layouts may ask of the decoder and no golden model does.
#include <map>
#include <string>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/llama_like.h>

#include "models/plugins.h"

namespace arkit::sdk {
namespace {

class RememberingHook final : public PlainHook {
 public:
  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    inputs[layer.name] = x;
    return outputs[layer.name] = BlockHook::linear(layer, x);
  }
  std::map<std::string, at::Tensor> inputs, outputs;
};

class Decoder : public testing::Test {
 protected:
  const c10::NoGradGuard no_grad_;
  const std::unique_ptr<ModelSource> source_ = open_hf_folder(ARKIT_TEST_DATA "/models/llama");
  ModelLayout layout_ = tests::llama().layout(*source_);
  const at::Tensor ids_ = at::arange(3, 15, at::kLong).view({1, 12});
};

TEST_F(Decoder, ScalesEmbeddingsAndLogitsAndCapsThem) {
  LlamaLikeModel plain(layout_, *source_, at::kFloat);
  layout_.tokens.embedding_scale = 8.0;
  layout_.tokens.logit_divisor = 2.0;
  layout_.tokens.logit_softcap = 3.0;
  LlamaLikeModel scaled(layout_, *source_, at::kFloat);
  plain.load_rest();
  scaled.load_rest();
  const at::Tensor hidden = plain.embed(ids_);
  EXPECT_TRUE(scaled.embed(ids_).equal(hidden * 8.0));
  RememberingHook hook;
  const at::Tensor wanted = at::tanh(plain.logits(hidden, hook) / 6.0) * 3.0;
  EXPECT_TRUE(scaled.logits(hidden, hook).allclose(wanted, 1e-5, 1e-6));
  const Linear strip = scaled.head_strip(5, 7);
  EXPECT_TRUE(scaled.strip_logits(hidden, strip, hook).allclose(wanted.narrow(-1, 5, 7), 1e-4, 1e-5));
}

TEST_F(Decoder, RunsANetworkWithoutAGate) {
  layout_.whole = false;  // the gates are stored, and read by nobody
  for (BlockLayout& block : layout_.blocks) {
    std::get<Dense>(block.feed_forward).gated = false;
    std::erase_if(block.layers, [](const LayerPlan& layer) { return layer.role == LayerRole::gate; });
  }
  LlamaLikeModel model(layout_, *source_, at::kFloat);
  model.load_rest();
  model.load_block(0);
  RememberingHook hook;
  (void)model.run_block(0, model.embed(ids_), model.context(1, 12, {}, {}, {}), hook);
  EXPECT_FALSE(hook.inputs.contains("model.layers.0.mlp.gate_proj"));
  EXPECT_TRUE(hook.inputs.at("model.layers.0.mlp.down_proj")
                  .allclose(at::silu(hook.outputs.at("model.layers.0.mlp.up_proj")), 1e-5, 1e-6));
}

TEST_F(Decoder, HasNoNormWhereTheLayoutPlacesNone) {
  layout_.whole = false;
  layout_.tokens.final_norm.clear();
  for (BlockLayout& block : layout_.blocks) block.norms.mixer_in.clear();
  LlamaLikeModel model(layout_, *source_, at::kFloat);
  model.load_rest();
  model.load_block(0);
  RememberingHook hook;
  const at::Tensor hidden = model.embed(ids_);
  (void)model.run_block(0, hidden, model.context(1, 12, {}, {}, {}), hook);
  EXPECT_TRUE(hook.inputs.at("model.layers.0.self_attn.q_proj").equal(hidden));
  EXPECT_EQ(model.norm_names(0).size(), 1U);
  (void)model.logits(hidden, hook);
  EXPECT_TRUE(hook.inputs.at("lm_head").equal(hidden));
}

TEST_F(Decoder, RefusesPartsThatItDoesNotHave) {
  const auto refused = [&](const auto& change) {
    ModelLayout layout = layout_;
    change(layout.blocks.back());
    try {
      const LlamaLikeModel model(layout, *source_, at::kFloat);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return std::string(error.what());
    }
    return std::string();
  };
  const auto has = [](const std::string& text, const char* part) { return text.find(part) != std::string::npos; };
  EXPECT_EQ(refused([](BlockLayout&) {}), "");
  EXPECT_TRUE(has(refused([](BlockLayout& b) { b.mixer = StateSpace(); }), "'model.layers.1' has no plain attention"));
  EXPECT_TRUE(has(refused([](BlockLayout& b) { b.feed_forward = Experts(); }), "no plain feed-forward network"));
  EXPECT_TRUE(has(refused([](BlockLayout& b) { b.norms.kind = "group"; }), "norms of kind 'group'"));
  EXPECT_TRUE(has(refused([](BlockLayout& b) { std::get<Attention>(b.mixer).value_dim = 3; }), "different widths"));
}

}  // namespace
}  // namespace arkit::sdk
