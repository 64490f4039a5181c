// Tokens under a grammar: what may come, and that what comes is what was asked for.
#include "inference/constraint.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/reading.h"
#include "grammar/schema_check.h"
#include "grammar/token_filter.h"
#include "inference/sampler.h"

namespace arkit {
namespace {

constexpr std::string_view kBytesOfTokens[] = {
    "\"",     "{\"",  "\":",  "\": ", "\", \"", "\"}",   "\",\n  \"", "},",     "}]",       "]}",
    "[]",     "{}",   "[[",   "00",   "12",     "true",  "null",      "false",  "-1",       "0.",
    "e+",     "\\u",  "\\\"", "name", "age",    "item",  "\u00e9",    "\u20ac", "\xF0\x9F", "\x98\x80",
    "\xAC\"", "the ", "  ",   "\n  ", " {",     "rules", "abcdefgh"};

// All bytes but one that may be left out, some words, two of them twice, and an end of text that is special: tokenizer.json of a byte-level model.
Tokenizer tokenizer(char without = 0) {
  json::Object vocabulary;
  const auto add = [&](std::string_view bytes) {
    std::string token;
    for (const char c : bytes) {
      const auto byte = static_cast<unsigned char>(c);
      uint32_t code = byte, next = 0x100;
      for (uint32_t b = 0; b < 256; ++b) {
        const bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte && !itself) code = next;
        if (!itself) ++next;
      }
      if (code < 0x80) {
        token += static_cast<char>(code);
      } else {
        token += static_cast<char>(0xC0 | code >> 6);
        token += static_cast<char>(0x80 | (code & 0x3F));
      }
    }
    vocabulary.emplace(token, vocabulary.size());
  };
  for (int byte = 0; byte < 256; ++byte)
    if (without == 0 || static_cast<char>(byte) != without) add(std::string(1, static_cast<char>(byte)));
  for (const std::string_view bytes : kBytesOfTokens)
    if (bytes.size() > 1) add(bytes);
  const auto end = static_cast<int64_t>(vocabulary.size());
  const json::Object file{
      {"added_tokens", json::Array{json::Object{{"id", end}, {"content", "<end>"}, {"special", true}}}},
      {"pre_tokenizer", json::Object{{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"decoder", json::Object{{"type", "ByteLevel"}}},
      {"model", json::Object{{"type", "BPE"}, {"vocab", vocabulary}, {"merges", json::Array()}}}};
  return Tokenizer(json::dump(file), {});
}

class Constrained : public ::testing::Test {
 protected:
  Constrained()
      : tokenizer_(tokenizer()),
        words_(std::make_shared<const TokenBytes>(tokenizer_)),
        end_(*tokenizer_.token_to_id("<end>")) {}

  std::shared_ptr<const OutputGrammar> of(OutputRules rules) const {
    return std::make_shared<const OutputGrammar>(std::move(rules), words_);
  }

  // Picks at temperature 1.5 from logits that are noise; nullopt when it has not ended after so many tokens.
  std::optional<std::string> write(const std::shared_ptr<const OutputGrammar>& grammar, int seed,
                                   int most = 3000) const {
    Constraint constraint(grammar, std::vector<int64_t>{end_});
    Sampler sampler({.temperature = 1.5, .seed = seed});
    std::mt19937 random(static_cast<unsigned>(seed));
    std::normal_distribution<float> noise(0.0F, 2.0F);
    std::vector<float> logits(static_cast<size_t>(end_) + 8);  // models have more rows than tokens
    std::string text;
    for (int i = 0; i < most; ++i) {
      for (float& logit : logits) logit = noise(random);
      const int64_t token = sampler.pick(constraint.allowed(logits));
      constraint.add(token);
      if (token == end_) return text;
      text += tokenizer_.token_bytes(token);
      if (constraint.complete()) return text;
    }
    return std::nullopt;
  }

  Tokenizer tokenizer_;
  std::shared_ptr<const TokenBytes> words_;
  int64_t end_;
};

constexpr const char* kSchemas[] = {
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
       "email": {"type": "string", "pattern": "^[a-z]{1,8}@[a-z]{2,5}\\.(com|org)$"}, "tags": {"type": "array", "items": {"enum": ["a", "bb", "\"q\"", 3, null]}, "maxItems": 4}},
       "required": ["name", "age"], "additionalProperties": false})",
    R"({"$ref": "#/$defs/node", "$defs": {"node": {"type": "object", "properties": {"value": {"type": ["integer", "null"]},
       "next": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}, "required": ["value", "next"]}}})",
    R"({"type": "array", "prefixItems": [{"type": "boolean"}, {"type": "number"}], "items": {"type": "string", "minLength": 1, "maxLength": 3}, "minItems": 3, "maxItems": 6})",
    R"({"oneOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number", "exclusiveMinimum": 0}}, "required": ["kind", "r"]},
       {"type": "object", "properties": {"kind": {"const": "box"}, "w": {"type": "integer", "minimum": -20, "exclusiveMaximum": 7}, "h": {"type": "integer"}}, "required": ["kind", "w"]}]})",
    R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"properties": {"a": {"minimum": 10}, "b": {"type": "string", "pattern": "^\\S{1,4}$"}}, "required": ["b"]}]})",
    R"({"type": "object", "properties": {"id": {"type": "integer"}}, "additionalProperties": {"type": "boolean"}, "required": ["id"]})",
    R"({"type": "object"})",
    R"(true)"};

