// The hand-written scanners against PCRE2 running the regexes they stand for, on random text where both know the same
// classes.

#include "text/pattern.h"

#include <random>
#include <string>
#include <utility>
#include <vector>

#include <arkit/json.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

namespace {

using Ranges = std::vector<std::pair<size_t, size_t>>;

Ranges matches(const arkit::text::Pattern& pattern, const std::string& text) {
  Ranges ranges;
  pattern.for_each_match(text, [&](size_t begin, size_t end) { ranges.emplace_back(begin, end); });
  return ranges;
}

std::vector<std::string> known_regexes() {
  const auto file = arkit::json::read_file(std::string(ARKIT_TEST_DATA) + "/text/tokenizer_vectors.json");
  std::vector<std::string> regexes;
  for (const auto& [name, value] : file.at("regexes").get_object()) {
    if (value.is_string())
      regexes.emplace_back(value.get_string());
    else
      for (const auto& part : value.get_array()) regexes.emplace_back(part.get_string());
  }
  return regexes;
}

TEST(Pattern, ScannersMatchWhatTheirRegexesMatch) {
  const std::vector<std::string> alphabet{
      "a",       "b",      "S", "T", "d",  "L",      "\u00e9", "\u01c5", "\u02b0", "\u4e2d",     "\u3042", "1",   "2",
      "\u0663",  "\u00bd", " ", " ", "\n", "\r",     "\t",     "\u00a0", "\u3000", "'",          "'s",     "'ll", "'Re",
      "'\u017f", ".",      "/", "-", "+",  "\u20ac", "\u0301", "\u0903", "\u200d", "\U0001F600", "\x01",   "_"};
  std::mt19937 random(7);  // any seed will do; fixed for repeatable failures
  const auto regexes = known_regexes();
  ASSERT_EQ(regexes.size(), 8U);
  for (const std::string& regex : regexes) {
    const auto scanner = arkit::text::scanner_pattern(regex);
    ASSERT_NE(scanner, nullptr) << regex;
    const auto reference = arkit::text::pcre_pattern(regex, "test");
    for (int round = 0; round < 4000; ++round) {
      std::string text;
      const size_t length = 1 + random() % 12;
      for (size_t i = 0; i < length; ++i) text += alphabet[random() % alphabet.size()];
      ASSERT_EQ(matches(*scanner, text), matches(*reference, text)) << regex << "\n" << arkit::printable(text);
    }
  }
}

TEST(Pattern, OtherRegexesGoToPcre) {
  EXPECT_EQ(arkit::text::scanner_pattern("[0-9]"), nullptr);
  EXPECT_EQ(matches(*arkit::text::regex_pattern("[0-9][0-9][0-9]", "test"), "a1234567"), (Ranges{{1, 4}, {4, 7}}));
  EXPECT_EQ(matches(*arkit::text::regex_pattern(R"([^\s]+)", "test"), "a\u180eb c"), (Ranges{{0, 5}, {6, 7}}));
}

}  // namespace
