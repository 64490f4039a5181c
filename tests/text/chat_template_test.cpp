// Chat templates against Jinja2 as transformers sets it up: every case of chat_template_vectors.json.

#include "text/chat_template.h"

#include <string>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

namespace {

namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::text::ChatTemplate;

std::string render(const std::string& source, const json::Object& context = {}) {
  return ChatTemplate(source).render(context);
}

TEST(ChatTemplate, RendersEveryVectorLikeJinja) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/text/chat_template_vectors.json");
  const json::Array& cases = file.at("cases").get_array();
  EXPECT_EQ(cases.size(), 52U);
  for (const json::Value& item : cases) {
    const json::Object& test = item.get_object();
    SCOPED_TRACE(std::string(test.at("name").get_string()));
    const std::string source(test.at("template").get_string());
    if (test.at("expected").is_null()) {
      // "TemplateError: bad roles": the text after the class name is the template's or Jinja's; ours names the same
      // thing.
      EXPECT_THROW((void)render(source, test.at("context").get_object()), Error);
      continue;
    }
    try {
      EXPECT_EQ(render(source, test.at("context").get_object()), std::string(test.at("expected").get_string()));
    } catch (const Error& error) {
      ADD_FAILURE() << error.what();
    }
  }
}

void expect_error(const std::string& source, ErrorCode code, const std::string& part) {
  try {
    const std::string out = render(source);
    ADD_FAILURE() << source << " rendered '" << out << "'";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
  }
}

TEST(ChatTemplate, UnsupportedSyntaxIsNamed) {
  expect_error("{% include 'x' %}", ErrorCode::unsupported, "'include'");
  expect_error("a\n{% do x %}", ErrorCode::unsupported, "line 2");
  expect_error("{{ x | xmlattr }}", ErrorCode::unsupported, "'xmlattr'");
  expect_error("{{ 1 is prime }}", ErrorCode::unsupported, "'prime'");
  expect_error("{{ cycler(1) }}", ErrorCode::unsupported, "'cycler'");
  expect_error("{% for x in y recursive %}{% endfor %}", ErrorCode::unsupported, "recursive");
  expect_error("{{ f(*a) }}", ErrorCode::unsupported, "unpacked");
  expect_error("{{ 'a'.zfill(3) }}", ErrorCode::input, "zfill");
  expect_error("{% if x %}", ErrorCode::unsupported, "'endif'");
  expect_error("{{ x", ErrorCode::unsupported, "not closed");
  expect_error("{{ 'x }}", ErrorCode::unsupported, "not closed");
  expect_error("{% break %}", ErrorCode::unsupported, "outside a loop");
}

TEST(ChatTemplate, RaisedExceptionsAndFailuresAreInputErrors) {
  expect_error("{{ raise_exception('roles must alternate') }}", ErrorCode::input, "roles must alternate");
  expect_error("{{ undef.attr }}", ErrorCode::input, "'undef' is undefined");
  expect_error("{{ 'a' + 1 }}", ErrorCode::input, "'str' and 'int'");
  expect_error("{{ [].append(1) }}", ErrorCode::input, "unsafe");
  expect_error("{{ 1 // 0 }}", ErrorCode::input, "zero");
  expect_error("{{ 9223372036854775807 + 1 }}", ErrorCode::input, "overflow");
}

TEST(ChatTemplate, HostileTemplatesAreStopped) {
  expect_error("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}", ErrorCode::input,
               "steps");
  expect_error("{% macro f(n) %}{{ f(n) }}{% endmacro %}{{ f(1) }}", ErrorCode::input, "deep");
  expect_error("{{ 'x' * 99999999999 }}", ErrorCode::input, "more than");
  expect_error("{% for i in range(1000) %}{{ 'x' * 1000000 }}{% endfor %}", ErrorCode::input, "more than");
  expect_error("{{ range(999999) }}", ErrorCode::input, "range()");
  std::string nested = "{{ ";
  for (int i = 0; i < 100000; ++i) nested += "(";
  expect_error(nested, ErrorCode::unsupported, "too");
  std::string blocks;
  for (int i = 0; i < 50000; ++i) blocks += "{% if 1 %}";
  expect_error(blocks, ErrorCode::unsupported, "nested too deeply");
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += "+1";
  expect_error(sum + " }}", ErrorCode::unsupported, "too long");
}

TEST(ChatTemplate, MacrosSeeTheirScopeAndTheirArguments) {
  EXPECT_EQ(render("{% set s = 'x' %}{% macro f(a, b=a) %}{{ a ~ b ~ s }}{% endmacro %}{% set s = 'y' %}{{ f(1) }}{{ "
                   "f(1, b=2) }}"),
            "11y12y");
  EXPECT_EQ(render("{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}"), "3210");
  expect_error("{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}", ErrorCode::input, "f()");
}

TEST(ChatTemplate, WhitespaceControlFollowsTheTagBefore) {
  EXPECT_EQ(render("x\n  {% if 1 %}  {% endif %}\ny"), "x\n  y");
  EXPECT_EQ(render("{{ 1 }}\n  {% if 1 -%}\n\n a {%- endif %}\n  b"), "1\na  b");
  EXPECT_EQ(render("{% raw -%}  {{ x }}  {%- endraw %}\nz"), "{{ x }}z");
}

constexpr const char* kFile = R"({"model":{"type":"BPE","vocab":{"a":0},"merges":[]}})";

TEST(ChatTemplate, TokenizersUseTheDefaultOfNamedTemplates) {
  json::Object config{
      {"bos_token", "a"},
      {"chat_template",
       json::Array{json::Object{{"name", "tool_use"}, {"template", "no"}},
                   json::Object{{"name", "default"}, {"template", "{{ bos_token }}{{ messages[0].content }}"}}}}};
  const arkit::Tokenizer tokenizer(kFile, config);
  EXPECT_TRUE(tokenizer.has_chat_template());
  EXPECT_EQ(tokenizer.apply_chat_template(json::Array{json::Object{{"role", "user"}, {"content", "hi"}}}, true), "ahi");
}

TEST(ChatTemplate, AnUnreadableTemplateOnlyMattersWhenUsed) {
  const arkit::Tokenizer tokenizer(kFile, json::Object{{"chat_template", "{% import 'x' %}"}});
  EXPECT_TRUE(tokenizer.has_chat_template());
  try {
    (void)tokenizer.apply_chat_template({}, true);
    FAIL() << "rendered";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("'import'"), std::string::npos);
  }
  EXPECT_FALSE(arkit::Tokenizer(kFile, {}).has_chat_template());
  EXPECT_THROW((void)arkit::Tokenizer(kFile, {}).apply_chat_template({}, true), Error);
}

}  // namespace
