// `generate` and sessions under schemas and grammars, on a tiny model that writes nonsense.
#include <fstream>
#include <map>
#include <string>

#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/output_grammar.h>
#include <arkit/engine/session.h>
#include <arkit/error.h>

#include "grammar/schema_check.h"
#include "inference/support.h"

namespace arkit {
namespace {

const std::string kModel = ARKIT_TEST_DATA "/golden/source-llama-bf16";

constexpr const char* kSchema =
    R"({"type": "object", "properties": {"name": {"type": "string", "maxLength": 8}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
       "tags": {"type": "array", "items": {"enum": ["red", "blue", null]}, "maxItems": 3}}, "required": ["name", "age"]})";

class GrammarJobs : public ::testing::Test {
 protected:
  std::filesystem::path written(const std::string& name, const std::string& text) const {
    std::ofstream(folder_.path() / name) << text;
    return folder_.path() / name;
  }
  tests::ScratchFolder folder_;
};

TEST_F(GrammarJobs, WhatAModelWritesHotFitsTheSchema) {
  const json::Value schema = json::parse(kSchema, "'s'");
  int whole = 0;
  for (int64_t seed = 0; seed < 4; ++seed) {
    const json::Object made = generate({.model = kModel,
                                        .prompts = {"A person:", "Another"},
                                        .max_new_tokens = 200,
                                        .sampling = {.temperature = 1.5, .seed = seed},
                                        .json_schema = written("s.json", kSchema)},
                                       tests::registry(), tests::silent());
    for (const json::Value& output : made.at("outputs").as_array()) {
      if (output.at("ended_by") == "max_new_tokens") continue;
      ++whole;
      const std::string text(output.at("text").as_string());
      EXPECT_EQ(arkit::testing::misfit(json::parse(text, "'output'"), schema, schema), "") << text;
    }
  }
  EXPECT_GE(whole, 4);
}

TEST_F(GrammarJobs, AnOutputEndsWhereNothingMayFollow) {
  const json::Object made = generate({.model = kModel,
                                      .prompts = {"Well?"},
                                      .max_new_tokens = 50,
                                      .grammar = written("g", "root ::= \"yes\" | \"no\"")},
                                     tests::registry(), tests::silent());
  const json::Value& output = made.at("outputs").at(0);
  EXPECT_TRUE(output.at("text") == "yes" || output.at("text") == "no") << json::dump(output);
  EXPECT_EQ(output.at("ended_by"), "grammar");
}

TEST_F(GrammarJobs, SessionsFollowAGrammarForEachText) {
  std::ifstream file(kModel + "/tokenizer.json");
  const Tokenizer tokenizer(std::string(std::istreambuf_iterator<char>(file), {}), {});
  const auto words = std::make_shared<const TokenBytes>(tokenizer);
  const auto digits = std::make_shared<const OutputGrammar>(OutputRules::of_grammar("root ::= [0-9]{6}", "'g'"), words);
  Session session({.model = kModel, .cache_tokens = 1024}, tests::registry());
  const int64_t held = session.add({.prompt = {5, 6}, .max_new_tokens = 12, .sampling = {.grammar = digits}});
  const int64_t other =
      session.add({.prompt = {7}, .max_new_tokens = 12, .sampling = {.grammar = digits, .temperature = 2.0}});
  (void)session.add({.prompt = {5, 6}, .max_new_tokens = 12});
  std::map<int64_t, std::string> texts;
  std::map<int64_t, bool> complete;
  while (session.unfinished() > 0)
    for (const SessionToken& token : session.step()) {
      texts[token.sequence] += tokenizer.token_bytes(token.token);
      complete[token.sequence] = token.complete && token.last;
    }
  for (const int64_t text : {held, other}) {
    EXPECT_EQ(texts[text].size(), 6U);
    EXPECT_EQ(texts[text].find_first_not_of("0123456789"), std::string::npos) << texts[text];
    EXPECT_TRUE(complete[text]);
  }
}

TEST_F(GrammarJobs, BadSchemasAreSaidBeforeTheModelIsOpened) {
  try {
    (void)generate({.model = "no/such/model", .prompts = {"x"}, .json_schema = written("s.json", R"({"not": {}})")},
                   tests::registry(), tests::silent());
    FAIL() << "taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("s.json': #/not"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace arkit
