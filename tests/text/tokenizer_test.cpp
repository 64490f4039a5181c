// Tokenizers against the Hugging Face tokenizers crate: every text of tokenizer_vectors.json through every BPE
// tokenizer there.

#include <arkit/engine/tokenizer.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

#include "text/unicode.h"

namespace {

using arkit::Error;
using arkit::ErrorCode;
using arkit::str;
using arkit::Tokenizer;
namespace json = arkit::json;

const std::string kData = std::string(ARKIT_TEST_DATA) + "/text/";

std::string read_text(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  EXPECT_TRUE(in) << path;
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

const json::Object& vectors() {
  static const json::Value value = json::read_file(kData + "tokenizer_vectors.json");
  return value.get_object();
}

std::vector<int64_t> ids_of(const json::Value& value) {
  std::vector<int64_t> ids;
  for (const json::Value& id : value.get_array()) ids.push_back(id.get_int64());
  return ids;
}

// A tokenizer.json with the given members in place of the defaults.
std::string tiny_file(const std::string& members) {
  return R"({"version":"1.0","model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"<unk>":3},"merges":["a b"]})" +
         (members.empty() ? "" : "," + members) + "}";
}

Tokenizer load(const std::string& name) {
  return Tokenizer(read_text(kData + "tokenizers/" + name + ".json"), {});
}

class Vectors : public testing::TestWithParam<std::string> {};

TEST_P(Vectors, EncodesAndDecodesLikeTheCrate) {
  const Tokenizer tokenizer = load(GetParam());
  const json::Object& expected = vectors().at("results").at(GetParam()).get_object();
  const json::Array& texts = vectors().at("texts").get_array();
  const json::Array& plain = expected.at("ids_no_special").get_array();
  const json::Array& with_special = expected.at("ids").is_null() ? plain : expected.at("ids").get_array();
  const json::Array& kept = expected.at("decode_keep_special").get_array();
  const json::Array& skipped =
      expected.at("decode_skip_special").is_null() ? kept : expected.at("decode_skip_special").get_array();
  EXPECT_EQ(tokenizer.vocab_size(), expected.at("vocab_size").get_int64());
  ASSERT_EQ(texts.size(), plain.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::string text(texts[i].get_string());
    SCOPED_TRACE(str("text ", i, ": ", arkit::printable(text)));
    const auto ids = tokenizer.encode(text, false);
    EXPECT_EQ(ids, ids_of(plain[i]));
    EXPECT_EQ(tokenizer.encode(text), ids_of(with_special[i]));
    EXPECT_EQ(tokenizer.decode(ids, false), std::string(kept[i].get_string()));
    EXPECT_EQ(tokenizer.decode(ids, true), std::string(skipped[i].get_string()));
  }
}

INSTANTIATE_TEST_SUITE_P(Bpe, Vectors,
                         testing::Values("smollm2_full", "bpe_gpt2", "bpe_gpt2_prefixspace", "bpe_llama3", "bpe_qwen2",
                                         "bpe_tekken", "bpe_o200k", "bpe_deepseek_v3", "bpe_falcon3_added",
                                         "spbpe_llama2", "spbpe_llama2_metaspace_first",
                                         "spbpe_llama2_metaspace_always_split", "spbpe_gemma"),
                         [](const auto& param) { return param.param; });

TEST(Tokenizer, ReadsTheConfigurationsSpecialTokens) {
  json::Object config;
  config["bos_token"] = "a";
  config["eos_token"] = json::Object{{"content", "<eos>"}, {"lstrip", false}};
  config["model_max_length"] = 1e30;
  const Tokenizer tokenizer(tiny_file(""), config);
  EXPECT_EQ(tokenizer.bos_id(), 0);
  EXPECT_EQ(tokenizer.eos_id(), 4);  // not in the file: appended
  EXPECT_EQ(tokenizer.pad_id(), std::nullopt);
  EXPECT_EQ(tokenizer.model_max_length(), std::nullopt);
  EXPECT_EQ(tokenizer.encode("ab<eos>b"), (std::vector<int64_t>{2, 4, 1}));
  EXPECT_EQ(tokenizer.id_to_token(2), "ab");
  EXPECT_EQ(tokenizer.id_to_token(99), "");
  EXPECT_EQ(tokenizer.id_to_token(-1), "");
  config["model_max_length"] = 4096;
  EXPECT_EQ(Tokenizer(tiny_file(""), config).model_max_length(), 4096);
}

