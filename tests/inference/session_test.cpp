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

// Six pages of four: a text of eight and twelve new tokens becomes five of them. Two begin side by side, and the younger
// one gives way when there are no more.
TEST_F(Sessions, TheYoungestWaitsForRoomAndGoesOn) {
  Session session(options(24), tests::registry());
  const int64_t first = session.add({.prompt = kLong, .max_new_tokens = 12});
  const int64_t second = session.add({.prompt = kLong, .max_new_tokens = 12});
  const int64_t third = session.add({.prompt = kShort, .max_new_tokens = 2});
  steps(session, 4);
  EXPECT_EQ(made_.size(), 2U) << "the third has no room, though it is short";
  steps(session, 1000);
  EXPECT_GE(session.state().put_back, 1);
  EXPECT_EQ(made_[first], alone(kLong, 12));
  EXPECT_EQ(made_[second], made_[first]) << "what it had written is neither lost nor written twice";
  EXPECT_EQ(made_[third], alone(kShort, 2));
  EXPECT_EQ(ended_.front(), first);
  EXPECT_EQ(session.state().free_pages, 6);
  const int64_t fourth = session.add({.prompt = kLong, .max_new_tokens = 12});
  EXPECT_TRUE(session.cancel(fourth)) << "before it began";
  EXPECT_EQ(session.unfinished(), 0);
}

TEST_F(Sessions, LongPromptsAreReadInPartsWhileOthersGoOn) {
  SessionOptions parts = options(512);
  parts.step_tokens = 3;
  Session session(parts, tests::registry());
  const int64_t first = session.add({.prompt = kShort, .max_new_tokens = 8});
  steps(session, 1);
  const int64_t second = session.add({.prompt = kLong, .max_new_tokens = 5});
  steps(session, 3);
  EXPECT_EQ(made_[first].size(), 4U);
  EXPECT_TRUE(made_[second].empty()) << "two tokens a step beside the one that is written";
  steps(session, 1000);
  EXPECT_EQ(made_[first], alone(kShort, 8));
  EXPECT_EQ(made_[second], alone(kLong, 5));
}

TEST_F(Sessions, NoMoreRunThanAreAllowed) {
  SessionOptions two = options(512);
  two.max_running = 2;
  Session session(two, tests::registry());
  for (int i = 0; i < 5; ++i) (void)session.add({.prompt = kShort, .max_new_tokens = 3});
  EXPECT_EQ(session.step().size(), 2U);
  EXPECT_EQ(session.state().waiting, 3);
  steps(session, 1000);
  EXPECT_EQ(ended_.size(), 5U);
}

// Long enough to be worth sharing.
std::vector<int64_t> long_text() {
  std::vector<int64_t> text;
  for (int64_t i = 0; i < 37; ++i) text.push_back((i * 29 + 3) % 256);
  return text;
}

TEST_F(Sessions, TextsShareWhatTheyBeginWith) {
  Session session(options(512), tests::registry());
  const auto ask = [&](const std::vector<int64_t>& prompt) {
    return session.add({.prompt = prompt, .max_new_tokens = 6, .keep = true, .share = true});
  };
  const std::vector<int64_t> begin = long_text();
  const int64_t first = ask(begin + kShort), twin = ask(begin + kOther);
  steps(session, 1000);
  EXPECT_EQ(reused_[twin], 37) << "it waited for the first one to be read";
  const int64_t later = ask(begin + kOther + made_[twin]), runs = ask(begin + kLong);
  steps(session, 2);
  EXPECT_EQ(reused_[later], 37 + 4 + 5);
  const int64_t beside = ask(begin + kLong + kShort);
  steps(session, 1000);
  EXPECT_EQ(reused_[beside], 37 + 8) << "of one that runs";
  EXPECT_EQ(made_[first], alone(begin + kShort, 6));
  EXPECT_EQ(made_[twin], alone(begin + kOther, 6));
  EXPECT_EQ(made_[later], alone(begin + kOther + made_[twin], 6));
  EXPECT_EQ(made_[runs], alone(begin + kLong, 6));
  EXPECT_EQ(made_[beside], alone(begin + kLong + kShort, 6));
  EXPECT_GT(session.state().free_pages, 128 - 5 * 12) << "pages are shared, too";
}

// Beginning inside a page takes one more: an older kept text gives way, not the one that is begun from.
TEST_F(Sessions, WhatIsSharedIsAllTakenFromAFullCache) {
  Session session(options(80), tests::registry());
  const std::vector<int64_t> begin = long_text();
  (void)session.add({.prompt = begin, .max_new_tokens = 2, .keep = true});
  steps(session, 1000);
  while (session.state().free_pages > 0) {
    (void)session.add({.prompt = kShort, .max_new_tokens = 1, .keep = true});
    steps(session, 1000);
  }
  const int64_t later = session.add({.prompt = begin + kShort, .max_new_tokens = 5, .share = true});
  steps(session, 1000);
  EXPECT_EQ(reused_[later], 37);
  EXPECT_EQ(made_[later], alone(begin + kShort, 5));
}