// Random tokens, and every output is JSON that fits.
TEST_F(Constrained, OutputsParseAndFitTheirSchema) {
  for (const char* text : kSchemas) {
    SCOPED_TRACE(text);
    const json::Value schema = json::parse(text, "'s'");
    const auto grammar = of(OutputRules::json_schema(schema, "'s'"));
    int ended = 0;
    for (int seed = 0; seed < 40; ++seed) {
      const auto output = write(grammar, seed);
      if (!output) continue;
      ++ended;
      json::Value value;
      // Names that a schema leaves open may come twice, which arkit's own reader refuses.
      try {
        value = json::parse(*output, "'output'");
      } catch (const Error& error) {
        EXPECT_NE(std::string(error.what()).find("twice"), std::string::npos) << error.what() << "\n" << *output;
        continue;
      }
      EXPECT_EQ(testing::misfit(value, schema, schema), "") << *output;
    }
    EXPECT_GE(ended, 30);
  }
}

// The filter against the plain question, token by token.
TEST_F(Constrained, MasksAreThoseOfEveryTokenTried) {
  std::mt19937 random(7);
  for (const char* text : kSchemas) {
    const auto automaton = testing::of_schema(text);
    grammar::TokenFilter filter(automaton, words_->trie());
    for (int seed = 0; seed < 4; ++seed) {
      grammar::SetId set = filter.machine().start();
      for (int step = 0; step < 60; ++step) {
        const grammar::TokenBits bits = filter.allowed(set);
        std::vector<int64_t> may;
        for (int64_t token = 0; token < words_->trie().tokens(); ++token) {
          grammar::SetId after = set;
          for (const char c : words_->trie().bytes(token))
            after = filter.machine().next(after, static_cast<uint8_t>(c));
          const bool fits = !words_->trie().bytes(token).empty() && after != grammar::Machine::kDead;
          ASSERT_EQ((bits[static_cast<size_t>(token) / 64] >> (token % 64) & 1) == 1, fits)
              << "token '" << words_->trie().bytes(token) << "' at step " << step << " of " << text;
          if (fits) may.push_back(token);
        }
        if (may.empty()) break;
        for (const char c : words_->trie().bytes(may[random() % may.size()]))
          set = filter.machine().next(set, static_cast<uint8_t>(c));
      }
    }
  }
}

TEST_F(Constrained, TheEndComesWhereTheTextIsCompleteAndNowhereElse) {
  const auto grammar = of(OutputRules::of_grammar("root ::= \"ab\" \"c\"*", "'g'"));
  Constraint constraint(grammar, std::vector<int64_t>{end_});
  const std::vector<float> logits(static_cast<size_t>(end_) + 1, 1.0F);
  const auto may_end = [&] { return std::isfinite(constraint.allowed(logits)[static_cast<size_t>(end_)]); };
  EXPECT_FALSE(may_end());
  constraint.add('a');
  EXPECT_FALSE(may_end());
  constraint.add('b');
  EXPECT_TRUE(may_end());
  EXPECT_FALSE(constraint.complete()) << "more may come";
  const auto allowed = constraint.allowed(logits);
  EXPECT_EQ(std::count_if(allowed.begin(), allowed.end(), [](float x) { return std::isfinite(x); }), 2);
  EXPECT_THROW(constraint.add('x'), Error);
  Constraint word(of(OutputRules::of_grammar("root ::= \"ab\"", "'g'")), std::vector<int64_t>{end_});
  word.add('a');
  EXPECT_FALSE(word.complete());
  word.add('b');
  EXPECT_TRUE(word.complete());
}

