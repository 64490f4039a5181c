// What a schema lets pass, and what is refused of it.
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/reading.h"

namespace arkit {
namespace {

using testing::of_schema;
using testing::read;
using testing::Reading;

void takes(const std::string& schema, const std::vector<std::string>& fit, const std::vector<std::string>& not_fit) {
  SCOPED_TRACE(schema);
  const auto automaton = of_schema(schema);
  for (const std::string& text : fit) EXPECT_EQ(read(automaton, text), Reading::fits) << text;
  for (const std::string& text : not_fit) EXPECT_NE(read(automaton, text), Reading::fits) << text;
}

std::string refused(const std::string& schema, ErrorCode code = ErrorCode::unsupported) {
  try {
    (void)of_schema(schema);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "taken: " << schema.substr(0, 200);
  return {};
}

TEST(JsonSchema, PlainTypes) {
  takes(R"({"type": "integer"})", {"0", "-1", "123456789012345678"},
        {"", "01", "-0", "+1", "1.0", "1e3", "1234567890123456789"});
  takes(R"({"type": "number"})", {"0", "-0.5", "12.25", "1e9", "1E-07", "3.0"}, {".5", "1.", "00", "1e999", "NaN"});
  takes(R"({"type": ["boolean", "null"]})", {"true", "false", "null", " null", "\n  null"},
        {"nul", "TRUE", "0", "null "});
  takes(R"({"type": "string"})", {R"("")", R"("a\n\u00e9\ud83d\ude00")", "\"\u00e9\U0001F600\""},
        {R"("\x")", "\"\n\"", R"("\ud83d")", R"("\ude00")", "\"\xff\"", R"("a)", "a"});
  takes("true", {"1", R"({"a": [1, {"b": null}]})", "[]", "[[[]]]"}, {"{,}", "[1,]", "{\"a\"}"});
}

TEST(JsonSchema, RangesOfNumbers) {
  const auto integers = [](const std::string& rules, auto inside) {
    SCOPED_TRACE(rules);
    const auto automaton = of_schema("{\"type\": \"integer\"" + rules + "}");
    for (int i = -1205; i <= 1205; ++i) EXPECT_EQ(read(automaton, std::to_string(i)) == Reading::fits, inside(i)) << i;
  };
  integers(R"(, "minimum": 5)", [](int i) { return i >= 5; });
  integers(R"(, "minimum": -17, "maximum": 1099)", [](int i) { return i >= -17 && i <= 1099; });
  integers(R"(, "exclusiveMinimum": -100, "exclusiveMaximum": -9)", [](int i) { return i > -100 && i < -9; });
  integers(R"(, "minimum": 0.5, "maximum": 99.5)", [](int i) { return i > 0 && i < 100; });
  integers(R"(, "minimum": 7, "maximum": 7)", [](int i) { return i == 7; });
  integers(R"(, "maximum": 0)", [](int i) { return i <= 0; });
  const auto numbers = [](const std::string& rules, auto inside) {
    SCOPED_TRACE(rules);
    const auto automaton = of_schema("{\"type\": \"number\"" + rules + "}");
    for (int i = -300; i <= 300; ++i) {
      const std::string text = str(i < 0 ? "-" : "", std::abs(i) / 10, ".", std::abs(i) % 10);
      EXPECT_EQ(read(automaton, text) == Reading::fits, inside(i / 10.0)) << text;
    }
  };
  numbers(R"(, "minimum": 0, "maximum": 1)", [](double x) { return x >= 0 && x < 1; });  // 1.0 is written as 1
  numbers(R"(, "exclusiveMinimum": 0)", [](double x) { return x > 0; });
  numbers(R"(, "minimum": -12, "exclusiveMaximum": -3)", [](double x) { return x > -12 && x < -3; });
  numbers(R"(, "minimum": -2, "maximum": 20)", [](double x) { return x > -2 && x < 20; });
  takes(R"({"type": "number", "minimum": 0, "maximum": 1})", {"0", "1", "0.5"}, {"-0.5", "1.1", "2", "1e0"});
}

TEST(JsonSchema, Objects) {
  const std::string person =
      R"({"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "integer"},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}}}, "required": ["name"])";
  takes(person + "}",
        {R"({"name": "x"})", R"({"name":"x","age":3})", R"({"name": "x", "tags": []})", "{\n  \"name\": \"x\"\n}",
         R"({"name": "x", "age": 1, "tags": ["a", "b"]})"},
        {"{}", R"({"age": 3})", R"({"age": 3, "name": "x"})", R"({"name": "x",})", R"({"name": "x", "more": 1})",
         R"({"name": "x", "tags": ["c"]})"});
  takes(person + R"(, "additionalProperties": {"type": "null"}})",
        {R"({"name": "x", "more": null, "na": null, "namer": null, "": null})", R"({"name": "x", "\"": null})"},
        {R"({"name": "x", "more": 1})", R"({"name": "x", "name": null})", R"({"name": "x", "\u006eame": null})"});
  takes(R"({"type": "object"})", {"{}", R"({"a": 1, "b": {"c": []}})"}, {"[]", R"({"a": 1 "b": 2})"});
  takes(R"({"type": "object", "additionalProperties": false})", {"{}", "{ }"}, {R"({"a": 1})"});
  takes(R"({"type": "object", "required": ["z"], "additionalProperties": {"const": 1}})",
        {R"({"z": 1})", R"({"z": 1, "y": 1})"}, {"{}", R"({"z": 2})", R"({"y": 1})"});
  takes(R"({"type": "object", "properties": {"a": true, "never": false}})", {R"({"a": 1})", "{}"}, {R"({"never": 1})"});
}