// A kept text that is cut and goes on must not write into a page that another one reads.
TEST_F(Sessions, WhatIsSharedIsNotWrittenOver) {
  Session session(options(512), tests::registry());
  const std::vector<int64_t> begin = long_text();
  const int64_t first = session.add({.prompt = begin, .max_new_tokens = 2, .keep = true});
  steps(session, 1000);
  const int64_t reader = session.add({.prompt = begin + kLong, .max_new_tokens = 12, .share = true});
  steps(session, 2);
  EXPECT_EQ(reused_[reader], 37);
  const std::vector<int64_t> cut(begin.begin(), begin.begin() + 30);
  const int64_t writer = session.add({.prompt = cut + kShort, .max_new_tokens = 12, .goes_on_from = first});
  steps(session, 1000);
  EXPECT_EQ(reused_[writer], 30);
  EXPECT_EQ(made_[writer], alone(cut + kShort, 12));
  EXPECT_EQ(made_[reader], alone(begin + kLong, 12));
}

class Scores : public Sessions {
 protected:
  // log_softmax of all logits of the whole text.
  static at::Tensor expected(const std::vector<int64_t>& text) {
    const auto source = open_hf_folder(tests::model_folder("llama31"));
    Engine engine(*source, tests::registry(), at::kFloat, "");
    engine.load_all();
    const at::Tensor ids = at::tensor(text, at::kLong).unsqueeze(0);
    return engine.forward(ids, {}, {}, false).squeeze(0).to(at::kFloat).log_softmax(1);
  }
  static void expect_score(const ScoredToken& score, const at::Tensor& row, int64_t token, size_t likeliest) {
    EXPECT_EQ(score.own.token, token);
    EXPECT_NEAR(score.own.logprob, row[token].item<float>(), 1e-4);
    ASSERT_EQ(score.likeliest.size(), likeliest);
    const auto [values, ids] = row.topk(3);
    for (size_t k = 0; k < likeliest; ++k) {
      EXPECT_NEAR(score.likeliest[k].logprob, values[static_cast<int64_t>(k)].item<float>(), 1e-4);
      if (score.likeliest[k].token == token) EXPECT_EQ(score.likeliest[k].logprob, score.own.logprob);
    }
  }
};

TEST_F(Scores, OfPromptsAndNewTokensAreThoseOfTheWholeText) {
  for (const int64_t parts : {0, 3}) {
    SessionOptions asked = options(512);
    asked.step_tokens = parts;
    Session session(asked, tests::registry());
    const SessionRequest request{.prompt = kLong, .max_new_tokens = 4, .scores = 3, .score_prompt = true};
    const int64_t text = session.add(request);
    const int64_t only = session.add({.prompt = kOther, .max_new_tokens = 0, .scores = 1, .score_prompt = true});
    std::map<int64_t, std::vector<SessionToken>> made;
    while (session.unfinished() > 0)
      for (SessionToken& token : session.step()) made[token.sequence].push_back(std::move(token));
    ASSERT_EQ(made[text].size(), 4U);
    std::vector<int64_t> all = kLong;
    for (const SessionToken& token : made[text]) all.push_back(token.token);
    const at::Tensor rows = expected(all);
    const std::vector<ScoredToken>& prompt = made[text].front().prompt;
    ASSERT_EQ(prompt.size(), kLong.size());
    for (size_t i = 1; i < prompt.size(); ++i) expect_score(prompt[i], rows[static_cast<int64_t>(i) - 1], kLong[i], 3);
    for (size_t i = 0; i < 4; ++i)
      expect_score(made[text][i].score, rows[static_cast<int64_t>(kLong.size() + i) - 1], made[text][i].token, 3);
    EXPECT_TRUE(made[text][1].prompt.empty()) << "once";
    ASSERT_EQ(made[only].size(), 1U);
    EXPECT_EQ(made[only].front().token, -1);
    EXPECT_TRUE(made[only].front().last);
    const at::Tensor other = expected(kOther);
    for (size_t i = 1; i < kOther.size(); ++i)
      expect_score(made[only].front().prompt[i], other[static_cast<int64_t>(i) - 1], kOther[i], 1);
  }
}

TEST_F(Scores, AreNotLostWhereATextHasToWait) {
  SessionOptions asked = options(24);
  asked.step_tokens = 4;
  Session session(asked, tests::registry());
  (void)session.add({.prompt = kOther, .max_new_tokens = 18});
  const int64_t text = session.add({.prompt = kLong + kLong, .max_new_tokens = 4, .scores = 0, .score_prompt = true});
  std::vector<ScoredToken> prompt;
  while (session.unfinished() > 0)
    for (SessionToken& token : session.step())
      if (token.sequence == text && !token.prompt.empty()) prompt = std::move(token.prompt);
  const at::Tensor rows = expected(kLong + kLong);
  ASSERT_EQ(prompt.size(), 16U);
  for (size_t i = 1; i < prompt.size(); ++i)
    expect_score(prompt[i], rows[static_cast<int64_t>(i) - 1], (kLong + kLong)[i], 0);
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
  EXPECT_THROW((void)session.add({.prompt = {1}, .scores = -2}), Error);
  EXPECT_THROW((void)session.add({.prompt = {1}, .scores = 257}), Error);
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
