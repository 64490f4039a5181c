#include "calibration/text_rule.h"

#include <string>
#include <vector>

#include <arkit/error.h>
#include <arkit/json.h>
#include <gtest/gtest.h>

namespace {

namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::Document;
using arkit::calibration::RowFilter;
using arkit::calibration::TextPicker;
using arkit::calibration::TextRule;

json::Value row(const std::string& text) {
  return json::parse(text, "row");
}

struct Picked {
  Document document;
  std::string how;
};

Picked pick(const std::string& text, TextRule rule = {}) {
  TextPicker picker(std::move(rule), {}, "dataset 'x'");
  Document document = picker.document(row(text), 1);
  return {std::move(document), picker.chosen()};
}

std::string refusal(const std::string& text, TextRule rule = {}) {
  try {
    (void)pick(text, std::move(rule));
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(TextRule, UsualNamesAreFound) {
  struct Case {
    std::string row, text, how;
  };
  const std::vector<Case> cases{
      {R"("plain")", "plain", "its texts"},
      {R"({"anything":"x"})", "x", "field 'anything'"},
      {R"({"id":1,"text":"x","content":"y"})", "x", "field 'text'"},
      {R"({"id":1,"content":"y","title":"z"})", "y", "field 'content'"},
      {R"({"id":1,"text":null,"content":"y"})", "y", "field 'content'"},
      {R"({"input_ids":"x","n":1})", "x", "field 'input_ids'"},
      {R"({"id":1,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]})", "ab",
       "field 'messages'"},
      {R"({"id":1,"conversations":[{"from":"human","value":"a"},{"from":"gpt","value":"b"}]})", "ab",
       "field 'conversations'"},
      {R"({"prompt":"a","response":"b"})", "a\n\nb", "fields 'prompt', 'response'"},
      {R"({"instruction":"a","input":"c","output":"b"})", "a\n\nc\n\nb", "fields 'instruction', 'input', 'output'"},
      {R"({"instruction":"a","input":"","output":"b"})", "a\n\nb", "fields 'instruction', 'output'"},
      {R"({"question":"a","answer":"b","id":3})", "a\n\nb", "fields 'question', 'answer'"},
      {R"({"title":"t","context":"c","question":"a","answers":["b","d"]})", "a\n\nc\n\nb\nd",
       "fields 'question', 'context', 'answers'"},
      {R"({"question":"a","id":"x","body":"z"})", "z", "field 'body'"},
      {R"({"id":1,"score":2.5,"odd":"only"})", "only", "field 'odd'"}};
  for (const Case& one : cases) {
    const Picked picked = pick(one.row);
    EXPECT_EQ(picked.document.text, one.text) << one.row;
    EXPECT_EQ(picked.how, one.how) << one.row;
  }
  const Picked turns = pick(cases[7].row);
  EXPECT_EQ(json::dump(turns.document.messages[0].at("role")), "\"user\"");
  EXPECT_EQ(json::dump(turns.document.messages[1].at("content")), "\"b\"");
  EXPECT_TRUE(pick(cases[8].row).document.answered);
  EXPECT_FALSE(turns.document.answered);
}

TEST(TextRule, NamedFieldsAndTemplates) {
  const std::string text = R"({"a":"1","b":"2","n":7,"deep":{"er":"3"},"list":["x","y"],"none":null,"a.b":"dot"})";
  EXPECT_EQ(pick(text, {.fields = {"b"}}).document.text, "2");
  EXPECT_EQ(pick(text, {.fields = {"a", "b"}, .joint = "-"}).document.text, "1-2");
  EXPECT_EQ(pick(text, {.fields = {"deep.er"}}).document.text, "3");
  EXPECT_EQ(pick(text, {.fields = {"a.b"}}).document.text, "dot");
  EXPECT_EQ(pick(text, {.fields = {"list"}}).document.text, "x\ny");
  EXPECT_EQ(pick(text, {.fields = {"none"}}).document.text, "");
  const Picked made = pick(text, {.pattern = "{{{a}}} {n}: {deep.er}{none}"});
  EXPECT_EQ(made.document.text, "{1} 7: 3");
  EXPECT_EQ(made.how, "template '{{{a}}} {n}: {deep.er}{none}'");
  const Picked pair = pick(text, {.joint = "|", .user = "a", .assistant = "b"});
  EXPECT_EQ(pair.document.text, "1|2");
  EXPECT_EQ(pair.document.messages.size(), 2U);
}

TEST(TextRule, WhatIsNotFoundIsToldWithWhatThereIs) {
  const std::string two = R"({"left":"a","right":"b"})";
  EXPECT_NE(refusal(two).find("it has 'left', 'right': name one with ':field=NAME'"), std::string::npos);
  EXPECT_NE(refusal(two, {.fields = {"body"}}).find("no text in the named field"), std::string::npos);
  EXPECT_NE(refusal(two, {.pattern = "{left} {wrong}"}).find("a field of the template"), std::string::npos);
  EXPECT_NE(refusal("[1]").find("item 1 is [1]"), std::string::npos);
  EXPECT_NE(refusal("{}").find("item 1 is {}"), std::string::npos);
  for (const char* pattern : {"{a", "a}", "{}", "no field"})
    EXPECT_NE(refusal(two, {.pattern = pattern}).find("expected such as"), std::string::npos) << pattern;
}

TEST(TextRule, FiltersKeepWhatTheyName) {
  std::vector<RowFilter> filters{{.field = "license", .values = {"mit", "apache-2.0"}, .min = {}, .max = {}},
                                 {.field = "score", .values = {}, .min = 2, .max = 5}};
  const TextPicker picker({}, filters, "dataset 'x'");
  EXPECT_TRUE(picker.keeps(row(R"({"license":"mit","score":2})")));
  EXPECT_TRUE(picker.keeps(row(R"({"license":"apache-2.0","score":4.5})")));
  EXPECT_FALSE(picker.keeps(row(R"({"license":"gpl-3.0","score":4})")));
  EXPECT_FALSE(picker.keeps(row(R"({"license":"mit","score":1.9})")));
  EXPECT_FALSE(picker.keeps(row(R"({"license":"mit","score":6})")));
  EXPECT_FALSE(picker.keeps(row(R"({"license":"mit","score":"3"})")));
  EXPECT_FALSE(picker.keeps(row(R"({"license":null,"score":3})")));
  EXPECT_THROW((void)picker.keeps(row(R"({"licence":"mit","score":3})")), Error);
}

TEST(TextRule, OnlyColumnsThatMayMatterAreAskedFor) {
  using Names = std::vector<std::string>;
  const Names all{"text", "meta", "question", "answer", "license", "picture"};
  EXPECT_EQ(TextPicker({}, {}, "x").columns(all), Names{"text"});
  EXPECT_EQ(TextPicker({}, {}, "x").columns({"question", "answer", "picture"}), (Names{"question", "answer"}));
  EXPECT_EQ(TextPicker({}, {}, "x").columns({"odd", "picture"}), Names());  // all
  EXPECT_EQ(TextPicker({.pattern = "{question} {meta.a}"},
                       {{.field = "license", .values = {"mit"}, .min = {}, .max = {}}}, "x")
                .columns(all),
            (Names{"meta", "question", "license"}));
}

}  // namespace