TEST(JsonSchema, Arrays) {
  takes(R"({"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 3})",
        {"[1,2]", "[1, 2, 3]", "[ 1,2 ]"}, {"[]", "[1]", "[1,2,3,4]", "[1,]", "[1 2]"});
  takes(
      R"({"type": "array", "prefixItems": [{"const": "a"}, {"type": "null"}], "items": {"type": "integer"}, "minItems": 1})",
      {R"(["a"])", R"(["a", null])", R"(["a", null, 1, 2])"},
      {"[]", R"([null])", R"(["a", 1])", R"(["a", null, null])"});
  takes(R"({"type": "array", "prefixItems": [{"const": 1}], "items": false})", {"[]", "[1]"}, {"[1, 1]"});
  takes(R"({"type": "array", "maxItems": 0})", {"[]"}, {"[1]"});
  (void)refused(R"({"type": "array", "minItems": 3, "maxItems": 2})", ErrorCode::input);
}

TEST(JsonSchema, ConstantsAndAlternatives) {
  takes(R"({"enum": ["red", 1, null, {"a": [1]}]})", {R"("red")", "1", "null", R"({"a": [1]})"},
        {R"("re")", "2", "{}"});
  takes(R"({"type": "integer", "enum": [1, 2, 3, "x"], "minimum": 2})", {"2", "3"}, {"1", R"("x")"});
  takes(R"({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 1}]})", {"1", R"("a")"},
        {R"("ab")", "null"});
  takes(
      R"({"type": "object", "properties": {"kind": {"type": "string"}, "n": {"type": "integer"}}, "required": ["kind"],
           "oneOf": [{"properties": {"kind": {"const": "a"}}}, {"properties": {"kind": {"const": "b"}}, "required": ["n"]}]})",
      {R"({"kind": "a"})", R"({"kind": "b", "n": 1})"}, {R"({"kind": "b"})", R"({"kind": "c"})"});
  takes(R"({"allOf": [{"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
                      {"properties": {"a": {"maximum": 3}, "b": {"type": "null"}}}]})",
        {R"({"a": 3})", R"({"a": 1, "b": null})"}, {R"({"a": 4})", "{}", R"({"b": null})"});
  takes(
      R"({"allOf": [{"type": "object", "properties": {"a": true}, "additionalProperties": false}, {"properties": {"b": true}}]})",
      {R"({"a": 1})", "{}"}, {R"({"b": 1})"});
  EXPECT_NE(refused(R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})").find("#/oneOf"), std::string::npos);
  EXPECT_NE(refused(R"({"oneOf": [{"properties": {"a": true}}, {"type": "string"}]})").find("anyOf"), std::string::npos)
      << "a string fits both";
}

