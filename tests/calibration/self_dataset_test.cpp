// The self-written data set with a model small enough to foresee: it counts upwards.

#include "calibration/self_dataset.h"

#include <cmath>
#include <set>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <gtest/gtest.h>

#include "calibration/sampling.h"

namespace {

using arkit::calibration::sample_token;
using arkit::calibration::SelfOptions;
using arkit::calibration::write_self_samples;

constexpr int64_t kVocab = 16, kBos = 1, kEos = 2;

// After token t it expects t + 1, a little less t + 2; token 15 is followed by EOS.
class CountingModel final : public arkit::Model {
 public:
  int64_t num_blocks() const override { return 2; }
  int64_t hidden_size() const override { return kVocab; }
  int64_t vocab_size() const override { return kVocab; }
  int64_t max_positions() const override { return 64; }
  bool tied_embeddings() const override { return true; }
  std::string block_name(int64_t) const override { return "block"; }
  std::vector<std::string> block_lists() const override { return {}; }
  std::vector<arkit::LayerPlan> linears() const override { return {}; }
  std::vector<std::string> norm_names(int64_t) const override { return {}; }
  void load_block(int64_t) override { ++loaded; }
  void release_block(int64_t) noexcept override { --loaded; }
  std::vector<arkit::Linear*> block_linears(int64_t) override { return {}; }
  void load_rest() override { ++loaded; }
  void release_rest() noexcept override { --loaded; }
  at::Tensor embed(const at::Tensor& ids) const override { return at::one_hot(ids, kVocab).to(at::kFloat); }
  arkit::ForwardContext context(int64_t batch, int64_t seqlen, const at::Tensor&, const at::Tensor&,
                                std::span<const arkit::SequenceSpan> sequences) const override {
    arkit::ForwardContext context;
    context.batch = batch;
    context.seqlen = seqlen;
    context.sequences.assign(sequences.begin(), sequences.end());
    largest_batch = std::max(largest_batch, static_cast<int64_t>(sequences.size()));
    return context;
  }
  std::vector<arkit::AttentionPlan> attentions() const override {
    return {{.name = "attention", .block = 0, .heads = 1, .kv_heads = 1, .key_dim = 4, .value_dim = 4}};
  }
  at::Tensor run_block(int64_t, const at::Tensor& hidden, const arkit::ForwardContext&,
                       arkit::BlockHook&) const override {
    return hidden;
  }
  at::Tensor logits(const at::Tensor& hidden, arkit::BlockHook&) const override {
    at::Tensor next = at::roll(hidden, 1, -1) * 8 + at::roll(hidden, 2, -1) * 7;
    const at::Tensor last = hidden.select(-1, kVocab - 1);
    next.select(-1, kEos).add_(last * 20);
    return damaged ? next * NAN : next;
  }
  arkit::Linear& head() override { return head_; }

  int loaded = 0;
  bool damaged = false;
  mutable int64_t largest_batch = 0;

