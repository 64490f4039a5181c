#pragma once
// A model without attention: each block is a leaky sum over positions, s_t = decay s_(t-1) + in(x_t), y_t = out(s_t) and
// how far the position is from the beginning, which a state of another shape counts.

#include <deque>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/model_adapter.h>
#include <arkit/sdk/forward_context.h>

namespace arkit::test {

class RecurrentModel final : public Model {
 public:
  static constexpr int64_t kVocab = 19, kHidden = 8, kState = 6;

  explicit RecurrentModel(int64_t blocks) : table_(at::randn({kVocab, kHidden})) {
    for (int64_t b = 0; b < blocks; ++b) {
      Block& block = blocks_.emplace_back();
      block.in = layer(block_name(b) + ".in", kState, kHidden);
      block.out = layer(block_name(b) + ".out", kHidden, kState);
      block.decay = at::rand({kState}) * 0.5 + 0.45;
      block.fresh = {at::randn({1, kState}), at::zeros({1})};
    }
    head_ = layer("lm_head", kVocab, kHidden);
  }

  int64_t num_blocks() const override { return static_cast<int64_t>(blocks_.size()); }
  int64_t hidden_size() const override { return kHidden; }
  int64_t vocab_size() const override { return kVocab; }
  int64_t max_positions() const override { return 64; }
  bool tied_embeddings() const override { return false; }
  std::string block_name(int64_t block) const override { return "blocks." + std::to_string(block); }
  std::vector<std::string> block_lists() const override { return {"blocks"}; }
  std::vector<LayerPlan> linears() const override { return {}; }
  std::vector<std::string> norm_names(int64_t) const override { return {}; }
  void load_block(int64_t) override {}
  void release_block(int64_t) noexcept override {}
  std::vector<Linear*> block_linears(int64_t block) override {
    Block& b = blocks_[static_cast<size_t>(block)];
    return {&b.in, &b.out};
  }
  void load_rest() override {}
  void release_rest() noexcept override {}
  at::Tensor embed(const at::Tensor& ids) const override { return at::embedding(table_, ids); }
  ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& mask, const at::Tensor& positions,
                         std::span<const SequenceSpan> sequences) const override {
    return sdk::forward_context(batch, seqlen, mask, positions, sequences);
  }

  at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context,
                       BlockHook& hook) const override {
    const Block& b = blocks_[static_cast<size_t>(block)];
    const auto advance = [&](const at::Tensor& x, std::vector<at::Tensor>& states) {
      std::vector<at::Tensor> sums;
      for (int64_t t = 0; t < x.size(1); ++t) {
        states[0] = states[0] * b.decay + x.select(1, t);
        states[1] = states[1] + 1;
        sums.push_back(states[0] * (1.0 / states[1]).unsqueeze(1));
      }
      return at::stack(sums, 1);
    };
    const at::Tensor mixed = hook.mix_state({.module = b.in.name,
                                             .block = block,
                                             .forward = context,
                                             .x = hook.linear(b.in, hidden),
                                             .fresh = b.fresh,
                                             .advance = advance});
    return hidden + hook.linear(b.out, mixed).tanh();
  }
  at::Tensor logits(const at::Tensor& hidden, BlockHook& hook) const override { return hook.linear(head_, hidden); }
  Linear& head() override { return head_; }

 private:
  struct Block {
    Linear in, out;
    at::Tensor decay;
    std::vector<at::Tensor> fresh;
  };
  static Linear layer(const std::string& name, int64_t out, int64_t in) {
    Linear linear;
    linear.name = name;
    linear.out_features = out;
    linear.in_features = in;
    linear.weight = at::randn({out, in}) * 0.4;
    return linear;
  }

  std::deque<Block> blocks_;
  at::Tensor table_;
  Linear head_;
};

}  // namespace arkit::test
