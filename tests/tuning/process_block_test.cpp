// The order of work on one block, on a small model made here: residual MLP blocks with a norm, and a head.
#include "tuning/process_block.h"

#include <algorithm>
#include <map>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/layer_rules.h>

#include "rounding/rtn_mode.h"
#include "tuning/aten_int_scheme.h"
#include "tuning/recording_scheme.h"
#include "tuning/sample_needs.h"
#include "tuning/vectors.h"

namespace arkit::test {
namespace {

constexpr int64_t kHidden = 16, kInner = 32, kVocab = 24, kSamples = 6, kSeqlen = 5;

class TinyModel final : public Model {
 public:
  explicit TinyModel(int64_t blocks) {
    for (int64_t b = 0; b < blocks; ++b) {
      const std::string name = "layers." + std::to_string(b);
      Block& block = blocks_.emplace_back();
      block.up = {.name = name + ".up", .out_features = kInner, .in_features = kHidden};
      block.down = {.name = name + ".down", .out_features = kHidden, .in_features = kInner};
      block.up.weight = at::randn({kInner, kHidden}) * 0.3;
      block.up.bias = at::randn({kInner}) * 0.1;
      block.down.weight = at::randn({kHidden, kInner}) * 0.3;
      block.norm = at::linspace(0.5, 1.5, kHidden);
    }
    head_ = {.name = "lm_head", .out_features = kVocab, .in_features = kHidden};
    head_.weight = at::randn({kVocab, kHidden});
  }

  int64_t num_blocks() const override { return static_cast<int64_t>(blocks_.size()); }
  int64_t hidden_size() const override { return kHidden; }
  int64_t vocab_size() const override { return kVocab; }
  int64_t max_positions() const override { return kSeqlen; }
  bool tied_embeddings() const override { return false; }
  std::string block_name(int64_t block) const override { return "layers." + std::to_string(block); }
  std::vector<std::string> block_lists() const override { return {"layers"}; }
  std::vector<LayerPlan> linears() const override { return {}; }
  std::vector<std::string> norm_names(int64_t block) const override { return {block_name(block) + ".norm"}; }
  void load_block(int64_t) override { ++loads; }
  void release_block(int64_t) noexcept override {}
  std::vector<Linear*> block_linears(int64_t block) override {
    Block& b = blocks_[static_cast<size_t>(block)];
    return {&b.up, &b.down};
  }
  void load_rest() override {}
  void release_rest() noexcept override {}
  at::Tensor embed(const at::Tensor& ids) const override { return ids; }
  ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor& mask, const at::Tensor&,
                         std::span<const SequenceSpan>) const override {
    ForwardContext context;
    context.batch = batch;
    context.seqlen = seqlen;
    context.key_mask = mask;
    return context;
  }
  at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context,
                       BlockHook& hook) const override {
    const Block& b = blocks_[static_cast<size_t>(block)];
    EXPECT_EQ(context.batch, hidden.size(0));
    at::Tensor x = hidden * hook.norm_weight(block_name(block) + ".norm", b.norm);
    if (context.key_mask.defined()) x = x * context.key_mask.unsqueeze(-1);
    const at::Tensor inner = at::silu(hook.linear(b.up, x));
    return skip_down ? hidden + inner.narrow(-1, 0, kHidden) : hidden + hook.linear(b.down, inner);
  }
  at::Tensor logits(const at::Tensor& hidden, BlockHook& hook) const override { return hook.linear(head_, hidden * 2); }
  Linear& head() override { return head_; }

  int loads = 0;
  bool skip_down = false;  // like an expert that no token reaches

 private:
  struct Block {
    Linear up, down;
    at::Tensor norm;
  };
  std::vector<Block> blocks_;
  Linear head_;
};

class ProcessBlock : public ::testing::Test {
 protected:
  ProcessBlock() {
    at::manual_seed(3);
    model = std::make_unique<TinyModel>(2);
    plan.global.weight = {.data_type = "int", .bits = 2, .group_size = 16, .sym = true};
    for (int64_t b = 0; b < 2; ++b)
      for (Linear* linear : model->block_linears(b)) add(*linear, b);
    io.full = at::randn({kSamples, kSeqlen, kHidden});
    options.tune = {.iters = 20, .batch_size = 4};
  }

  void add(const Linear& linear, int64_t block) {
    plan.layers.push_back({.name = linear.name,
                           .out_features = linear.out_features,
                           .in_features = linear.in_features,
                           .block = block,
                           .quant = plan.global});
  }

