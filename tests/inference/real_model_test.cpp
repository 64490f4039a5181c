// The published figure of a real model, where one is at hand: ARKIT_SMOLLM2_DIR = SmolLM2-135M-Instruct as a Hugging
// Face folder, ARKIT_SMOLLM2_IDS = its WikiText-2 test ids (safetensors). Skipped, and said so, without them.
#include <cstdlib>
#include <iostream>

#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>

#include "inference/support.h"

namespace arkit {
namespace {

// Perplexity of transformers in float32 over the first 40 windows of 512 tokens.
constexpr double kReference = 23.02, kWithin = 0.02;

TEST(RealModel, PerplexityOfSmolLm2EqualsTransformers) {
  const char *folder = std::getenv("ARKIT_SMOLLM2_DIR"), *ids = std::getenv("ARKIT_SMOLLM2_IDS");
  if (folder == nullptr || ids == nullptr) GTEST_SKIP() << "needs ARKIT_SMOLLM2_DIR and ARKIT_SMOLLM2_IDS";
  const json::Object result =
      evaluate_perplexity({.model = folder, .ids_file = ids, .max_windows = 40}, tests::registry(), tests::silent());
  std::cout << json::dump(result, 2) << '\n';
  EXPECT_NEAR(result.at("perplexity").as_double(), kReference, kWithin);
}

TEST(RealModel, SmolLm2WritesEnglish) {
  const char* folder = std::getenv("ARKIT_SMOLLM2_DIR");
  if (folder == nullptr) GTEST_SKIP() << "needs ARKIT_SMOLLM2_DIR";
  const json::Object result =
      generate({.model = folder, .prompts = {"The capital of France is", "One, two, three,"}, .max_new_tokens = 16},
               tests::registry(), tests::silent());
  std::cout << json::dump(result, 2) << '\n';
  const std::string text(result.at("outputs").at(0).at("text").as_string());
  EXPECT_NE(text.find("Paris"), std::string::npos) << text;
}

}  // namespace
}  // namespace arkit
