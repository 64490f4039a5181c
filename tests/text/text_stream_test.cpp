// Pieces of text as tokens come, against the text of all of them.
#include "text/text_stream.h"

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <gtest/gtest.h>

namespace {

using arkit::Tokenizer;
using arkit::text::TextStream;

Tokenizer load(const std::string& name) {
  std::ifstream in(std::string(ARKIT_TEST_DATA) + "/text/tokenizers/" + name + ".json", std::ios::binary);
  return Tokenizer(std::string(std::istreambuf_iterator<char>(in), {}), {});
}

const std::string kText = " Hello  world,\n\nder Bär frißt 你好世界 👩‍👧 und 🎉.  Ende";

bool begins_a_character(const std::string& text, size_t at) {
  return at >= text.size() || (static_cast<unsigned char>(text[at]) & 0xC0) != 0x80;
}

class Streams : public testing::TestWithParam<std::string> {
 protected:
  const Tokenizer tokenizer_ = load(GetParam());
  const std::vector<int64_t> ids_ = tokenizer_.encode(kText);
  const std::string whole_ = tokenizer_.decode(ids_);
};

TEST_P(Streams, GiveTheTextOfAllTokensInWholeCharacters) {
  TextStream stream(tokenizer_, {});
  std::string shown;
  size_t pieces = 0;
  const auto take = [&](const std::string& piece) {
    EXPECT_TRUE(begins_a_character(piece, 0)) << piece;
    EXPECT_EQ(piece.find("\uFFFD"), std::string::npos) << "half a character was shown";
    pieces += piece.empty() ? 0 : 1;
    shown += piece;
    EXPECT_TRUE(whole_.starts_with(shown)) << shown;
  };
  for (const int64_t id : ids_) take(stream.push(id));
  take(stream.finish());
  EXPECT_EQ(shown, whole_);
  EXPECT_EQ(stream.text(), whole_);
  EXPECT_FALSE(stream.stopped());
  EXPECT_GT(pieces, 12U) << "as it comes, not at the end";
}

// Every part of the text as a stop text: within a token, over several, of characters of several tokens.
TEST_P(Streams, EndBeforeAnyStopText) {
  for (size_t begin = 0; begin < whole_.size(); ++begin)
    for (const size_t length : {1, 2, 3, 4, 7, 11, 23}) {
      if (begin + length > whole_.size() || !begins_a_character(whole_, begin) ||
          !begins_a_character(whole_, begin + length))
        continue;
      const std::string stop = whole_.substr(begin, length), wanted = whole_.substr(0, whole_.find(stop));
      TextStream stream(tokenizer_, {"never written", stop});
      std::string shown;
      for (const int64_t id : ids_) {
        shown += stream.push(id);
        ASSERT_TRUE(wanted.starts_with(shown)) << "stop '" << stop << "', shown '" << shown << "'";
      }
      shown += stream.finish();
      EXPECT_TRUE(stream.stopped()) << stop;
      EXPECT_EQ(shown, wanted) << stop;
    }
}

TEST_P(Streams, TheFirstOfSeveralStopTextsCounts) {
  TextStream stream(tokenizer_, {"Ende", "world", "Bär"});
  std::string shown;
  for (const int64_t id : ids_) shown += stream.push(id);
  EXPECT_EQ(shown, whole_.substr(0, whole_.find("world")));
  EXPECT_EQ(stream.push(ids_.front()) + stream.finish(), "") << "nothing comes behind it";
}

// What only looked like one is not lost.
TEST_P(Streams, ABeginningThatDoesNotGoOnIsShown) {
  TextStream stream(tokenizer_, {"worldwide", "Ende der Welt"});
  std::string shown;
  for (const int64_t id : ids_) shown += stream.push(id);
  EXPECT_TRUE(shown.ends_with("  ")) << "Ende may be a beginning: '" << shown << "'";
  EXPECT_EQ(shown + stream.finish(), whole_);
  EXPECT_FALSE(stream.stopped());
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, Streams,
                         testing::Values("bpe_gpt2", "bpe_qwen2", "bpe_llama3", "spbpe_llama2", "spbpe_gemma",
                                         "spbpe_llama2_metaspace_first"));

// Bytes that never become a character are shown in the end, and do not hold up what follows.
TEST(Stream, BytesThatAreNoTextAreShown) {
  const Tokenizer tokenizer = load("spbpe_llama2");
  const auto byte = tokenizer.token_to_id("<0xE4>");
  ASSERT_TRUE(byte);
  TextStream stream(tokenizer, {});
  std::string shown;
  for (int i = 0; i < 40; ++i) shown += stream.push(*byte);
  EXPECT_GT(shown.size(), 60U);
  const std::vector<int64_t> word = tokenizer.encode("word", false);
  for (const int64_t id : word) shown += stream.push(id);
  shown += stream.finish();
  EXPECT_TRUE(shown.ends_with("word")) << shown;
  size_t unknown = 0;
  for (size_t at = 0; (at = shown.find("\uFFFD", at)) != std::string::npos; ++at) ++unknown;
  EXPECT_EQ(unknown, 40U);
}

TEST(Stream, AnEndInTheMiddleOfACharacterIsShownAsOne) {
  const Tokenizer tokenizer = load("spbpe_llama2");
  TextStream stream(tokenizer, {});
  EXPECT_EQ(stream.push(*tokenizer.token_to_id("<0xE4>")), "");
  EXPECT_EQ(stream.finish(), "\uFFFD");
}

// A special token between words has no text, and takes none from the next.
TEST(Stream, SpecialTokensLeaveTheBlanksOfTheNextWord) {
  const Tokenizer tokenizer = load("spbpe_llama2");
  std::vector<int64_t> ids = tokenizer.encode("one", false);
  for (int i = 0; i < 3; ++i) ids.push_back(*tokenizer.token_to_id("</s>"));
  for (const int64_t id : tokenizer.encode("two three", false)) ids.push_back(id);
  TextStream stream(tokenizer, {});
  std::string shown;
  for (const int64_t id : ids) shown += stream.push(id);
  EXPECT_EQ(shown + stream.finish(), tokenizer.decode(ids));
}

TEST(Stream, StopTextsThatCannotBeAreRefused) {
  for (const std::string bad : {"", "\xC3", "a\xFF"})
    EXPECT_THROW(arkit::text::check_stop_texts(std::vector<std::string>{"fine", bad}), arkit::Error) << bad;
  EXPECT_NO_THROW(arkit::text::check_stop_texts(std::vector<std::string>{"é", "\n"}));
}

}  // namespace