  BlockProcessor processor() {
    return {*model, plan, [this](std::string_view) -> const Scheme& { return scheme; }, options, reporter, random};
  }

  at::Tensor reference(int64_t block, const at::Tensor& hidden, BlockHook& hook) {
    return model->run_block(block, hidden, model->context(hidden.size(0), kSeqlen, {}, {}, {}), hook);
  }
  at::Tensor reference(int64_t block, const at::Tensor& hidden) {
    sdk::PlainHook hook;
    return reference(block, hidden, hook);
  }
  at::Tensor quantized(int64_t block, const at::Tensor& hidden, const BlockResult& result) {
    QuantizedHook hook;
    for (size_t i = 0; i < 2; ++i)
      hook.replace(model->block_linears(block)[i],
                   {.weight = scheme.dequantize(result.layers[i].quantized, plan.global.weight, at::kFloat)});
    return reference(block, hidden, hook);
  }

  // The block's layers by plain rounding.
  BlockResult rounded(int64_t block) {
    BlockResult result;
    for (const Linear* linear : model->block_linears(block))
      result.layers.emplace_back().quantized =
          scheme.quantize_rtn(linear->weight, plan.global.weight, RtnMode::plain, {}, 0, {});
    return result;
  }

  std::unique_ptr<TinyModel> model;
  AtenIntScheme scheme;
  QuantPlan plan;
  BlockIo io;
  ProcessOptions options;
  Reporter reporter;
  PythonRandom random{42};
};

TEST_F(ProcessBlock, TuningFollowsBothChains) {
  BlockProcessor work = processor();
  const at::Tensor first = io.full.clone(), full1 = reference(0, first), full2 = reference(1, full1);
  const BlockResult one = work.process(0, 1, io);
  ASSERT_EQ(one.layers.size(), 2U);
  EXPECT_EQ(one.losses.size(), 20U);
  EXPECT_GT(one.tokens_per_second, 0);
  EXPECT_TRUE(all_close(io.full, full1, 1e-5));
  const at::Tensor chain1 = quantized(0, first, one);
  EXPECT_TRUE(all_close(io.quantized, chain1, 1e-5));

  const BlockResult two = work.process(1, 1, io);
  EXPECT_TRUE(all_close(io.full, full2, 1e-5));
  EXPECT_TRUE(all_close(io.quantized, quantized(1, chain1, two), 1e-5));
  // The second block sees the error of the first: its output follows the full-precision chain better than rounding
  // does.
  const auto error = [&](const BlockResult& result) {
    return (quantized(1, chain1, result) - full2).square().mean().item<double>();
  };
  EXPECT_LT(error(two), 0.8 * error(rounded(1)));
}

TEST_F(ProcessBlock, WritesTheParametersThatWereBest) {
  const RecordingScheme recording;
  BlockProcessor work(
      *model, plan, [&](std::string_view) -> const Scheme& { return recording; }, options, reporter, random);
  const at::Tensor first = io.full.clone(), full1 = reference(0, first);
  const BlockResult one = work.process(0, 1, io);
  const auto best = std::min_element(one.losses.begin(), one.losses.end());
  EXPECT_EQ(one.best_iter, best - one.losses.begin());
  EXPECT_EQ(one.best_loss, *best);
  ASSERT_GT(one.best_iter, 0);
  ASSERT_LT(one.best_iter, 19) << "the last parameters are the best ones: the test sees no difference";
  const BlockResult plain = rounded(0);
  for (size_t i = 0; i < 2; ++i) {
    const at::Tensor& weight = model->block_linears(0)[i]->weight;
    const auto& kept = recording.written.at(weight.const_data_ptr());
    const auto& iterations = recording.iterations.at(weight.const_data_ptr());
    ASSERT_EQ(iterations.size(), 20U);
    const auto& expected = iterations[static_cast<size_t>(one.best_iter)];
    EXPECT_TRUE(at::equal(kept.v, expected.v));
    EXPECT_TRUE(at::equal(kept.min_scale, expected.min_scale));
    EXPECT_TRUE(at::equal(kept.max_scale, expected.max_scale));
    EXPECT_FALSE(at::equal(kept.v, iterations.back().v));

    WeightTuning tuning = scheme.begin_tuning(weight, plan.global.weight, {});
    tuning.v.copy_(expected.v);
    tuning.min_scale.copy_(expected.min_scale);
    tuning.max_scale.copy_(expected.max_scale);
    const QuantizedWeight codes = scheme.quantize_tuned(weight, tuning, plan.global.weight);
    EXPECT_TRUE(at::equal(one.layers[i].quantized.codes, codes.codes));
    EXPECT_TRUE(at::equal(one.layers[i].quantized.scale, codes.scale));
    EXPECT_FALSE(at::equal(plain.layers[i].quantized.codes, codes.codes));
  }
  const auto error = [&](const BlockResult& result) {
    return (quantized(0, first, result) - full1).square().mean().item<double>();
  };
  EXPECT_LT(error(one), 0.7 * error(plain));
}

