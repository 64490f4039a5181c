#include "inference/generator.h"

#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>

#include "inference/support.h"

namespace arkit {
namespace {

class Generator : public testing::Test {
 protected:
  Generator()
      : source_(open_hf_folder(tests::model_folder("llama31"))), engine_(*source_, tests::registry(), at::kFloat, "") {
    engine_.load_all();
  }
  // Greedy continuation without a cache.
  std::vector<int64_t> plain(std::vector<int64_t> ids, int64_t count) {
    std::vector<int64_t> made;
    for (int64_t i = 0; i < count; ++i) {
      const at::Tensor logits = engine_.forward(at::tensor(ids, at::kLong).unsqueeze(0), {}, {}, true);
      made.push_back(logits.flatten().argmax().item<int64_t>());
      ids.push_back(made.back());
    }
    return made;
  }
  std::unique_ptr<ModelSource> source_;
  Engine engine_;
};

const std::vector<int64_t> kShort = {7, 11}, kLong = {3, 1, 4, 1, 5, 9, 2, 6};

TEST_F(Generator, GreedyWithCacheEqualsRepeatedFullPasses) {
  const GenerationResult made = generate_tokens(engine_, {.prompts = {kLong}, .max_new_tokens = 12}, tests::silent());
  EXPECT_EQ(made.tokens.at(0), plain(kLong, 12));
  EXPECT_EQ(made.decoded, 11);
}

TEST_F(Generator, PromptsOfDifferentLengthGiveEachItsOwnText) {
  const GenerationResult made =
      generate_tokens(engine_, {.prompts = {kShort, kLong}, .max_new_tokens = 12}, tests::silent());
  EXPECT_EQ(made.tokens.at(0), plain(kShort, 12));
  EXPECT_EQ(made.tokens.at(1), plain(kLong, 12));
}

// Rows end at different times, by stop tokens and at the model's last position, and none disturbs another.
TEST_F(Generator, ARaggedBatchGivesTheTokensOfOneByOne) {
  std::vector<std::vector<int64_t>> prompts = {kLong, kShort, kLong, {5}, std::vector<int64_t>(115, 3)};
  prompts[2].push_back(200);
  const int64_t stop = plain(kShort, 5).back();
  const auto generate = [&](std::vector<std::vector<int64_t>> some) {
    return generate_tokens(engine_, {.prompts = std::move(some), .max_new_tokens = 20, .stop_ids = {stop}},
                           tests::silent())
        .tokens;
  };
  const auto together = generate(prompts);
  std::set<size_t> lengths;
  for (size_t row = 0; row < prompts.size(); ++row) {
    EXPECT_EQ(together[row], generate({prompts[row]}).front()) << row;
    lengths.insert(together[row].size());
  }
  EXPECT_EQ(together[4].size(), 13U) << "its own positions are used up";
  EXPECT_GT(lengths.size(), 2U);
}

TEST_F(Generator, RowsStopAtStopTokens) {
  const std::vector<int64_t> wanted = plain(kLong, 6);
  const GenerationResult made =
      generate_tokens(engine_, {.prompts = {kLong}, .max_new_tokens = 20, .stop_ids = {wanted[3]}}, tests::silent());
  const auto end = std::find(wanted.begin(), wanted.end(), wanted[3]) + 1;
  EXPECT_EQ(made.tokens.at(0), std::vector<int64_t>(wanted.begin(), end));
}

TEST_F(Generator, SeedsDecideSampledText) {
  const auto sample = [&](uint64_t seed) {
    return generate_tokens(engine_,
                           {.prompts = {kLong}, .max_new_tokens = 16, .sampling = {.temperature = 3.0, .seed = seed}},
                           tests::silent())
        .tokens.at(0);
  };
  EXPECT_EQ(sample(1), sample(1));
  EXPECT_NE(sample(1), sample(2));
}

TEST_F(Generator, StopsAtTheLastPosition) {
  const GenerationResult made =
      generate_tokens(engine_, {.prompts = {std::vector<int64_t>(120, 5)}, .max_new_tokens = 50}, tests::silent());
  EXPECT_EQ(made.tokens.at(0).size(), 8U);  // 128 positions
}

TEST_F(Generator, RefusesImpossibleRequests) {
  const auto run = [&](GenerationRequest request) { (void)generate_tokens(engine_, request, tests::silent()); };
  EXPECT_THROW(run({.prompts = {}}), Error);
  EXPECT_THROW(run({.prompts = {{}}}), Error);
  EXPECT_THROW(run({.prompts = {{1, 256}}}), Error);
  EXPECT_THROW(run({.prompts = {{1}}, .max_new_tokens = 0}), Error);
  EXPECT_THROW(run({.prompts = {std::vector<int64_t>(128, 5)}}), Error);
  EXPECT_THROW(run({.prompts = {{1}}, .sampling = {.temperature = -1.0}}), Error);
}

TEST_F(Generator, StopTokensComeFromTheConfiguration) {
  EXPECT_EQ(stop_ids_of(*source_), std::vector<int64_t>{2});
}

}  // namespace
}  // namespace arkit
