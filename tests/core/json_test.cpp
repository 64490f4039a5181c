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