// With quantized inputs the second block's layers see another chain than the full-precision one, and their ranges are
// taken there; with full-precision inputs, here.
TEST_F(ProcessBlock, StaticRangesComeFromTheChainThatIsTunedOn) {
  for (size_t i = 2; i < 4; ++i)
    plan.layers[i].quant.act = {.data_type = "int", .bits = 8, .group_size = 0, .dynamic = false};
  options.tune.enable_minmax_tuning = false;  // which tunes a factor of the range
  const at::Tensor start = io.full.clone(), norm = at::linspace(0.5, 1.5, kHidden);
  const auto range = [&](const at::Tensor& hidden) { return (hidden * norm).abs().max().item<float>(); };
  for (const bool quanted_input : {true, false}) {
    options.enable_quanted_input = quanted_input;
    io = {.full = start.clone()};
    BlockProcessor work = processor();
    (void)work.process(0, 1, io);
    const float full = range(io.full), tuned_on = quanted_input ? range(io.quantized) : full;
    if (quanted_input) ASSERT_GT(std::abs(full - tuned_on), 1e-3F) << "both chains have one range";
    const BlockResult two = work.process(1, 1, io);
    EXPECT_FLOAT_EQ(two.layers[0].act_max.item<float>(), tuned_on) << quanted_input;
  }
}

// For formats that want it; what is rounded stays as it was.
TEST_F(ProcessBlock, MeasuresInputsThatNoRoundingLooksAt) {
  const at::Tensor start = io.full.clone(), norm = at::linspace(0.5, 1.5, kHidden);
  for (const int64_t iters : {0, 5}) {
    options.tune.iters = iters;
    std::vector<BlockResult> results;
    for (const bool wanted : {false, true}) {
      options.want_imatrix = wanted;
      io = {.full = start.clone()};
      random = PythonRandom(42);
      results.push_back(processor().process(0, 1, io));
    }
    EXPECT_FALSE(results[0].layers[0].imatrix.defined());
    const QuantizedLayer& measured = results[1].layers[0];
    EXPECT_TRUE(all_close(measured.imatrix, (start * norm).square().sum({0, 1}), 1e-2)) << iters;
    EXPECT_EQ(measured.imatrix_count, kSamples);
    for (size_t i = 0; i < 2; ++i)
      EXPECT_TRUE(results[0].layers[i].quantized.codes.equal(results[1].layers[i].quantized.codes)) << iters;
  }
}

TEST_F(ProcessBlock, WithoutQuantedInputThereIsOneChain) {
  options.enable_quanted_input = false;
  BlockProcessor work = processor();
  const at::Tensor full1 = reference(0, io.full.clone());
  (void)work.process(0, 1, io);
  EXPECT_FALSE(io.quantized.defined());
  EXPECT_TRUE(all_close(io.full, full1, 1e-5));
}

TEST_F(ProcessBlock, TheLastBlockNeedsNoQuantizedOutput) {
  BlockProcessor work = processor();
  (void)work.process(0, 1, io, false);
  EXPECT_FALSE(io.quantized.defined());
}

TEST_F(ProcessBlock, ChainsOfBlocksAreTunedTogether) {
  BlockProcessor work = processor();
  const at::Tensor first = io.full.clone(), full2 = reference(1, reference(0, first));
  const BlockResult both = work.process(0, 2, io);
  EXPECT_EQ(both.layers.size(), 4U);
  EXPECT_EQ(model->loads, 2);
  EXPECT_TRUE(all_close(io.full, full2, 1e-5));
  const at::Tensor rounded2 = quantized(1, quantized(0, first, rounded(0)), rounded(1));
  EXPECT_LT((io.quantized - full2).square().mean().item<double>(),
            0.8 * (rounded2 - full2).square().mean().item<double>());
}