TEST(Tokenizer, InvalidUtf8BecomesReplacementCharacters) {
  const Tokenizer tokenizer = load("bpe_gpt2");
  EXPECT_EQ(tokenizer.decode(tokenizer.encode("a\xFF"
                                              "b\xE2\x82")),
            "a\uFFFDb\uFFFD");
}

TEST(Tokenizer, AHostileWordTakesNoQuadraticTime) {
  const Tokenizer tokenizer = load("spbpe_llama2");
  const std::string text(2'000'000, 'a');  // one pre-token of two million symbols
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_FALSE(tokenizer.encode(text).empty());
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(Tokenizer, IsThreadSafe) {
  const Tokenizer tokenizer = load("bpe_llama3");
  const auto expected = tokenizer.encode("The quick brown fox jumps over the lazy dog 12345");
  std::vector<int> equal(4, 0);
  std::vector<std::thread> threads;
  for (size_t t = 0; t < equal.size(); ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i)
        equal[t] += tokenizer.encode("The quick brown fox jumps over the lazy dog 12345") == expected;
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(equal, std::vector<int>(4, 200));
}

TEST(Unicode, NormalFormsAreTheCrates) {
  for (const auto& [form, outputs] : vectors().at("normalize").get_object()) {
    const json::Array& texts = vectors().at("texts").get_array();
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string text(texts[i].get_string());
      const std::string made = form == "NFC"   ? arkit::text::to_nfc(text)
                               : form == "NFD" ? arkit::text::to_nfd(text)
                                               : arkit::text::to_lower(text);
      EXPECT_EQ(made, std::string(outputs.get_array()[i].get_string())) << std::string(form) << " of text " << i;
    }
  }
}

struct BadFile {
  std::string name, text;
  ErrorCode code;
  std::string message;  // part of it
};

class BadFiles : public testing::TestWithParam<BadFile> {};

TEST_P(BadFiles, AreRefusedWithTheReason) {
  try {
    const Tokenizer tokenizer(GetParam().text, {});
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), GetParam().code) << error.what();
    EXPECT_NE(std::string(error.what()).find(GetParam().message), std::string::npos) << error.what();
  }
}

std::string with_model(const std::string& vocab, const std::string& merges, const std::string& more = "") {
  return R"({"model":{"type":"BPE","vocab":{)" + vocab + R"(},"merges":[)" + merges + "]" + more + "}}";
}

