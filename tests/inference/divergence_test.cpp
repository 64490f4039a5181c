// `eval kl` against the formula over all logits at once, on windows and on what the reference writes.
#include <cmath>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>

#include "inference/score_sums.h"
#include "inference/support.h"
#include "util/safetensors_file.h"

namespace arkit {
namespace {

using tests::model_folder;
using tests::registry;
using tests::silent;

// What a model says of every successor in `ids`, [rows, vocab] in float64: all logits at once.
at::Tensor log_probs(const std::string& model, const at::Tensor& ids) {
  const auto source = open_hf_folder(model_folder(model));
  Engine engine(*source, registry(), at::kFloat, "");
  engine.load_all();
  const at::Tensor logits = engine.forward(ids, {}, {}, false).to(at::kDouble);
  return logits.narrow(1, 0, ids.size(1) - 1).flatten(0, 1).log_softmax(-1);
}

// The members of a result that are distances, by the formulas of statistics.
void expect_distance(const json::Object& got, const at::Tensor& mine, const at::Tensor& theirs,
                     const at::Tensor& next) {
  const auto number = [&](const char* name) { return got.at(name).to_number<double>(); };
  const at::Tensor kl = (theirs.exp() * (theirs - mine)).sum(1);
  EXPECT_EQ(got.at("tokens").to_number<int64_t>(), kl.size(0));
  const auto count = static_cast<double>(kl.size(0));
  EXPECT_NEAR(number("mean_kl"), kl.mean().item<double>(), 1e-5);
  EXPECT_NEAR(number("kl_stderr"), kl.std(true).item<double>() / std::sqrt(count), 1e-5);
  EXPECT_NEAR(number("median_kl"), kl.quantile(0.5, {}).item<double>(), 1e-5);
  EXPECT_NEAR(number("p99_kl"), kl.quantile(0.99, {}).item<double>(), 1e-4);
  EXPECT_NEAR(number("p99_9_kl"), kl.quantile(0.999, {}).item<double>(), 1e-4);
  EXPECT_NEAR(number("max_kl"), kl.max().item<double>(), 1e-4);
  const double agreement = mine.argmax(1).eq(theirs.argmax(1)).to(at::kDouble).mean().item<double>();
  EXPECT_NEAR(number("top1_agreement"), agreement, 1e-12);
  EXPECT_NEAR(number("top1_stderr"), std::sqrt(agreement * (1.0 - agreement) / (count - 1.0)), 1e-12);
  const auto perplexity = [&](const at::Tensor& log_probs) {
    return std::exp(-log_probs.gather(1, next.reshape({-1, 1})).mean().item<double>());
  };
  EXPECT_NEAR(number("perplexity") / perplexity(mine), 1.0, 1e-5);
  EXPECT_NEAR(number("reference_perplexity") / perplexity(theirs), 1.0, 1e-5);
}

class DivergenceJob : public testing::Test {
 protected:
  DivergenceOptions options(const at::Tensor& ids) const {
    const std::filesystem::path file = scratch_.path() / "ids.safetensors";
    io::write_safetensors(file, {{"input_ids", ids}});
    return {.model = model_folder("llama"), .reference = model_folder("qwen3"), .ids_file = file, .seqlen = 12};
  }
  static json::Object run(const DivergenceOptions& options) {
    return evaluate_divergence(options, registry(), silent());
  }
  static ErrorCode refusal(const DivergenceOptions& options) {
    try {
      (void)run(options);
    } catch (const Error& error) {
      return error.code();
    }
    return ErrorCode::internal;
  }