TEST(JsonSchema, References) {
  takes(R"({"$ref": "#/$defs/tree", "$defs": {"tree": {"type": "object", "properties": {"value": {"type": "integer"},
           "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}}, "required": ["value", "children"]}}})",
        {R"({"value": 1, "children": [{"value": 2, "children": []}]})"},
        {R"({"value": 1, "children": [{"value": 2}]})"});
  takes(R"({"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]})", {"null", "[[null, []]]"},
        {"[1]"});
  takes(R"({"properties": {"a/b": {"type": "null"}, "c": {"$ref": "#/properties/a~1b"}}, "type": "object"})",
        {R"({"c": null})"}, {R"({"c": 1})"});
  EXPECT_NE(refused(R"({"$ref": "#/$defs/x"})", ErrorCode::input).find("leads nowhere"), std::string::npos);
  EXPECT_NE(refused(R"({"$ref": "other.json"})").find("#/$ref"), std::string::npos);
  (void)refused(R"({"$ref": "#"})", ErrorCode::input);
  (void)refused(R"({"type": "integer", "$ref": "#"})");
  (void)refused(R"({"allOf": [{"$ref": "#"}]})");
  // Always one more.
  (void)refused(R"({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]})", ErrorCode::input);
}

TEST(JsonSchema, Texts) {
  takes(R"({"type": "string", "minLength": 2, "maxLength": 3})",
        {R"("ab")", R"("a\n\u0041")", "\"\u00e9\U0001F600x\"", R"("\ud83d\ude00a")"},
        {R"("a")", R"("abcd")", R"("\ud83d\ude00")"});
  takes(R"({"type": "string", "pattern": "^[A-Z]{2}-\\d+(foo|ba[rz])?$"})", {R"("AB-1")", R"("XY-123baz")"},
        {R"("AB-")", R"("AB-1fo")", R"("xAB-1")"});
  takes(R"({"type": "string", "pattern": "b"})", {R"("abc")", R"("b")"}, {R"("ac")"});
  takes(R"({"type": "string", "pattern": "^a|z$"})", {R"("ab")", R"("yz")"}, {R"("za")"});
  takes(R"({"type": "string", "pattern": "^[\"\\\\\\n]+$"})", {R"("\"\\\n")"}, {R"(""")", R"("\x")", R"("a")"});
  takes(R"({"type": "string", "pattern": "^\\S.\\W$"})", {"\"a\u20ac-\""}, {R"(" a-")", R"("aab")"});
  takes(R"({"type": "string", "format": "date"})", {R"("2024-02-28")", R"("1999-12-31")"},
        {R"("2024-13-01")", R"("2024-04-31")"});
  takes(R"({"type": "string", "format": "uuid"})", {R"("123e4567-e89b-12d3-a456-426614174000")"}, {R"("123e4567")"});
  takes(R"({"type": "string", "format": "ipv4"})", {R"("127.0.0.1")", R"("255.25.2.0")"},
        {R"("256.0.0.1")", R"("1.2.3")"});
  takes(R"({"type": "string", "format": "date-time"})",
        {R"("2024-01-31T23:59:59Z")", R"("2024-01-31T00:00:00.25+01:00")"}, {R"("2024-01-31")"});
  takes(R"({"type": "string", "format": "email"})", {R"("a.b@example.org")"}, {R"("a@")"});
  for (const char* bad : {"(?=a)", "\\\\bx", "(a)\\\\1", "a^b", "a$b", "\\\\p{L}", "(^a)", "(?<n>a)"})
    EXPECT_NE(refused(str("{\"type\": \"string\", \"pattern\": \"", bad, "\"}")).find("#/pattern"), std::string::npos)
        << bad;
  for (const char* bad : {"(", ")", "[a", "*a", "a{2,1}", "[z-a]", "\\\\"})
    (void)refused(str("{\"type\": \"string\", \"pattern\": \"", bad, "\"}"), ErrorCode::input);
}

TEST(JsonSchema, WhatIsNotFollowedIsRefusedWithItsPlace) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"properties": {"a": {"not": {"type": "null"}}}})", "#/properties/a/not"},
      {R"({"type": "array", "uniqueItems": true})", "#/uniqueItems"},
      {R"({"type": "array", "items": [{}]})", "#/items"},
      {R"({"type": "integer", "multipleOf": 3})", "#/multipleOf"},
      {R"({"if": {}, "then": {}})", "#/if"},
      {R"({"patternProperties": {}})", "#/patternProperties"},
      {R"({"minProperties": 1})", "#/minProperties"},
      {R"({"type": "string", "format": "iri"})", "#/format"},
      {R"({"propertes": {}})", "did you mean 'properties'?"},
      {R"({"type": "number", "minimum": 0.5})", "#/minimum"},
      {R"({"type": "string", "pattern": "a", "maxLength": 3})", "#/pattern"},
      {R"({"enum": ["abc"], "minLength": 2})", "#/minLength"},
      {R"({"allOf": [{"pattern": "a"}, {"pattern": "b"}]})", "#/allOf/1/pattern"},
      {R"({"type": "integer", "minimum": 1e300})", "#/minimum"}};
  for (const auto& [schema, place] : cases) EXPECT_NE(refused(schema).find(place), std::string::npos) << schema;
  for (const char* bad :
       {R"({"type": "text"})", R"({"properties": 1})", R"({"enum": []})", R"({"minLength": -1})",
        R"({"required": "a"})", R"({"anyOf": []})", R"({"items": 1})", "1", R"({"maximum": "a"})", R"({"pattern": 1})"})
    (void)refused(bad, ErrorCode::input);
  EXPECT_NO_THROW((void)of_schema(
      R"({"title": "t", "description": "d", "default": 1, "$schema": "s", "type": "null", "uniqueItems": false})"));
}

TEST(JsonSchema, HostileSchemasEndSoon) {
  const auto start = std::chrono::steady_clock::now();
  (void)refused(R"({"type": "string", "maxLength": 1000000000000})");
  (void)refused(R"({"type": "array", "minItems": 1000000000000000})");
  (void)refused(R"({"type": "string", "pattern": "^(a|b)*a(a|b){60}$"})");
  (void)refused(R"({"type": "string", "pattern": "^((a{1,99}){1,99}){1,99}$"})");
  // 4^20 combinations.
  std::string all;
  for (int i = 0; i < 20; ++i)
    all += str(i > 0 ? "," : "", R"({"anyOf": [{"minimum": 1}, {"minimum": 2}, {"minimum": 3}, {"minimum": 4}]})");
  (void)refused("{\"allOf\": [" + all + "]}");
  // Each refers twice to the next.
  std::string defs;
  for (int i = 0; i < 60; ++i)
    defs += str(i > 0 ? "," : "", "\"d", i, "\": {\"allOf\": [{\"$ref\": \"#/$defs/d", i + 1,
                "\"}, {\"$ref\": \"#/$defs/d", i + 1, "\"}]}");
  (void)refused("{\"$ref\": \"#/$defs/d0\", \"type\": \"integer\", \"$defs\": {" + defs + R"(, "d60": {}}})");
  std::string many = "{\"type\": \"object\", \"properties\": {";
  for (int i = 0; i < 500; ++i) many += str(i > 0 ? "," : "", "\"property", i, "\": {\"type\": \"integer\"}");
  EXPECT_EQ(read(of_schema(many + "}}"), R"({"property7": 1, "property499": 2})"), Reading::fits);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace arkit