TEST_F(ProcessBlock, OptRtnCollectsTheImportanceOfInputs) {
  options.tune.iters = 0;
  BlockProcessor work = processor();
  const at::Tensor first = io.full.clone();
  const BlockResult result = work.process(0, 1, io);
  EXPECT_TRUE(result.losses.empty());
  EXPECT_EQ(scheme.last_mode, RtnMode::searched);
  const at::Tensor x = at::silu(at::linear(first * at::linspace(0.5, 1.5, kHidden), model->block_linears(0)[0]->weight,
                                           model->block_linears(0)[0]->bias));
  EXPECT_TRUE(all_close(scheme.last_imatrix, x.square().sum(at::IntArrayRef{0, 1}), 1e-3));
  EXPECT_TRUE(all_close(io.full, reference(0, first), 1e-5));
}

TEST_F(ProcessBlock, PlainRtnNeedsNoSamples) {
  options.tune.iters = 0;
  options.disable_opt_rtn = true;
  BlockProcessor work = processor();
  io = {};
  const BlockResult result = work.process(0, 1, io);
  EXPECT_EQ(result.layers.size(), 2U);
  EXPECT_EQ(scheme.last_mode, RtnMode::plain);
  EXPECT_FALSE(result.layers[0].dequantized.defined());
}

// Who needs calibration data: asked of every layer, since layer_config may give one what no other has.
class SampleNeeds : public ProcessBlock {
 protected:
  bool needed(bool tunes, std::optional<bool> disable_opt_rtn) {
    return needs_samples(plan, tunes, disable_opt_rtn, [this](std::string_view) -> const Scheme& { return scheme; });
  }
  LayerQuant& last() { return plan.layers.back().quant; }
};

TEST_F(SampleNeeds, TuningAndSearchesDoPlainRoundingDoesNot) {
  EXPECT_TRUE(needed(true, true));
  EXPECT_TRUE(needed(false, std::nullopt));
  EXPECT_FALSE(needed(false, true));
  for (LayerPlan& layer : plan.layers) layer.quant.weight.bits = 16;
  EXPECT_FALSE(needed(true, std::nullopt)) << "nothing is quantized";
}

TEST_F(SampleNeeds, OneLayerThatIsSearchedIsEnough) {
  plan.global.weight.sym = false;  // asymmetric integers are not searched
  for (LayerPlan& layer : plan.layers) layer.quant = plan.global;
  EXPECT_FALSE(needed(false, false));
  last().weight.sym = true;
  EXPECT_TRUE(needed(false, false));
}

TEST_F(SampleNeeds, StaticActivationsDoDynamicOnesDoNot) {
  last().act = {.data_type = "int", .bits = 8, .dynamic = true};
  EXPECT_FALSE(needed(false, true));
  last().act.dynamic = false;
  EXPECT_TRUE(needed(false, true));
  last().act.bits = 16;  // what is not quantized has no range
  EXPECT_FALSE(needed(false, true));
  last().act = {.data_type = "nv_fp4_with_static_gs", .bits = 4, .group_size = 16};  // a static global scale
  EXPECT_TRUE(needed(false, true));
}

TEST_F(ProcessBlock, UnplannedLayersStayAsTheyAre) {
  plan.layers.erase(plan.layers.begin());  // layers.0.up
  BlockProcessor work = processor();
  const BlockResult result = work.process(0, 1, io);
  ASSERT_EQ(result.layers.size(), 1U);
  EXPECT_EQ(result.layers[0].plan->name, "layers.0.down");
}

TEST_F(ProcessBlock, NormsAndBiasesComeBackWhenTuned) {
  options.tune.enable_norm_bias_tuning = true;
  BlockProcessor work = processor();
  const BlockResult result = work.process(0, 1, io);
  EXPECT_EQ(result.norms.count("layers.0.norm"), 1U);
  EXPECT_TRUE(result.layers[0].bias.defined());
  EXPECT_FALSE(result.layers[1].bias.defined());
}

TEST_F(ProcessBlock, SamplesKeepTheirOwnMasks) {
  options.attention_mask = at::ones({kSamples, kSeqlen});
  options.attention_mask[4].zero_();
  BlockProcessor work = processor();
  const at::Tensor first = io.full.clone();
  (void)work.process(0, 1, io);
  const Linear& up = *model->block_linears(0)[0];
  const Linear& down = *model->block_linears(0)[1];
  const at::Tensor unseen =
      first[4] + at::linear(at::silu(at::linear(at::zeros({kSeqlen, kHidden}), up.weight, up.bias)), down.weight);
  EXPECT_TRUE(all_close(io.full[4], unseen, 1e-5));
  EXPECT_GT(count_different(io.full[3], first[3], 1e-3), 0);
}