INSTANTIATE_TEST_SUITE_P(
    Tokenizer, BadFiles,
    testing::Values(
        BadFile{"not_json", "{", ErrorCode::input, "not valid JSON"},
        BadFile{"deep_nesting", std::string(5000, '['), ErrorCode::input, "JSON"},
        BadFile{"no_model", "{}", ErrorCode::input, "'model'"},
        BadFile{"unigram", R"({"model":{"type":"Unigram","vocab":[]}})", ErrorCode::unsupported, "Unigram"},
        BadFile{"huge_id", with_model(R"("a":4000000000)", ""), ErrorCode::input, "4000000000"},
        BadFile{"negative_id", with_model(R"("a":-1)", ""), ErrorCode::input, "-1"},
        BadFile{"id_not_a_number", with_model(R"("a":"0")", ""), ErrorCode::input, "integer"},
        BadFile{"two_tokens_one_id", with_model(R"("a":0,"b":0)", ""), ErrorCode::input, "both"},
        BadFile{"token_twice", with_model(R"("a":0,"a":1)", ""), ErrorCode::input, "twice"},
        BadFile{"merge_of_unknown", with_model(R"("a":0,"b":1)", R"("a c")"), ErrorCode::input, "merge 0"},
        BadFile{"merge_to_unknown", with_model(R"("a":0,"b":1)", R"("a b")"), ErrorCode::input, "'ab'"},
        BadFile{"merge_of_three", with_model(R"("a":0)", R"("a a a")"), ErrorCode::input, "two tokens"},
        BadFile{"merge_is_a_number", with_model(R"("a":0)", "7"), ErrorCode::input, "two tokens"},
        BadFile{"unknown_unk", with_model(R"("a":0)", "", R"(,"unk_token":"<unk>")"), ErrorCode::input, "unk_token"},
        BadFile{"dropout", with_model(R"("a":0)", "", R"(,"dropout":0.1)"), ErrorCode::unsupported, "dropout"},
        BadFile{"unknown_normalizer", tiny_file(R"("normalizer":{"type":"Nmt"})"), ErrorCode::unsupported, "Nmt"},
        BadFile{"unknown_pre_tokenizer", tiny_file(R"("pre_tokenizer":{"type":"UnicodeScripts"})"),
                ErrorCode::unsupported, "UnicodeScripts"},
        BadFile{"unknown_in_sequence",
                tiny_file(R"("decoder":{"type":"Sequence","decoders":[{"type":"Fuse"},{"type":"CTC"}]})"),
                ErrorCode::unsupported, "CTC"},
        BadFile{"unknown_post_processor", tiny_file(R"("post_processor":{"type":"Magic"})"), ErrorCode::unsupported,
                "Magic"},
        BadFile{"template_id",
                tiny_file(R"("post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"x"}},)"
                          R"({"Sequence":{"id":"A"}}],"special_tokens":{"x":{"id":"x","ids":[77],"tokens":["x"]}}})"),
                ErrorCode::input, "77"},
        BadFile{"bad_regex",
                tiny_file(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(["},"behavior":"Isolated"})"),
                ErrorCode::input, "regular expression"},
        BadFile{"empty_pattern",
                tiny_file(R"("pre_tokenizer":{"type":"Split","pattern":{"String":""},"behavior":"Isolated"})"),
                ErrorCode::input, "empty"},
        BadFile{"added_without_id", tiny_file(R"("added_tokens":[{"content":"x"}])"), ErrorCode::input, "'id'"},
        BadFile{"added_id_taken", tiny_file(R"("added_tokens":[{"content":"x","id":1}])"), ErrorCode::input, "both"}),
    [](const auto& param) { return param.param.name; });

TEST(Tokenizer, ARegexThatBacktracksForeverIsStopped) {
  const Tokenizer tokenizer(
      tiny_file(R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"(a|aa)+c"},"behavior":"Isolated"})"), {});
  try {
    (void)tokenizer.encode(std::string(5000, 'a') + "bc");
    FAIL() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    EXPECT_NE(std::string(error.what()).find("gave up"), std::string::npos) << error.what();
  }
}

TEST(Tokenizer, SplitBehaviorsJoinAsTheCrateDoes) {
  const auto pieces = [](const std::string& behavior, bool invert) {
    const Tokenizer tokenizer(
        R"({"model":{"type":"BPE","ignore_merges":true,"vocab":{"a":0,"b":1,"-":2,"a-":3,"-b":4,"--":5,"--b":6},"merges":[]},)"
        R"("pre_tokenizer":{"type":"Split","pattern":{"String":"-"},"behavior":")" +
            behavior + R"(","invert":)" + (invert ? "true" : "false") + "}}",
        {});
    return tokenizer.encode("a--b");
  };
  using Ids = std::vector<int64_t>;
  EXPECT_EQ(pieces("Isolated", false), (Ids{0, 2, 2, 1}));
  EXPECT_EQ(pieces("Removed", false), (Ids{0, 1}));
  EXPECT_EQ(pieces("Removed", true), (Ids{2, 2}));
  EXPECT_EQ(pieces("MergedWithPrevious", false), (Ids{3, 2, 1}));
  EXPECT_EQ(pieces("MergedWithNext", false), (Ids{0, 2, 4}));
  EXPECT_EQ(pieces("Contiguous", false), (Ids{0, 5, 1}));
}

}  // namespace
