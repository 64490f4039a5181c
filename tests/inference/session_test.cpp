#include <arkit/engine/session.h>

#include <map>
#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>

#include "inference/generator.h"
#include "inference/support.h"

namespace arkit {
namespace {

class Sessions : public testing::Test {
 protected:
  static SessionOptions options(int64_t cache_tokens) {
    return {.model = tests::model_folder("llama31").string(),
            .dtype = "float32",
            .cache_tokens = cache_tokens,
            .page_size = 4};
  }
  // By the generator, alone.
  std::vector<int64_t> alone(const std::vector<int64_t>& prompt, int64_t count) {
    const auto source = open_hf_folder(tests::model_folder("llama31"));
    Engine engine(*source, tests::registry(), at::kFloat, "");
    engine.load_all();
    return generate_tokens(engine, {.prompts = {prompt}, .max_new_tokens = count}, tests::silent()).tokens.front();
  }
  void steps(Session& session, int64_t count) {
    for (int64_t i = 0; i < count && session.unfinished() > 0; ++i)
      for (const SessionToken& token : session.step()) {
        made_[token.sequence].push_back(token.token);
        reused_[token.sequence] = token.reused;
        if (token.last) ended_.push_back(token.sequence);
      }
  }
  std::map<int64_t, std::vector<int64_t>> made_;
  std::vector<int64_t> ended_;
  std::map<int64_t, int64_t> reused_;
};

std::vector<int64_t> operator+(std::vector<int64_t> a, const std::vector<int64_t>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::vector<int64_t> kShort = {7, 11}, kLong = {3, 1, 4, 1, 5, 9, 2, 6}, kOther = {2, 7, 1, 8};

TEST_F(Sessions, TextsComeAndLeaveWhileOthersGoOn) {
  Session session(options(512), tests::registry());
  const int64_t first = session.add({.prompt = kLong, .max_new_tokens = 20});
  steps(session, 3);
  const int64_t second = session.add({.prompt = kShort, .max_new_tokens = 30});
  steps(session, 4);
  const int64_t third = session.add({.prompt = kOther, .max_new_tokens = 6});
  EXPECT_TRUE(session.cancel(second));
  EXPECT_FALSE(session.cancel(second));
  EXPECT_EQ(made_[second].size(), 4U);
  const int64_t fourth = session.add({.prompt = kShort, .max_new_tokens = 30});
  steps(session, 1000);
  EXPECT_EQ(session.unfinished(), 0);
  EXPECT_EQ(made_[first], alone(kLong, 20));
  EXPECT_EQ(made_[third], alone(kOther, 6));
  EXPECT_EQ(made_[fourth], alone(kShort, 30));
  EXPECT_EQ(ended_, (std::vector<int64_t>{third, first, fourth}));
  EXPECT_TRUE(session.step().empty());
  EXPECT_FALSE(session.cancel(first));
}

// Six pages of four: a text of eight and twelve new tokens takes five of them, one of two and two takes one.
TEST_F(Sessions, TextsWaitForRoomInTheirOrder) {
  Session session(options(24), tests::registry());
  const int64_t first = session.add({.prompt = kLong, .max_new_tokens = 12});
  const int64_t second = session.add({.prompt = kLong, .max_new_tokens = 12});
  const int64_t third = session.add({.prompt = kShort, .max_new_tokens = 2});
  steps(session, 12);
  EXPECT_EQ(made_.size(), 1U) << "none passes another by";
  EXPECT_EQ(ended_, std::vector<int64_t>{first});
  steps(session, 1000);
  EXPECT_EQ(made_[second], made_[first]);
  EXPECT_EQ(made_[third], alone(kShort, 2));
  EXPECT_EQ(ended_, (std::vector<int64_t>{first, third, second}));
  const int64_t waiting = session.add({.prompt = kLong, .max_new_tokens = 12});
  EXPECT_TRUE(session.cancel(waiting)) << "before it began";
  EXPECT_EQ(session.unfinished(), 0);
}

TEST_F(Sessions, EachTextHasItsOwnChance) {
  const SessionRequest request{.prompt = kLong, .max_new_tokens = 10, .sampling = {.temperature = 3.0, .seed = 5}};
  Session session(options(512), tests::registry());
  const int64_t one = session.add(request);
  steps(session, 1000);
  const int64_t same = session.add(request);
  SessionRequest other = request;
  other.sampling.seed = 6;
  const int64_t another = session.add(other);
  steps(session, 1000);
  EXPECT_EQ(made_[one], made_[same]);
  EXPECT_NE(made_[one], made_[another]);
}

// What is fed is only what the text before did not begin with; what comes of it is what a new text would give.
TEST_F(Sessions, ATextGoesOnFromAKeptOne) {
  Session session(options(512), tests::registry());
  const auto run = [&](const std::vector<int64_t>& prompt, int64_t from) {
    const int64_t text = session.add({.prompt = prompt, .max_new_tokens = 6, .keep = true, .goes_on_from = from});
    steps(session, 1000);
    EXPECT_EQ(made_[text], alone(prompt, 6));
    return text;
  };
  const int64_t first = run(kLong, -1);
  EXPECT_EQ(reused_[first], 0);
  const auto longer = kLong + made_[first] + kOther;
  const int64_t second = run(longer, first);
  EXPECT_EQ(reused_[second], 8 + 5) << "the last token was picked and not fed";
  EXPECT_FALSE(session.release(first)) << "the second has it";
  const int64_t third = run(kLong + kOther, second);
  EXPECT_EQ(reused_[third], 8) << "where they differ";
  const int64_t fourth = run(kLong + kOther, third);
  EXPECT_EQ(reused_[fourth], 11) << "one is fed for its logits";
  const int64_t fifth = run(kShort, fourth);
  EXPECT_EQ(reused_[fifth], 0);
  EXPECT_TRUE(session.release(fifth));
  EXPECT_FALSE(session.release(fifth));
  EXPECT_EQ(reused_[run(kShort, fifth)], 0) << "it is gone";
}

TEST_F(Sessions, ACancelledTextIsKeptWhereItWasToBe) {
  Session session(options(512), tests::registry());
  const int64_t first = session.add({.prompt = kLong, .max_new_tokens = 20, .keep = true});
  steps(session, 3);
  EXPECT_TRUE(session.cancel(first));
  const auto longer = kLong + made_[first] + kShort;
  const int64_t second = session.add({.prompt = longer, .max_new_tokens = 5, .goes_on_from = first});
  steps(session, 1000);
  EXPECT_EQ(reused_[second], 8 + 2);
  EXPECT_EQ(made_[second], alone(longer, 5));
  EXPECT_FALSE(session.release(second)) << "nobody asked to keep it";
}

// Six pages of four. What is only kept never holds up what runs.
TEST_F(Sessions, KeptTextsGiveWay) {
  Session session(options(24), tests::registry());
  const int64_t kept = session.add({.prompt = kOther, .max_new_tokens = 4, .keep = true});
  steps(session, 1000);
  const int64_t other = session.add({.prompt = kLong, .max_new_tokens = 12});
  steps(session, 1000);
  EXPECT_EQ(made_[other], alone(kLong, 12));
  EXPECT_FALSE(session.release(kept));

  const int64_t again = session.add({.prompt = kOther, .max_new_tokens = 4, .keep = true});
  steps(session, 1000);
  const int64_t runs = session.add({.prompt = kLong, .max_new_tokens = 8});
  steps(session, 1);
  const int64_t waits = session.add({.prompt = kLong, .max_new_tokens = 12});
  const int64_t behind = session.add({.prompt = kOther + kShort, .max_new_tokens = 4, .goes_on_from = again});
  steps(session, 1000);
  EXPECT_EQ(made_[waits], alone(kLong, 12));
  EXPECT_EQ(made_[behind], alone(kOther + kShort, 4));
  EXPECT_EQ(reused_[behind], 0) << "its pages were taken by the one that came before it";
  EXPECT_EQ(ended_, (std::vector<int64_t>{kept, other, again, runs, waits, behind}));
}

TEST_F(Sessions, PenaltiesCountEachTextByItself) {
  Session session(options(512), tests::registry());
  const SamplingOptions sampling{.frequency_penalty = 2.0, .presence_penalty = 2.0};
  std::vector<int64_t> both;
  for (int i = 0; i < 2; ++i)
    both.push_back(session.add({.prompt = kLong, .max_new_tokens = 40, .sampling = sampling}));
  const int64_t plain = session.add({.prompt = kLong, .max_new_tokens = 40});
  steps(session, 1000);
  EXPECT_EQ(made_[both[0]], made_[both[1]]);
  const auto different = [&](int64_t text) { return std::set(made_[text].begin(), made_[text].end()).size(); };
  EXPECT_GT(different(both[0]), different(plain));
}

TEST_F(Sessions, SayWhyATextEnds) {
  Session session(options(512), tests::registry());
  const std::vector<int64_t> text = alone(kLong, 6);
  (void)session.add({.prompt = kLong, .max_new_tokens = 20, .stop_ids = {text[3]}});
  SessionToken last;
  while (session.unfinished() > 0) last = session.step().at(0);
  EXPECT_TRUE(last.last);
  EXPECT_TRUE(last.stopped);
  EXPECT_EQ(last.token, text[3]);
  (void)session.add({.prompt = kLong, .max_new_tokens = 1});
  last = session.step().at(0);
  EXPECT_TRUE(last.last);
  EXPECT_FALSE(last.stopped);
}

TEST_F(Sessions, RefuseWhatCanNeverBe) {
  EXPECT_THROW((void)Session(options(3), tests::registry()), Error);
  Session session(options(24), tests::registry());
  EXPECT_THROW((void)session.add({.prompt = {}}), Error);
  EXPECT_THROW((void)session.add({.prompt = {256}}), Error);
  EXPECT_THROW((void)session.add({.prompt = {1}, .max_new_tokens = 0}), Error);
  EXPECT_THROW((void)session.add({.prompt = {1}, .sampling = {.logit_bias = {{256, 1.0}}}}), Error);
  EXPECT_THROW((void)session.add({.prompt = {1}, .goes_on_from = 0}), Error);
  EXPECT_THROW((void)session.add({.prompt = {1}, .sampling = {.temperature = -1.0}}), Error);
  try {
    (void)session.add({.prompt = kLong, .max_new_tokens = 17});
    FAIL() << "25 positions in a cache of 24";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
  }
  EXPECT_EQ(session.unfinished(), 0);
}

}  // namespace
}  // namespace arkit
