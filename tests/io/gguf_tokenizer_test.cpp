#include "gguf_tokenizer.h"

#include <cstdlib>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/tokenizer.h>

#include "gguf_source.h"
#include "gguf_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::gguf_bool;
using testing::gguf_f32s;
using testing::gguf_i32s;
using testing::gguf_text;
using testing::gguf_texts;
using testing::gguf_u32;
using testing::GgufBuilder;

// Keeps the bytes that the parsed metadata refer to.
struct Parsed {
  explicit Parsed(const GgufBuilder& builder)
      : bytes(builder.bytes()), file(gguf::parse_gguf(std::as_bytes(std::span(bytes)), "'f'")) {}
  [[nodiscard]] json::Value tokenizer() const {
    return json::parse(gguf::make_tokenizer_json(file.metadata), "tokenizer");
  }
  std::string bytes;
  gguf::File file;
};

GgufBuilder byte_level(const char* pre) {
  GgufBuilder builder;
  builder.pairs = {{"tokenizer.ggml.model", gguf_text("gpt2")},
                   {"tokenizer.ggml.pre", gguf_text(pre)},
                   {"tokenizer.ggml.tokens", gguf_texts({"<s>", "a", "b", "ab", "<user>", "[PAD5]"})},
                   {"tokenizer.ggml.token_type", gguf_i32s({3, 1, 1, 1, 4, 5})},
                   {"tokenizer.ggml.merges", gguf_texts({"a b"})},
                   {"tokenizer.ggml.bos_token_id", gguf_u32(0)}};
  return builder;
}

TEST(GgufTokenizer, RebuildsByteLevelBpe) {
  const json::Value t = Parsed(byte_level("smollm")).tokenizer();
  EXPECT_EQ(json::dump(t.at("model").at("vocab")), R"({"<s>": 0, "a": 1, "b": 2, "ab": 3, "<user>": 4})");
  EXPECT_EQ(json::dump(t.at("model").at("merges")), R"([["a", "b"]])");
  EXPECT_EQ(t.at("model").at("ignore_merges"), false);
  EXPECT_EQ(t.at("pre_tokenizer").at("pretokenizers").at(0).at("type"), "Digits");
  ASSERT_EQ(t.at("added_tokens").as_array().size(), 2u);
  EXPECT_EQ(t.at("added_tokens").at(0).at("special"), true);
  EXPECT_EQ(t.at("added_tokens").at(1).at("content"), "<user>");
  EXPECT_EQ(t.at("added_tokens").at(1).at("special"), false);
  EXPECT_TRUE(t.at("post_processor").is_null());
}

TEST(GgufTokenizer, AddsBosAsLlamaCppDoes) {
  const json::Value t = Parsed(byte_level("llama-bpe")).tokenizer();  // adds BOS when the file says nothing
  EXPECT_EQ(t.at("model").at("ignore_merges"), true);
  EXPECT_EQ(json::dump(t.at("post_processor").at("single")),
            R"([{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}])");
  GgufBuilder builder = byte_level("llama-bpe");
  builder.pairs.emplace_back("tokenizer.ggml.add_bos_token", gguf_bool(false));
  EXPECT_TRUE(Parsed(builder).tokenizer().at("post_processor").is_null());
}

TEST(GgufTokenizer, RefusesUnknownPartsByName) {
  EXPECT_ERROR(Parsed(byte_level("bloom")).tokenizer(), "unsupported", "pre-tokenizer 'bloom'");
  GgufBuilder builder = byte_level("smollm");
  builder.pairs[0].second = gguf_text("bert");
  EXPECT_ERROR(Parsed(builder).tokenizer(), "unsupported", "tokenizer model 'bert'");
  builder.pairs[0].second = gguf_text("llama");
  EXPECT_ERROR(Parsed(builder).tokenizer(), "input", "'tokenizer.ggml.scores' has 0 entries");
}

