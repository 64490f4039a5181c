// Grammar files, and what runs them.
#include <chrono>
#include <string>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "grammar/reading.h"

namespace arkit {
namespace {

using testing::of_notation;
using testing::read;
using testing::Reading;

std::string refused(const std::string& grammar, ErrorCode code) {
  try {
    (void)of_notation(grammar);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "taken: " << grammar.substr(0, 100);
  return {};
}

TEST(Notation, ReadsTextsSetsAndRepetitions) {
  const auto g = of_notation(R"(
# a comment
root ::= greeting ", " name{1,2} [.!]?
greeting ::= "Hi" | "Good " ("day"
           | "night")
name ::= [A-Z] [a-z]* | "\u00e9\x41\"")");
  EXPECT_EQ(read(g, "Hi, Bob"), Reading::fits);
  EXPECT_EQ(read(g, "Good night, BobEve!"), Reading::fits);
  EXPECT_EQ(read(g, "Good day, \u00e9A\"."), Reading::fits);
  EXPECT_EQ(read(g, "Hi, "), Reading::open);
  EXPECT_EQ(read(g, "Hi, BobEveAda"), Reading::dead);
  EXPECT_EQ(read(g, "hi"), Reading::dead);
}

TEST(Notation, SetsOfCharactersAreCharactersNotBytes) {
  const auto g = of_notation("root ::= [^a-z\\n]{2} . [\\u0430-\\u044f]");
  EXPECT_EQ(read(g, "\u20ac\U0001F600x\u0436"), Reading::fits);
  EXPECT_EQ(read(g, "\u20acx"), Reading::dead);
  EXPECT_EQ(read(g, "A\xFF"), Reading::dead) << "no character begins so";
  EXPECT_EQ(read(g, "A\xED\xA0\x80"), Reading::dead) << "a surrogate is no character";
}

// By brute force: every code point is in exactly one of a set and the rest, and nothing else is.
TEST(Notation, Utf8OfAnySetIsExact) {
  const grammar::CodePoints some({{0x41, 0x41}, {0x7E, 0x90}, {0x7F0, 0x905}, {0xD000, 0xE010}, {0xFFF0, 0x10010}});
  for (const grammar::CodePoints& points : {some, grammar::CodePoints::all().without(some)}) {
    int64_t covered = 0, wanted = 0;
    for (const auto& sequence : grammar::utf8_sequences(points)) {
      int64_t ways = 1;
      for (const auto& span : sequence) ways *= span.last - span.first + 1;
      covered += ways;
    }
    for (const auto& range : points.ranges()) wanted += range.last - range.first + 1;
    EXPECT_EQ(covered, wanted);
  }
}

TEST(Notation, RulesRecurse) {
  const auto g = of_notation("root ::= \"(\" root* \")\" | item\nitem ::= \"a\" item | \"b\"");
  EXPECT_EQ(read(g, "((aab)(()b))"), Reading::fits);
  EXPECT_EQ(read(g, "((aa"), Reading::open);
  EXPECT_EQ(read(g, "(a)"), Reading::dead);
  std::string deep(100000, '(');
  EXPECT_EQ(read(g, deep), Reading::open);
  EXPECT_EQ(read(g, deep + std::string(100000, ')')), Reading::fits);
}

TEST(Notation, AmbiguousGrammarsTakeTimeOfTheirLength) {
  // 2^n ways to read n letters each.
  const auto g = of_notation("root ::= \"a\" root \"b\" | \"a\" root \"c\" | other\nother ::= (\"a\" | \"a\")* \"x\"");
  const std::string a(2000, 'a');
  EXPECT_EQ(read(g, a + "x" + std::string(1000, 'b')), Reading::fits) << "the other letters are of the end";
  EXPECT_EQ(read(g, a + "x" + std::string(2001, 'c')), Reading::dead);
  const auto list = of_notation("root ::= (x | y)* \".\"\nx ::= \"a\" | \"aa\"\ny ::= \"a\" x");
  EXPECT_EQ(read(list, a + "."), Reading::fits);
}

TEST(Notation, BadFilesAreRefusedWithTheirPlace) {
  EXPECT_NE(refused("root ::= \"a\nb\"", ErrorCode::input).find("line 1"), std::string::npos);
  EXPECT_NE(refused("root ::= itm\nitem ::= \"a\"", ErrorCode::input).find("did you mean 'item'"), std::string::npos);
  EXPECT_NE(refused("start ::= \"a\"", ErrorCode::input).find("no rule 'root'"), std::string::npos);
  EXPECT_NE(refused("root ::= \"a\"\nroot ::= \"b\"", ErrorCode::input).find("line 2"), std::string::npos);
  for (const char* bad : {"root", "root ::= (", "root ::= )", "root ::= [", "root ::= [z-a]", "root ::= \"\\q\"",
                          "root ::= \"a\"{3,2}", "root ::= \"a\"{x}", "root ::= \"a\"**", "root ::= []",
                          "root ::= \"\\ud800\"", "root ::= \"a\" %", "root ::= \"\xFF\"", "", "root ::= \"\\x4\""})
    (void)refused(bad, ErrorCode::input);
  (void)refused("root ::= " + std::string(10000, '('), ErrorCode::input);
}

TEST(Notation, WhatBeginsWithItselfOrNeverEndsIsRefused) {
  EXPECT_NE(refused("root ::= root \"a\" | \"b\"", ErrorCode::unsupported).find("root -> root"), std::string::npos);
  EXPECT_NE(
      refused("root ::= x\nx ::= \"a\"? y\ny ::= x \"b\" | \"c\"", ErrorCode::unsupported).find("begins with itself"),
      std::string::npos);
  EXPECT_NE(refused("root ::= \"a\" root", ErrorCode::input).find("no text fits"), std::string::npos);
  // A way that never ends is not gone, so that what was begun can be ended.
  const auto g = of_notation("root ::= \"a\" trap | \"b\"\ntrap ::= \"x\" trap");
  EXPECT_EQ(read(g, "a"), Reading::dead);
  EXPECT_EQ(read(g, "b"), Reading::fits);
}

TEST(Notation, HugeGrammarsAreRefusedSoon) {
  const auto start = std::chrono::steady_clock::now();
  (void)refused("root ::= ((\"a\"{1000}){1000}){1000}", ErrorCode::unsupported);
  (void)refused("root ::= \"\"{1,1000000000000}", ErrorCode::unsupported);
  (void)refused("root ::= [ab]* \"a\" [ab]{40}", ErrorCode::unsupported);  // 2^40 states
  (void)refused("root ::= (\"a\"?){3000}{3000}", ErrorCode::input);
  (void)refused("root ::= (\"a\"?){30000}", ErrorCode::unsupported);
  std::string chain = "root ::= r0\n";
  for (int i = 0; i < 20000; ++i) chain += str("r", i, " ::= r", i + 1, "\n");
  EXPECT_EQ(read(of_notation(chain + "r20000 ::= \"x\""), "x"), Reading::fits);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(60));
}

}  // namespace
}  // namespace arkit