TEST_F(ProcessBlock, TheHeadIsTunedOnItsOwnInputs) {
  add(model->head(), -1);
  BlockProcessor work = processor();
  (void)work.process(0, 1, io);
  (void)work.process(1, 1, io);
  const BlockResult head = work.process_head(io);
  ASSERT_EQ(head.layers.size(), 1U);
  EXPECT_EQ(head.layers[0].plan->name, "lm_head");
  EXPECT_EQ(head.losses.size(), 20U);
  EXPECT_FALSE(io.full.defined());
}

TEST_F(ProcessBlock, AnUnplannedHeadCostsNothing) {
  EXPECT_TRUE(processor().process_head(io).layers.empty());
}

// Names of the one block's layers and their plans, with static activations.
void make_static(TinyModel& model, QuantPlan& plan, const char* first, const char* second) {
  const char* names[] = {first, second};
  for (size_t i = 0; i < 2; ++i) {
    model.block_linears(0)[i]->name = plan.layers[i].name = names[i];
    model_free::guess_layer(plan.layers[i]);
    plan.layers[i].quant.act = {.data_type = "int", .bits = 8, .group_size = 0, .dynamic = false};
  }
}

TEST_F(ProcessBlock, StaticActivationsGetTheLargestInputEvenWithoutTuning) {
  options.tune.iters = 0;
  options.disable_opt_rtn = true;
  make_static(*model, plan, "layers.0.up", "layers.0.down");
  BlockProcessor work = processor();
  const at::Tensor up_input = io.full * at::linspace(0.5, 1.5, kHidden);
  const BlockResult result = work.process(0, 1, io);
  EXPECT_FLOAT_EQ(result.layers[0].act_max.item<float>(), up_input.abs().max().item<float>());
  EXPECT_TRUE(result.layers[1].act_max.defined());
}

TEST_F(ProcessBlock, ExpertsWithoutTokensTakeTheLargestMaximumOfTheOthers) {
  options.tune.iters = 0;
  options.disable_opt_rtn = true;
  make_static(*model, plan, "layers.0.experts.0.up", "layers.0.experts.1.up");
  model->skip_down = true;
  BlockProcessor work = processor();
  const BlockResult result = work.process(0, 1, io);
  ASSERT_TRUE(result.layers[1].act_max.defined());
  EXPECT_EQ(result.layers[0].act_max.item<float>(), result.layers[1].act_max.item<float>());
}

TEST_F(ProcessBlock, NamesTheLayerWithANan) {
  model->block_linears(0)[1]->weight[3][2] = std::numeric_limits<float>::quiet_NaN();
  BlockProcessor work = processor();
  try {
    (void)work.process(0, 1, io);
    FAIL() << "accepted NaN";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_NE(std::string(error.what()).find("layers.0.down"), std::string::npos);
  }
}

TEST(RtnRules, SearchUnlessTheSchemeOrTheUserSaysNo) {
  LayerPlan layer{.name = "model.layers.0.mlp.up_proj", .quant = {.weight = {.bits = 4}}};
  LayerQuant global = layer.quant;
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::searched);
  EXPECT_EQ(rtn_mode(layer, global, true), RtnMode::plain);
  global.weight.bits = 8;
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::plain);
  EXPECT_EQ(rtn_mode(layer, global, false), RtnMode::searched);
  global.weight.data_type = "mx_fp";
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::searched);
}

TEST(RtnRules, RoutedExpertsAreSkippedByDefault) {
  LayerPlan layer{.name = "model.layers.0.mlp.experts.3.up_proj", .quant = {.weight = {.bits = 4}}};
  model_free::guess_layer(layer);
  const LayerQuant global = layer.quant;
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::plain);
  EXPECT_EQ(rtn_mode(layer, global, false), RtnMode::searched);
  layer.quant.weight.super_bits = 6;
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::searched);
  layer.quant.weight.super_bits = 0;
  layer = {.name = "model.layers.0.mlp.shared_expert.up_proj", .quant = layer.quant};
  model_free::guess_layer(layer);
  EXPECT_EQ(rtn_mode(layer, global, std::nullopt), RtnMode::searched);
}

}  // namespace
}  // namespace arkit::test
