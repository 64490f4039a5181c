// The end of a text: scores against a forward of each text on its own, and the job that reads LAMBADA's file.
#include "inference/continuation_eval.h"

#include <cmath>
#include <fstream>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>

#include "inference/support.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

// Every byte is a token: the alphabet of byte-level BPE without merges.
std::string byte_tokenizer() {
  json::Object vocab;
  int extra = 0;
  for (int byte = 0; byte < 256; ++byte) {
    const bool shown = (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int point = shown ? byte : 256 + extra++;
    std::string utf8;
    if (point < 0x80) {
      utf8 = static_cast<char>(point);
    } else {
      utf8 = {static_cast<char>(0xC0 | (point >> 6)), static_cast<char>(0x80 | (point & 0x3F))};
    }
    vocab[utf8] = byte;
  }
  const json::Object level{
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", true}, {"use_regex", true}};
  return json::dump(
      json::Object{{"version", "1.0"},
                   {"added_tokens", json::Array{}},
                   {"normalizer", nullptr},
                   {"pre_tokenizer", level},
                   {"post_processor", nullptr},
                   {"decoder", level},
                   {"model", json::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", json::Array{}}}}});
}

TEST(LastWord, ScoresTextsOfAnyLengthAsIfEachWereAlone) {
  const auto source = open_hf_folder(tests::model_folder("llama"));
  Engine engine(*source, tests::registry(), at::kFloat, "");
  at::manual_seed(3);
  std::vector<Continuation> items;
  for (const int64_t length : {7, 16, 2, 11, 11}) {
    const at::Tensor ids = at::randint(0, 256, {length}, at::kLong);
    items.push_back({.ids{ids.data_ptr<int64_t>(), ids.data_ptr<int64_t>() + length}, .target = length > 8 ? 3 : 1});
  }
  engine.load_all();
  // The second text ends as greedy decoding would have it.
  for (size_t i = items[1].ids.size() - 3; i < items[1].ids.size(); ++i) {
    const std::vector<int64_t> head(items[1].ids.begin(), items[1].ids.begin() + static_cast<std::ptrdiff_t>(i));
    items[1].ids[i] = engine.forward(at::tensor(head).unsqueeze(0), {}, {}, true).argmax().item<int64_t>();
  }
  std::vector<double> expected;
  for (const Continuation& item : items) {
    const at::Tensor log_probs =
        engine.forward(at::tensor(item.ids).unsqueeze(0), {}, {}, false)[0].to(at::kDouble).log_softmax(-1);
    double sum = 0.0;
    for (size_t i = item.ids.size() - static_cast<size_t>(item.target); i < item.ids.size(); ++i)
      sum += log_probs[static_cast<int64_t>(i) - 1][item.ids[i]].item<double>();
    expected.push_back(sum);
  }
  for (const int64_t batch : {1, 2, 8}) {
    const auto scores = score_continuations(engine, items, batch, tests::silent());
    for (size_t i = 0; i < items.size(); ++i) EXPECT_NEAR(scores[i].log_likelihood, expected[i], 1e-4) << i;
    EXPECT_TRUE(scores[1].greedy);
  }
}

class LastWordJob : public testing::Test {
 protected:
  LastWordJob() {
    fs::copy(tests::model_folder("llama"), model_);
    std::ofstream(model_ / "tokenizer.json") << byte_tokenizer();
  }
  json::Object run(const std::string& lines, LastWordOptions options = {}) const {
    options.file = scratch_.path() / "texts.jsonl";
    std::ofstream(options.file) << lines;
    options.model = model_.string();
    return evaluate_last_words(options, tests::registry(), tests::silent());
  }

 private:
  tests::ScratchFolder scratch_;
  fs::path model_ = scratch_.path() / "model";
};

TEST_F(LastWordJob, CountsTextsAndTokens) {
  const std::string lines = "{\"text\": \"the cat sat\"}\n\n{\"text\": \"a b \"}\n{\"text\": \"one two\"}\n";
  const json::Object all = run(lines);
  EXPECT_EQ(all.at("texts"), 3);
  EXPECT_EQ(all.at("tokens"), 11 + 3 + 7) << "blanks at the end of a text do not count";
  EXPECT_NEAR(std::log(all.at("perplexity").as_double()), -all.at("log_likelihood").as_double(), 1e-9);
  EXPECT_EQ(run(lines, {.limit = 2}).at("texts"), 2);
}

TEST_F(LastWordJob, RefusesWhatHasNoLastWord) {
  for (const char* lines : {"{\"text\": \"word\"}", "", "{\"text\": \"\"}", "{\"text\": 5}", "{\"text\"", " "})
    EXPECT_THROW((void)run(lines), Error) << lines;
  EXPECT_THROW((void)run("{\"text\": \"a b\"}", {.limit = 0}), Error);
  EXPECT_THROW((void)run("{\"text\": \"a b\"}", {.batch_size = 0}), Error);
  EXPECT_THROW((void)run("{\"text\": \"" + std::string(100000, 'x') + " y\"}"), Error) << "longer than the model reads";
}

}  // namespace
}  // namespace arkit
