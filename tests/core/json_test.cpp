#include <arkit/json.h>

#include <gtest/gtest.h>

#include <cmath>

#include <arkit/error.h>

namespace arkit {
namespace {

std::string refusal(const std::string& text) {
  try {
    (void)json::parse(text, "'x.json'");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return {};
}

TEST(Json, RefusesWhatAHostileFileMayHold) {
  EXPECT_NE(refusal("{\"a\":1,\"a\":2}").find("key 'a' appears twice"), std::string::npos);
  EXPECT_NE(refusal("{\"a\":{\"b\":1,\"c\":[{\"d\":1,\"d\":2}]}}").find("'d' appears twice"), std::string::npos);
  EXPECT_NE(refusal("{\"a\":1} x").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"a\":").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"a\":\"\xff\"}").find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal(std::string(100, '[') + std::string(100, ']')).find("not valid JSON"), std::string::npos);
  EXPECT_NE(refusal("{\"a\": NaN}").find("not valid JSON"), std::string::npos);
}

TEST(Json, KeysThatSpellTheSameAreTheSame) {
  EXPECT_NE(refusal(R"({"a": 1, "\u0061": 2})").find("key 'a' appears twice"), std::string::npos);
  EXPECT_EQ(refusal(R"({"a\\": 1, "a": 2})"), "");
}

// What Python writes and reads: a file that is rewritten keeps its values, whatever they are.
TEST(Json, NumbersSurviveBeingReadAndWritten) {
  const std::string text =
      R"({"inf": [0.0, Infinity, -Infinity], "nan": NaN, "word": "NaN", "i64": -9223372036854775808, )"
      R"("u64": 18446744073709551615, "big": 123456789012345678901234567890, "low": -9223372036854775809, )"
      R"("small": 1e-300, "least": 5e-324, "digits": 0.30000000000000004, "theta": 1.7976931348623157e+308, )"
      R"("over": 1e400, "under": -1e-400, "zero": -0.0, "one": 1.0})";
  const json::Value value = json::parse(text, "x", true);
  EXPECT_EQ(json::dump(value), text);
  const json::Object& object = value.get_object();
  EXPECT_TRUE(object.at("nan").is_double());  // a reader of numbers sees a number
  EXPECT_EQ(json::get_double(object, "small", "x"), 1e-300);
  EXPECT_EQ(json::get_double(object, "big", "x"), 123456789012345678901234567890.0);
  EXPECT_EQ(json::get_double(object, "over", "x"), HUGE_VAL);
  EXPECT_EQ(json::get_double(object, "under", "x"), 0.0);
}

// Boost.JSON alone is off by one in the last place here.
TEST(Json, DecimalsBecomeTheNearestDouble) {
  for (const double number : {6.0221407599999999e+23, 1.0 / 3, 9.9999999999999995e-07, 2.2250738585072014e-308}) {
    const json::Value value = json::parse(json::dump(json::Value(number)), "x");
    EXPECT_EQ(value.get_double(), number);
  }
}

TEST(Json, NumbersOutOfRangeAreNoIntegersAndNoTexts) {
  const json::Value value = json::parse(R"({"n": 123456789012345678901, "u": 9223372036854775808})", "x");
  for (const char* key : {"n", "u"}) try {
      (void)json::get_int(value.get_object(), key, "x");
      FAIL() << key;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      EXPECT_NE(std::string(error.what()).find("expected a whole number below 2^63"), std::string::npos)
          << error.what();
    }
  EXPECT_THROW((void)json::get_string(value.get_object(), "n", "x"), Error);
}

TEST(Json, PiecesOfNonFiniteWordsAreNoNumbers) {
  for (const char* text : {"[-NaN]", "[1Infinity]", "[NaN0]", "[--Infinity]", "[1eNaN, Infinity]"})
    EXPECT_THROW((void)json::parse(text, "x", true), Error) << text;
}

TEST(Json, EqualKeysInDifferentObjectsAreFine) {
  EXPECT_EQ(refusal("{\"a\":{\"a\":1},\"b\":[{\"a\":1},{\"a\":\"a\"}]}"), "");
}

TEST(Json, NonFiniteNumbersOfOldConfigsAreReadWhereAllowed) {
  const json::Value value =
      json::parse("{\"a\": Infinity, \"b\": -Infinity, \"c\": NaN, \"d\": \"say NaN\"}", "x", true);
  const json::Object& object = value.get_object();
  EXPECT_TRUE(std::isinf(*json::get_double(object, "a", "x")));
  EXPECT_LT(*json::get_double(object, "b", "x"), 0);
  EXPECT_TRUE(std::isnan(*json::get_double(object, "c", "x")));
  EXPECT_EQ(*json::get_string(object, "d", "x"), "say NaN");
  const json::Value tagged = json::parse(R"({"a": {"__float__": "Infinity"}})", "x");
  EXPECT_TRUE(std::isinf(*json::get_double(tagged.get_object(), "a", "x")));
}

TEST(Json, TypedLookupsNameTheKeyAndTheType) {
  const json::Value value = json::parse(R"({"n": "four", "z": null, "f": 3.0})", "x");
  EXPECT_EQ(json::get_int(value.get_object(), "f", "x"), 3);
  EXPECT_EQ(json::get_int(value.get_object(), "z", "x"), std::nullopt);
  EXPECT_EQ(json::get_int(value.get_object(), "absent", "x"), std::nullopt);
  try {
    (void)json::get_int(value.get_object(), "n", "config.json");
    FAIL() << "a string was taken for an integer";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "config.json: 'n' is a string, expected an integer");
  }
}

TEST(Json, DumpsLikePython) {
  const json::Value value = json::parse(R"({"b":[1,2.0,1e-05,1e16,0.1,"é\n"],"a":{},"c":[],"d":null,"e":true})", "x");
  EXPECT_EQ(json::dump(value),
            "{\"b\": [1, 2.0, 1e-05, 1e+16, 0.1, \"é\\n\"], \"a\": {}, \"c\": [], \"d\": null, \"e\": true}");
  EXPECT_EQ(json::dump(json::parse(R"({"b":[1],"a":2})", "x"), 2, true), "{\n  \"a\": 2,\n  \"b\": [\n    1\n  ]\n}");
}

}  // namespace
}  // namespace arkit