 private:
  tests::ScratchFolder scratch_;
};

TEST_F(DivergenceJob, OverWindowsEqualsTheFormula) {
  at::manual_seed(3);
  const at::Tensor windows = at::randint(0, 256, {40, 12}, at::kLong);
  const json::Object got = run(options(windows.reshape({-1})));
  EXPECT_EQ(got.at("along"), "windows");
  EXPECT_EQ(got.at("windows"), 40);
  expect_distance(got, log_probs("llama", windows), log_probs("qwen3", windows), windows.narrow(1, 1, 11));
}

// The reference picks its likeliest token again and again, by a forward over the whole text each time.
TEST_F(DivergenceJob, AlongGenerationScoresWhatTheReferenceWrites) {
  at::manual_seed(4);
  constexpr int64_t kNew = 9;
  const at::Tensor prompts = at::randint(3, 256, {6, 12}, at::kLong);
  DivergenceOptions wish = options(prompts.reshape({-1}));
  wish.along_generation = true;
  wish.max_new_tokens = kNew;
  const json::Object got = run(wish);
  EXPECT_EQ(got.at("along"), "generation");
  EXPECT_EQ(got.at("texts"), 6);

  const auto source = open_hf_folder(model_folder("qwen3"));
  Engine engine(*source, registry(), at::kFloat, "");
  engine.load_all();
  std::vector<at::Tensor> mine, theirs, written;
  for (int64_t row = 0; row < prompts.size(0); ++row) {
    at::Tensor text = prompts[row].unsqueeze(0);
    for (int64_t i = 0; i < kNew; ++i) {
      const at::Tensor next = engine.forward(text, {}, {}, true).argmax(-1);
      text = at::cat({text, next}, 1);
      if (next.item<int64_t>() == 2) break;  // the end of a text
    }
    const int64_t count = text.size(1) - 12;
    mine.push_back(log_probs("llama", text).narrow(0, 11, count));
    theirs.push_back(log_probs("qwen3", text).narrow(0, 11, count));
    written.push_back(text[0].narrow(0, 12, count));
  }
  expect_distance(got, at::cat(mine), at::cat(theirs), at::cat(written));
  wish.batch_size = 1;  // texts do not change each other
  EXPECT_NEAR(run(wish).at("mean_kl").as_double(), got.at("mean_kl").as_double(), 1e-5);
}

TEST_F(DivergenceJob, AModelIsNoDistanceFromItself) {
  DivergenceOptions wish = options(at::arange(36, at::kLong));
  wish.reference = wish.model;
  const json::Object got = run(wish);
  EXPECT_NEAR(got.at("max_kl").as_double(), 0.0, 1e-6);
  EXPECT_EQ(got.at("top1_agreement").to_number<double>(), 1.0);
  EXPECT_EQ(got.at("perplexity"), got.at("reference_perplexity"));
}

TEST_F(DivergenceJob, RefusesWhatCannotBeOrDoesNothing) {
  const DivergenceOptions good = options(at::arange(36, at::kLong));
  const auto with = [&](const auto& change) {
    DivergenceOptions wish = good;
    change(wish);
    return refusal(wish);
  };
  using Wish = DivergenceOptions;
  EXPECT_EQ(with([](Wish& w) { w.reference.clear(); }), ErrorCode::usage);
  EXPECT_EQ(with([](Wish& w) { w.ids_file.clear(); }), ErrorCode::usage);
  EXPECT_EQ(with([](Wish& w) { w.text_file = w.ids_file; }), ErrorCode::usage);
  EXPECT_EQ(with([](Wish& w) { w.max_new_tokens = 3; }), ErrorCode::usage) << "nothing is written";
  EXPECT_EQ(with([](Wish& w) {
              w.ids_file.clear();
              w.prompts = {"text"};
            }),
            ErrorCode::usage);
  EXPECT_EQ(with([](Wish& w) {
              w.along_generation = true;
              w.max_new_tokens = 0;
            }),
            ErrorCode::usage);
  EXPECT_EQ(with([](Wish& w) {
              w.along_generation = true;
              w.seqlen = 129;
            }),
            ErrorCode::input)
      << "longer than the ids";
  EXPECT_EQ(with([](Wish& w) {
              w.along_generation = true;
              w.ids_file.clear();
              w.prompts = {"text"};
              w.max_windows = 2;
            }),
            ErrorCode::usage);
  EXPECT_EQ(refusal(options(at::full({36}, 256, at::kLong))), ErrorCode::input) << "ids of another tokenizer";
}

TEST(Divergence, OfOneToken) {
  std::vector<double> one = {0.25};
  const Divergence got = divergence_of(one, 0);
  EXPECT_EQ(got.mean_kl, 0.25);
  EXPECT_EQ(got.p99_9_kl, 0.25);
  EXPECT_EQ(got.kl_stderr, 0.0);
  EXPECT_EQ(got.top1_agreement, 0.0);
}

}  // namespace
}  // namespace arkit