// A stop id that is text ends outputs, and would do it in the middle of a string.
TEST_F(Constrained, StopIdsAreNoText) {
  Constraint constraint(of(OutputRules::of_grammar("root ::= \"x\"+", "'g'")), std::vector<int64_t>{'x', end_});
  const std::vector<float> logits(static_cast<size_t>(end_) + 1, 1.0F);
  EXPECT_FALSE(std::isfinite(constraint.allowed(logits)['x']));
}

TEST_F(Constrained, WithoutAGrammarNothingIsTouched) {
  Constraint constraint;
  const std::vector<float> logits(10, 1.0F);
  EXPECT_EQ(constraint.allowed(logits).data(), logits.data());
  constraint.add(3);
  EXPECT_FALSE(constraint.complete());
}

// Deep texts make many sets: what is known is given up, and outputs go on as before.
TEST_F(Constrained, WhatIsFoundOutStaysBounded) {
  const auto grammar = of(OutputRules::of_grammar("root ::= \"(\" root \")\" root | \"\"", "'g'"));
  Constraint deep(grammar, std::vector<int64_t>{end_}), other(grammar, std::vector<int64_t>{end_});
  const std::vector<float> logits(static_cast<size_t>(end_) + 1, 1.0F);
  other.add('(');
  for (int i = 0; i < 60000; ++i) {
    (void)deep.allowed(logits);
    deep.add('(');
  }
  EXPECT_TRUE(std::isfinite(other.allowed(logits)[')']));
  other.add(')');
  EXPECT_TRUE(std::isfinite(other.allowed(logits)[static_cast<size_t>(end_)]));
}

TEST_F(Constrained, AVocabularyThatLacksABytesIsRefused) {
  const json::Object file{
      {"decoder", json::Object{{"type", "ByteLevel"}}},
      {"model",
       json::Object{{"type", "BPE"}, {"vocab", json::Object{{"a", 0}, {"ab", 1}}}, {"merges", json::Array()}}}};
  const Tokenizer small(json::dump(file), {});
  const auto words = std::make_shared<const TokenBytes>(small);
  EXPECT_NO_THROW(OutputGrammar(OutputRules::of_grammar("root ::= \"a\"+", "'g'"), words));
  try {
    OutputGrammar grammar(OutputRules::of_grammar("root ::= \"ab\"", "'g'"), words);
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
  }
}

// Real vocabularies have no token for the first byte of the rarest planes: texts of others can still be written.
TEST_F(Constrained, BytesThatAreNeverTheOnlyWayMayBeMissing) {
  const Tokenizer without = tokenizer('\xF1');
  const auto words = std::make_shared<const TokenBytes>(without);
  const OutputGrammar any(OutputRules::json_schema(json::Object{{"type", "string"}}, "s"), words);
  try {
    const OutputGrammar one(OutputRules::json_schema(json::Object{{"const", "\xF1\x80\x80\x80"}}, "s"), words);
    FAIL() << "an output would get stuck";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("the byte 241 alone"), std::string::npos) << error.what();
  }
}

TEST(TokenBytesOfDecoders, AreWhatATokenAddsToAText) {
  const auto bytes = [](const json::Value& decoder, const char* token) {
    const json::Object file{
        {"decoder", decoder},
        {"model", json::Object{{"type", "BPE"}, {"vocab", json::Object{{token, 0}}}, {"merges", json::Array()}}}};
    return Tokenizer(json::dump(file), {}).token_bytes(0);
  };
  const json::Value sentence_piece = json::Object{
      {"type", "Sequence"},
      {"decoders",
       json::Array{json::Object{{"type", "Replace"}, {"pattern", json::Object{{"String", "\u2581"}}}, {"content", " "}},
                   json::Object{{"type", "ByteFallback"}}, json::Object{{"type", "Fuse"}},
                   json::Object{{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}}}};
  EXPECT_EQ(bytes(sentence_piece, "\u2581the"), " the") << "the blank is taken from the first token alone";
  EXPECT_EQ(bytes(sentence_piece, "<0xE2>"), "\xE2");
  EXPECT_EQ(bytes(json::Object{{"type", "ByteLevel"}}, "\u0120\u00e2\u0124"), " \xE2\x82");
  EXPECT_EQ(
      bytes(json::Object{{"type", "Metaspace"}, {"replacement", "\u2581"}, {"prepend_scheme", "always"}}, "\u2581a"),
      " a");
  EXPECT_THROW((void)bytes(json::Object{{"type", "BPEDecoder"}}, "a</w>"), Error);
  EXPECT_THROW((void)bytes(nullptr, "a"), Error);
}

}  // namespace
}  // namespace arkit
