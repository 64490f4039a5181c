// Attention and recurrent state through hooks: sequences with pages of their own beside the same sequences computed at
// once, as they come, grow and leave.
#include <algorithm>
#include <map>
#include <random>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/attention.h>
#include <arkit/sdk/block_hooks.h>
#include <arkit/sdk/forward_context.h>
#include <arkit/sdk/paged_hook.h>
#include <arkit/sdk/testing.h>

#include "models/recurrent_model.h"

namespace arkit::sdk {
namespace {

struct Shape {
  int64_t heads, kv_heads, key_dim, value_dim, window;
  double softcap = 0.0;
};

// Queries, keys and values of a whole sequence, [1, heads, length, dim].
struct Text {
  at::Tensor query, key, value;
  [[nodiscard]] int64_t length() const { return query.size(2); }
};

Text random_text(const Shape& shape, int64_t length, at::ScalarType dtype) {
  const auto heads = [&](int64_t count, int64_t dim) {
    return at::randn({1, length, count, dim}).to(dtype).transpose(1, 2);  // as projections lie
  };
  return {heads(shape.heads, shape.key_dim), heads(shape.kv_heads, shape.key_dim),
          heads(shape.kv_heads, shape.value_dim)};
}

// At once, as a row of its own.
at::Tensor at_once(const Text& text, const Shape& shape) {
  const at::Tensor mask = attention_mask({.past = 0, .seqlen = text.length(), .window = shape.window, .key_mask = {}},
                                         text.query.scalar_type());
  return attention_ref(text.query, text.key, text.value, mask, 0.3, shape.softcap);
}

// Texts of which some are in the cache, and the results they have had so far.
class Pages {
 public:
  Pages(const Shape& shape, int64_t page_size, int64_t pages) : shape_(shape), cache_(page_size, pages) {}

  void add(int64_t name, Text text) { members_.emplace(name, Member{cache_.add(), std::move(text), {}}); }
  void remove(int64_t name) {
    cache_.remove(members_.at(name).id);
    members_.erase(name);
  }
  [[nodiscard]] int64_t left(int64_t name) const {
    const Member& member = members_.at(name);
    return member.text.length() - cache_.length(member.id);
  }
  // A forward over some more positions of each of these.
  void step(const std::vector<std::pair<int64_t, int64_t>>& counts, bool give_up = false) {
    std::vector<SequenceSpan> spans;
    std::vector<at::Tensor> query, key, value;
    for (const auto& [name, count] : counts) {
      const Member& member = members_.at(name);
      ASSERT_TRUE(cache_.reserve(member.id, count));
      spans.push_back(cache_.next(member.id, count));
      const auto part = [&, taken = count](const at::Tensor& x) { return x.narrow(2, spans.back().past, taken); };
      query.push_back(part(member.text.query));
      key.push_back(part(member.text.key));
      value.push_back(part(member.text.value));
    }
    PlainHook plain;
    PagedHook hook(plain, cache_);
    const at::Tensor row = at::cat(query, 2);
    const ForwardContext context = forward_context(1, row.size(2), {}, {}, spans);
    at::Tensor got;
    for (const int64_t block : {0, 1})  // blocks do not share pages
      got = hook.attention({.module = "attention",
                            .block = block,
                            .forward = context,
                            .query = row,
                            .key = at::cat(key, 2) * static_cast<double>(block),  // those of block 0 would show
                            .value = at::cat(value, 2),
                            .scale = 0.3,
                            .window = shape_.window,
                            .softcap = shape_.softcap});
    if (give_up) return;
    cache_.advance(spans);
    ASSERT_EQ(got.size(1), row.size(2));
    int64_t first = 0;
    for (const auto& [name, count] : counts) {
      members_.at(name).got.push_back(got.narrow(1, first, count));
      first += count;
    }
  }
  [[nodiscard]] testing::AssertionResult right(int64_t name, double tolerance) const {
    const Member& member = members_.at(name);
    return close(at::cat(member.got, 1), at_once(member.text, shape_), tolerance, tolerance);
  }
  [[nodiscard]] const SequenceCache& cache() const { return cache_; }