TEST(GgufTokenizer, RefusesArraysThatDoNotFit) {
  const auto with = [](size_t index, const std::string& value) {
    GgufBuilder builder = byte_level("smollm");
    builder.pairs[index].second = value;
    return Parsed(builder).tokenizer();
  };
  EXPECT_ERROR(with(2, gguf_texts({})), "input", "'tokenizer.ggml.tokens' is missing");
  EXPECT_ERROR(with(2, gguf_texts({"a", "b", "c", "d", "e", "\xff"})), "input", "not valid UTF-8");
  EXPECT_ERROR(with(3, gguf_i32s({1, 1})), "input", "2 entries for 6 tokens");
  EXPECT_ERROR(with(3, gguf_i32s({1, 1, 1, 1, 1, 1, 1})), "input", "has 7 entries, at most 6 are expected");
  EXPECT_ERROR(with(3, gguf_i32s({1, 1, 1, 1, 1, 9})), "input", "token type 9");
  EXPECT_ERROR(with(4, gguf_texts({"ab"})), "input", "merge 'ab'");
  EXPECT_ERROR(with(4, gguf_texts({"a b c"})), "input", "merge 'a b c'");
  EXPECT_ERROR(with(5, gguf_u32(6)), "input", "'tokenizer.ggml.bos_token_id' is 6");
}

TEST(GgufTokenizer, RebuildsMergesFromScores) {
  GgufBuilder builder;
  builder.pairs = {{"tokenizer.ggml.model", gguf_text("llama")},
                   {"tokenizer.ggml.tokens", gguf_texts({"<unk>", "a", "b", "c", "ab", "bc", "abc"})},
                   {"tokenizer.ggml.scores", gguf_f32s({0, -3, -4, -5, -1, -2, 0})},
                   {"tokenizer.ggml.token_type", gguf_i32s({2, 1, 1, 1, 1, 1, 1})},
                   {"tokenizer.ggml.unknown_token_id", gguf_u32(0)},
                   {"tokenizer.ggml.add_space_prefix", gguf_bool(false)}};
  const json::Value t = Parsed(builder).tokenizer();
  EXPECT_EQ(json::dump(t.at("model").at("merges")), R"([["ab", "c"], ["a", "bc"], ["a", "b"], ["b", "c"]])");
  EXPECT_EQ(t.at("model").at("unk_token"), "<unk>");
  EXPECT_EQ(json::dump(t.at("normalizer").at("normalizers")),
            "[{\"type\": \"Replace\", \"pattern\": {\"String\": \" \"}, \"content\": \"\u2581\"}]");
}

json::Value of_scores(const std::vector<std::string>& tokens) {
  GgufBuilder builder;
  builder.pairs = {{"tokenizer.ggml.model", gguf_text("llama")},
                   {"tokenizer.ggml.tokens", gguf_texts(tokens)},
                   {"tokenizer.ggml.scores", gguf_f32s(std::vector<float>(tokens.size(), 0.0F))}};
  return Parsed(builder).tokenizer();
}

// A megabyte of pieces would be a gigabyte of merges: every piece is two others in as many ways as it has bytes.
TEST(GgufTokenizer, RefusesPiecesThatAreMadeOfEachOtherInEveryWay) {
  std::vector<std::string> runs, cuts;
  for (char c = 'a'; c < 'i'; ++c)
    for (size_t size = 1; size <= 512; ++size) runs.emplace_back(size, c);
  EXPECT_ERROR(of_scores(runs), "input", "which is longer than pieces of words are");
  std::string text;
  for (uint64_t state = 1; text.size() < 2000; state = state * 6364136223846793005U + 1442695040888963407U)
    text += static_cast<char>('a' + (state >> 40) % 26);
  for (size_t size = 1; size <= 24; ++size)
    for (size_t at = 0; at + size <= text.size(); ++at) cuts.push_back(text.substr(at, size));
  EXPECT_ERROR(of_scores(cuts), "input", "are made of each other in more than");
  // Runs of blanks, as code models have them, are fine.
  runs.resize(64);
  EXPECT_EQ(of_scores(runs).at("model").at("merges").as_array().size(), 64U * 63 / 2);
}

TEST(GgufTokenizer, RefusesMoreAddedTokensThanModelsHave) {
  const std::vector<std::string> tokens((1 << 17) + 1, "x");
  GgufBuilder builder;
  builder.pairs = {{"tokenizer.ggml.model", gguf_text("llama")},
                   {"tokenizer.ggml.tokens", gguf_texts(tokens)},
                   {"tokenizer.ggml.token_type", gguf_i32s(std::vector<int32_t>(tokens.size(), 3))}};
  EXPECT_ERROR(Parsed(builder).tokenizer(), "input", "more than 131072 tokens are control or user-defined ones");
}