 private:
  arkit::Linear head_;
};

arkit::Tokenizer tokenizer() {
  namespace json = arkit::json;
  json::Object vocab{{"<s>", kBos}, {"</s>", kEos}};
  for (int64_t id = 3; id < kVocab; ++id) vocab[std::string(1, static_cast<char>('a' + id))] = id;
  json::Object special{{"id", kEos}, {"content", "</s>"}, {"special", true}, {"normalized", false}};
  json::Object first{{"id", kBos}, {"content", "<s>"}, {"special", true}, {"normalized", false}};
  const json::Object file{{"model", json::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", json::Array{}}}},
                          {"added_tokens", json::Array{first, special}},
                          {"decoder", json::Object{{"type", "Fuse"}}}};
  return arkit::Tokenizer(json::dump(file), {{"bos_token", "<s>"}, {"eos_token", "</s>"}});
}

SelfOptions options(int64_t nsamples, int64_t seqlen) {
  SelfOptions out;
  out.nsamples = nsamples;
  out.seqlen = seqlen;
  return out;
}

TEST(SelfDataset, FillsRowsWithDocumentsThatBeginWithBos) {
  CountingModel model;
  const arkit::Tokenizer words = tokenizer();
  arkit::Reporter reporter;
  const at::Tensor ids = write_self_samples(options(6, 40), model, &words, reporter);
  ASSERT_EQ(ids.sizes(), (std::vector<int64_t>{6, 40}));
  EXPECT_EQ(model.loaded, 0);
  std::set<int64_t> openings;
  int documents = 0;
  for (int64_t row = 0; row < 6; ++row) {
    EXPECT_EQ(ids[row][0].item<int64_t>(), kBos);
    if (row % 2 == 1) openings.insert(ids[row][1].item<int64_t>());
    for (int64_t i = 1; i < 40; ++i) {
      const int64_t before = ids[row][i - 1].item<int64_t>(), now = ids[row][i].item<int64_t>();
      if (before == kEos) {
        EXPECT_EQ(now, kBos);
        ++documents;
      } else if (before == kBos && row % 2 == 1) {
        EXPECT_GE(now, 3) << "a special token opened a document";
      }
    }
  }
  EXPECT_GT(documents, 0);
  EXPECT_GT(openings.size(), 1U);
}

TEST(SelfDataset, DependsOnTheSeedAndNotOnTheBatch) {
  CountingModel model;
  const arkit::Tokenizer words = tokenizer();
  arkit::Reporter reporter;
  SelfOptions one = options(7, 20);
  const at::Tensor together = write_self_samples(one, model, &words, reporter);
  EXPECT_EQ(model.largest_batch, 7);
  one.max_cache_bytes = 1;
  model.largest_batch = 0;
  EXPECT_TRUE(at::equal(write_self_samples(one, model, &words, reporter), together));
  EXPECT_EQ(model.largest_batch, 1);
  one.seed = 43;
  EXPECT_FALSE(at::equal(write_self_samples(one, model, &words, reporter), together));
}

TEST(SelfDataset, WorksWithoutATokenizer) {
  CountingModel model;
  arkit::Reporter reporter;
  const at::Tensor ids = write_self_samples(options(4, 10), model, nullptr, reporter);
  EXPECT_TRUE(((ids >= 0) & (ids < kVocab)).all().item<bool>());
}

TEST(SelfDataset, ExplainsWhatCannotWork) {
  CountingModel model;
  arkit::Reporter reporter;
  EXPECT_THROW((void)write_self_samples(options(1, 65), model, nullptr, reporter), arkit::Error);  // 64 positions
  model.damaged = true;
  EXPECT_THROW((void)write_self_samples(options(1, 8), model, nullptr, reporter), arkit::Error);
  EXPECT_EQ(model.loaded, 0);  // also after a failure
}

TEST(Sampling, FollowsTheProbabilities) {
  const std::vector<float> logits{std::log(0.1F), std::log(0.6F), std::log(0.3F), -INFINITY};
  EXPECT_EQ(sample_token(logits, {}, 0.0), 1);
  EXPECT_EQ(sample_token(logits, {}, 0.59), 1);
  EXPECT_EQ(sample_token(logits, {}, 0.61), 2);
  EXPECT_EQ(sample_token(logits, {}, 0.95), 0);
  EXPECT_EQ(sample_token(logits, {.top_k = 2}, 0.99), 2);
  EXPECT_EQ(sample_token(logits, {.top_p = 0.5}, 0.99), 1);
  EXPECT_EQ(sample_token(logits, {.temperature = 0.01}, 0.99), 1);
  EXPECT_EQ(sample_token({}, {}, 0.5), -1);
  const std::vector<float> nan(4, NAN);
  EXPECT_EQ(sample_token(nan, {}, 0.5), -1);
}

TEST(Sampling, TopKAgreesWithSortingEverything) {
  std::vector<float> logits;
  for (uint64_t i = 0; i < 5000; ++i)
    logits.push_back(static_cast<float>(std::floor(arkit::calibration::uniform_at(1, 2, i) * 300)) /
                     100.0F);  // many ties
  for (int64_t i = 0; i < 100; ++i) {
    const double u = static_cast<double>(i) / 100.0;
    // Keeping as many as there are changes nothing; keeping 60 of 5000 must give one of the 60 best.
    EXPECT_EQ(sample_token(logits, {}, u), sample_token(logits, {.top_k = 5000}, u));
    const int64_t picked = sample_token(logits, {.top_k = 60}, u);
    int64_t better = 0;
    for (size_t j = 0; j < logits.size(); ++j)
      better += logits[j] > logits[static_cast<size_t>(picked)] ||
                (logits[j] == logits[static_cast<size_t>(picked)] && static_cast<int64_t>(j) < picked);
    EXPECT_LT(better, 60);
  }
}

}  // namespace