 private:
  struct Member {
    int64_t id;
    Text text;
    std::vector<at::Tensor> got;
  };
  Shape shape_;
  SequenceCache cache_;
  std::map<int64_t, Member> members_;
};

// Random lengths in random chunks, several sequences a forward in changing order.
TEST(PagedHook, EqualsDenseAttention) {
  at::manual_seed(21);
  std::mt19937 random(21);
  const auto below = [&](int64_t most) { return static_cast<int64_t>(random() % static_cast<uint32_t>(most)); };
  const Shape shapes[] = {{4, 4, 8, 8, 0},  {6, 2, 16, 16, 0},      {6, 2, 16, 16, 5},      {3, 1, 8, 12, 0},
                          {4, 2, 8, 8, 90}, {6, 2, 16, 16, 0, 1.0}, {6, 2, 16, 16, 5, 1.0}, {3, 1, 8, 12, 0, 1.0}};
  for (const at::ScalarType dtype : {at::kFloat, at::kBFloat16})
    for (const Shape& shape : shapes)
      for (const int64_t page_size : {1, 3, 16, 200}) {
        SCOPED_TRACE(testing::Message() << dtype << " " << shape.heads << "/" << shape.kv_heads << " window "
                                        << shape.window << " page " << page_size);
        Pages pages(shape, page_size, 5 * (130 / page_size + 1));
        std::vector<int64_t> names = {0, 1, 2, 3, 4};
        for (const int64_t name : names) pages.add(name, random_text(shape, name == 4 ? 120 : 1 + below(30), dtype));
        for (bool more = true; more;) {
          std::shuffle(names.begin(), names.end(), random);
          std::vector<std::pair<int64_t, int64_t>> counts;
          for (const int64_t name : names)
            if (pages.left(name) > 0 && below(4) > 0)
              counts.emplace_back(name, std::min(pages.left(name), below(3) == 0 ? 1 + below(70) : 1));
          if (!counts.empty()) pages.step(counts);
          more = std::any_of(names.begin(), names.end(), [&](int64_t name) { return pages.left(name) > 0; });
        }
        for (const int64_t name : names) EXPECT_TRUE(pages.right(name, dtype == at::kFloat ? 3e-6 : 2e-2)) << name;
      }
}

// Texts of one length that lie side by side go through one call; what stands beside a text changes no bit of it.
TEST(PagedHook, ATextIsTheSameAloneAndInCompany) {
  at::manual_seed(22);
  const Shape shape{6, 2, 16, 12, 0};
  std::vector<Text> texts;
  for (int64_t i = 0; i < 3; ++i) texts.push_back(random_text(shape, 12, at::kFloat));
  const auto decode = [&](const std::vector<int64_t>& which) {
    const FixedOrder fixed;
    SequenceCache cache(12, 3);
    PlainHook plain;
    PagedHook hook(plain, cache);
    std::vector<int64_t> ids;
    for (size_t i = 0; i < which.size(); ++i) {
      ids.push_back(cache.add());
      EXPECT_TRUE(cache.reserve(ids.back(), 12));
    }
    at::Tensor got;
    for (int64_t t = 0; t < 12; ++t) {
      std::vector<SequenceSpan> spans;
      for (const int64_t id : ids) spans.push_back(cache.next(id, 1));
      EXPECT_EQ(cache.run_length(spans), static_cast<int64_t>(ids.size()));
      const auto row = [&](at::Tensor Text::*member) {
        std::vector<at::Tensor> parts;
        for (const int64_t text : which) parts.push_back((texts[static_cast<size_t>(text)].*member).narrow(2, t, 1));
        return at::cat(parts, 2);
      };
      const ForwardContext context = forward_context(1, static_cast<int64_t>(ids.size()), {}, {}, spans);
      got = hook.attention({.module = "attention",
                            .forward = context,
                            .query = row(&Text::query),
                            .key = row(&Text::key),
                            .value = row(&Text::value),
                            .scale = 0.3});
      cache.advance(spans);
    }
    return got;
  };
  const at::Tensor together = decode({0, 1, 2});
  for (int64_t text = 0; text < 3; ++text) {
    const at::Tensor last = together.narrow(1, text, 1);
    EXPECT_TRUE(last.equal(decode({text}))) << text;
    EXPECT_TRUE(close(last, at_once(texts[static_cast<size_t>(text)], shape).narrow(1, 11, 1), 3e-6)) << text;
  }
}

TEST(PagedHook, SequencesComeAndLeaveWhileOthersGoOn) {
  at::manual_seed(23);
  const Shape shape{4, 2, 8, 8, 0};
  for (const int64_t page_size : {4, 40}) {
    Pages pages(shape, page_size, page_size == 4 ? 12 : 3);
    const auto text = [&](int64_t length) { return random_text(shape, length, at::kFloat); };
    pages.add(0, text(20));
    pages.add(1, text(18));
    pages.step({{0, 7}, {1, 5}});
    pages.step({{0, 1}, {1, 1}});
    const int64_t free = pages.cache().free_pages();
    pages.remove(0);  // in the middle of its text
    EXPECT_GT(pages.cache().free_pages(), free);
    pages.step({{1, 1}});
    pages.add(2, text(19));  // into the pages of 0
    pages.step({{2, 9}, {1, 1}});
    pages.add(3, text(4));
    pages.step({{3, 4}, {1, 1}, {2, 1}});
    EXPECT_TRUE(pages.right(3, 3e-6));
    pages.remove(3);
    while (pages.left(1) > 0) pages.step({{1, 1}, {2, 1}});
    EXPECT_TRUE(pages.right(1, 3e-6));
    EXPECT_EQ(pages.left(2), 0);
    EXPECT_TRUE(pages.right(2, 3e-6));
  }
}

// A forward that ends half-way, as one that is interrupted does, is as if it had not been.
TEST(PagedHook, AForwardThatIsGivenUpLeavesNoTrace) {
  at::manual_seed(24);
  const Shape shape{4, 2, 8, 8, 0};
  Pages pages(shape, 4, 6);
  pages.add(0, random_text(shape, 10, at::kFloat));
  pages.step({{0, 5}});
  pages.step({{0, 4}}, true);
  EXPECT_EQ(pages.left(0), 5);
  pages.step({{0, 1}}, true);
  pages.step({{0, 2}});
  pages.step({{0, 3}});
  EXPECT_TRUE(pages.right(0, 3e-6));
}

TEST(SequenceCache, GivesPagesAndTakesThemBack) {
  SequenceCache cache(4, 3);
  const int64_t first = cache.add(), second = cache.add();
  EXPECT_TRUE(cache.reserve(first, 5));
  EXPECT_EQ(cache.free_pages(), 1);
  EXPECT_TRUE(cache.reserve(first, 8)) << "there already";
  EXPECT_FALSE(cache.reserve(second, 5));
  EXPECT_EQ(cache.free_pages(), 1) << "nothing is taken by halves";
  EXPECT_TRUE(cache.reserve(second, 4));
  EXPECT_THROW((void)cache.next(second, 5), Error);
  cache.remove(first);
  EXPECT_EQ(cache.free_pages(), 2);
  EXPECT_THROW((void)cache.length(first), Error);
  EXPECT_TRUE(cache.reserve(second, 12));
  EXPECT_NE(cache.add(), first);
}

TEST(SequenceCache, ForgetsPositionsAndNotStates) {
  SequenceCache cache(4, 3);
  const int64_t id = cache.add();
  ASSERT_TRUE(cache.reserve(id, 10));
  const auto feed = [&](int64_t count) {
    const SequenceSpan span = cache.next(id, count);
    cache.advance({&span, 1});
  };
  feed(10);
  EXPECT_TRUE(cache.truncate(id, 10));
  EXPECT_EQ(cache.free_pages(), 0);
  EXPECT_TRUE(cache.truncate(id, 5));
  EXPECT_EQ(cache.length(id), 5);
  EXPECT_EQ(cache.free_pages(), 1) << "the second page holds one of them";
  EXPECT_THROW((void)cache.truncate(id, 6), Error);
  cache.set_states(id, "mixer", {at::ones({1})});
  feed(2);
  EXPECT_FALSE(cache.truncate(id, 6)) << "the state is that of seven positions";
  EXPECT_EQ(cache.length(id), 7);
  EXPECT_TRUE(cache.truncate(id, 7));
}

// Dense attention bends the scores of rows and of sequences alike.
TEST(PlainHook, CapsScores) {
  at::manual_seed(27);
  const Shape shape{4, 2, 8, 8, 0, 0.5};
  const Text text = random_text(shape, 6, at::kFloat);
  const SequenceSpan whole{.id = 0, .past = 0, .count = 6};
  PlainHook hook;
  for (const bool rows : {true, false}) {
    const ForwardContext forward = forward_context(1, 6, {}, {}, {&whole, rows ? 0U : 1U});
    const at::Tensor got = hook.attention({.module = "attention",
                                           .forward = forward,
                                           .query = text.query,
                                           .key = text.key,
                                           .value = text.value,
                                           .scale = 0.3,
                                           .softcap = shape.softcap});
    EXPECT_TRUE(close(got, at_once(text, shape), 2e-6));
    EXPECT_FALSE(close(got, at_once(text, {4, 2, 8, 8, 0}), 1e-3));
  }
}

TEST(Hooks, SayWhatTheyCannotDo) {
  const Text text = random_text({2, 2, 4, 4, 0}, 3, at::kFloat);
  const auto call = [&](const ForwardContext& forward) {
    return AttentionCall{.module = "attention",
                         .forward = forward,
                         .query = text.query,
                         .key = text.key,
                         .value = text.value,
                         .scale = 1.0};
  };
  const SequenceSpan later{.id = 0, .past = 4, .count = 3};
  PlainHook plain;
  EXPECT_THROW((void)plain.attention(call(forward_context(1, 3, {}, {}, {&later, 1}))), Error)
      << "nobody kept the past";
  SequenceCache cache(4, 3);
  PagedHook paged(plain, cache);
  EXPECT_THROW((void)paged.attention(call(forward_context(1, 3, {}, {}, {}))), Error) << "rows are no sequences";
  EXPECT_THROW((void)forward_context(1, 4, {}, {}, {&later, 1}), Error) << "three positions in a row of four";
  EXPECT_THROW((void)forward_context(2, 3, {}, {}, {&later, 1}), Error) << "sequences in two rows";
  EXPECT_THROW((void)forward_context(1, 3, at::ones({1, 3}), {}, {&later, 1}), Error) << "a mask";
}

TEST(ForwardContext, PositionsGoOnFromThePast) {
  const SequenceSpan spans[] = {{.id = 0, .past = 4, .count = 2}, {.id = 1, .past = 0, .count = 3}};
  EXPECT_TRUE(
      forward_context(1, 5, {}, {}, spans).positions.equal(at::tensor({4, 5, 0, 1, 2}, at::kLong).view({1, 5})));
  EXPECT_TRUE(forward_context(2, 3, {}, {}, {}).positions.equal(at::arange(3, at::kLong).view({1, 3})));
}

// Masks are made once a forward, whatever the number of blocks.
TEST(ForwardContext, SharesMasks) {
  const ForwardContext forward = forward_context(1, 6, {}, {}, {});
  const at::Tensor mask = shared_mask(forward, 0, 6, 3, at::kFloat);
  EXPECT_TRUE(shared_mask(forward, 0, 6, 3, at::kFloat).is_same(mask));
  EXPECT_FALSE(shared_mask(forward, 0, 6, 0, at::kFloat).defined());
}

using test::RecurrentModel;

at::Tensor logits_of(const RecurrentModel& model, const std::vector<int64_t>& ids) {
  PlainHook plain;
  const auto count = static_cast<int64_t>(ids.size());
  const ForwardContext context = model.context(1, count, {}, {}, {});
  at::Tensor hidden = model.embed(at::tensor(ids, at::kLong).unsqueeze(0));
  for (int64_t block = 0; block < model.num_blocks(); ++block) hidden = model.run_block(block, hidden, context, plain);
  return model.logits(hidden, plain)[0];
}

const std::vector<int64_t> kTexts[] = {{3, 1, 4, 1, 5, 9, 2, 6}, {2, 7, 1, 8, 2, 8}, {1, 6, 1, 8, 0, 3, 3, 9}};

// Rows are sequences of their own, and one row may hold several.
TEST(MixState, RowsAndSequencesBeginAfresh) {
  at::manual_seed(31);
  const RecurrentModel model(2);
  PlainHook plain;
  const at::Tensor rows = at::tensor(kTexts[0], at::kLong).view({2, 4});
  at::Tensor hidden = model.run_block(0, model.embed(rows), model.context(2, 4, {}, {}, {}), plain);
  const std::vector<SequenceSpan> spans = {{.id = 0, .count = 4}, {.id = 1, .count = 4}};
  const at::Tensor one_row =
      model.run_block(0, model.embed(rows.view({1, 8})), model.context(1, 8, {}, {}, spans), plain);
  EXPECT_TRUE(close(one_row.view({2, 4, -1}), hidden, 1e-6));
  const at::Tensor whole = model.run_block(0, model.embed(rows.view({1, 8})), model.context(1, 8, {}, {}, {}), plain);
  EXPECT_FALSE(close(whole.view({2, 4, -1}), hidden, 1e-3)) << "the state does nothing";
}

TEST(MixState, SequencesWithCachesEqualWholePasses) {
  at::manual_seed(32);
  const RecurrentModel model(3);
  PlainHook plain;
  SequenceCache cache(4, 8);
  PagedHook hook(plain, cache);
  std::map<size_t, int64_t> ids;
  std::map<size_t, at::Tensor> last;
  const auto step = [&](const std::vector<std::pair<size_t, size_t>>& counts) {
    std::vector<NewTokens> fed;
    for (const auto& [text, count] : counts) {
      if (!ids.contains(text)) ids[text] = cache.add();
      const auto done = static_cast<size_t>(cache.length(ids[text]));
      ASSERT_TRUE(cache.reserve(ids[text], static_cast<int64_t>(count)));
      fed.push_back({ids[text], std::span(kTexts[text]).subspan(done, count)});
    }
    const at::Tensor got = model.logits(feed(model, hook, cache, fed, true), hook)[0];
    ASSERT_EQ(got.size(0), static_cast<int64_t>(counts.size()));
    for (size_t i = 0; i < counts.size(); ++i) last[counts[i].first] = got[static_cast<int64_t>(i)];
  };
  const auto right = [&](size_t text) {
    const at::Tensor expected = logits_of(model, kTexts[text]);
    return close(last[text], expected[expected.size(0) - 1], 1e-5, 1e-5);
  };
  step({{0, 3}, {1, 3}});
  step({{0, 1}, {1, 1}});
  step({{1, 1}, {0, 2}, {2, 5}});
  step({{1, 1}, {2, 1}});
  EXPECT_TRUE(right(1));
  cache.remove(ids[1]);
  step({{2, 1}, {0, 1}});
  step({{0, 1}, {2, 1}});
  EXPECT_TRUE(right(0));
  EXPECT_TRUE(right(2));
}

TEST(MixState, AForwardThatIsGivenUpLeavesNoTrace) {
  at::manual_seed(33);
  const RecurrentModel model(2);
  PlainHook plain;
  SequenceCache cache(8, 1);
  PagedHook hook(plain, cache);
  const int64_t id = cache.add();
  ASSERT_TRUE(cache.reserve(id, 8));
  const std::span<const int64_t> text = kTexts[0];
  const NewTokens first{id, text.first(5)}, rest{id, text.subspan(5)};
  (void)feed(model, hook, cache, {&first, 1}, true);
  const std::vector<SequenceSpan> spans = {cache.next(id, 3)};
  (void)model.run_block(0, at::randn({1, 3, RecurrentModel::kHidden}), model.context(1, 3, {}, {}, spans), hook);
  const at::Tensor got = model.logits(feed(model, hook, cache, {&rest, 1}, false), hook)[0];
  EXPECT_TRUE(close(got, logits_of(model, kTexts[0]).narrow(0, 5, 3), 1e-5, 1e-5));
}

// Gradients pass a state as they pass attention.
TEST(MixState, IsDifferentiable) {
  at::manual_seed(34);
  const RecurrentModel model(1);
  PlainHook plain;
  const at::Tensor hidden = at::randn({2, 4, RecurrentModel::kHidden}).requires_grad_();
  model.run_block(0, hidden, model.context(2, 4, {}, {}, {}), plain).select(1, 3).sum().backward();
  EXPECT_GT(hidden.grad().select(1, 0).abs().max().item<float>(), 0.0F) << "the first position changes the last";
}

}  // namespace
}  // namespace arkit::sdk