TEST(GgufTokenizer, RefusesATemplateNamedTwice) {
  GgufBuilder builder = byte_level("smollm");
  builder.pairs.emplace_back("tokenizer.chat_templates", gguf_texts({"tool_use", "rag", "tool_use"}));
  builder.pairs.emplace_back("tokenizer.chat_template.tool_use", gguf_text("{{ messages }}"));
  EXPECT_ERROR(gguf::make_tokenizer_config(Parsed(builder).file.metadata, {}), "input", "names 'tool_use' twice");
}

// The tiny model's tokenizer.json, which the GGUF was made from, comes back but for what GGUF does not hold.
TEST(GgufTokenizer, EqualsTheSourceOfTheTinyModel) {
  const fs::path data = fs::path(ARKIT_TEST_DATA) / "gguf";
  const auto source = gguf::open_gguf(data / "llama_quantize-q4_k_m.gguf");
  const json::Value made = json::parse(source->tokenizer()->tokenizer_json(), "made");
  const json::Value original = json::read_file(data / "source-llama-bf16/tokenizer.json");
  for (const char* key : {"added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder"})
    EXPECT_EQ(made.at(key), original.at(key)) << key;
  for (const char* key : {"vocab", "merges", "unk_token", "byte_fallback", "fuse_unk"})
    EXPECT_EQ(made.at("model").at(key), original.at("model").at(key)) << key;
  const json::Object config = source->tokenizer()->tokenizer_config();
  EXPECT_EQ(config.at("bos_token"), "<s>");
  EXPECT_EQ(config.at("eos_token"), "</s>");
  EXPECT_EQ(config.at("add_bos_token"), true);
}

constexpr std::string_view kText =
    "The quick brown fox; don't stop: it's the end... \u00e9t\u00e9 na\u00efve \u4f60\u597d \U0001F680\n\nThen <s> and "
    "</s>, tabs\tand 3 or 42.";

TEST(GgufTokenizer, GivesTheIdsOfTheSourceOfTheTinyModel) {
  const fs::path data = fs::path(ARKIT_TEST_DATA) / "gguf";
  const auto source = gguf::open_gguf(data / "llama_quantize-q4_k_m.gguf");
  const Tokenizer made(source->tokenizer()->tokenizer_json(), source->tokenizer()->tokenizer_config());
  const Tokenizer original(json::dump(json::read_file(data / "source-llama-bf16/tokenizer.json")), {});
  EXPECT_GT(original.encode(kText).size(), 20u);
  EXPECT_EQ(made.encode(kText), original.encode(kText));
  EXPECT_EQ(made.encode(kText, false), original.encode(kText, false));
}

// transformers rebuilds this tokenizer without its Digits step (docs/spec/tokenizers.md 5), so numbers behind several
// blanks differ; the GGUF says "smollm" and is followed.
TEST(GgufTokenizer, GivesTheIdsOfSmolLM2) {
  const char* file = std::getenv("ARKIT_SMOLLM2_GGUF");
  const char* folder = std::getenv("ARKIT_SMOLLM2_HF");
  if (file == nullptr || folder == nullptr) GTEST_SKIP() << "needs ARKIT_SMOLLM2_GGUF and ARKIT_SMOLLM2_HF";
  const auto source = gguf::open_gguf(file);
  const auto reference = open_hf_folder(folder);
  const Tokenizer made(source->tokenizer()->tokenizer_json(), source->tokenizer()->tokenizer_config());
  const Tokenizer original(reference->tokenizer()->tokenizer_json(), reference->tokenizer()->tokenizer_config());
  EXPECT_EQ(made.encode(kText), original.encode(kText));
  EXPECT_EQ(made.encode("  12"), (std::vector<int64_t>{256, 33, 34}));
  EXPECT_EQ(made.bos_id(), original.bos_id());
  EXPECT_EQ(made.eos_id(), original.eos_id());
  EXPECT_TRUE(made.has_chat_template());
}

}  // namespace
}  // namespace arkit
