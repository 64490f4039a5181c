// Which commands run which kernels: those that write text take whole blocks of ark, those that measure take none of its
// roundings, unless they are asked for.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/session.h>
#include <arkit/inference_backend.h>

#include "inference/support.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

const std::string kModel = ARKIT_TEST_DATA "/golden/auto_round-W4A16";
constexpr int64_t kBlocks = 2, kHead = 1;  // the head, rounded to 8 bits

class ArkJobs : public testing::Test {
 protected:
  ArkJobs() {
    fs::copy(kModel, model(), fs::copy_options::recursive);
    for (const char* file : {"tokenizer.json", "tokenizer_config.json"})
      fs::copy_file(std::string(ARKIT_TEST_DATA "/golden/source-llama-bf16/") + file, model() / file,
                    fs::copy_options::overwrite_existing);
    std::ofstream(text()) << "The sea was calm that night, and the stars were many. One of them fell. ";
    for (int i = 0; i < 30; ++i) std::ofstream(text(), std::ios::app) << "Words and numbers " << i * 37 << ", again. ";
  }
  void SetUp() override {
    const Availability here = tests::registry().backend("ark").probe();
    if (here.score == 0) GTEST_SKIP() << "needs another machine: " << here.why_not;
  }
  [[nodiscard]] fs::path model() const { return folder_.path() / "m"; }
  [[nodiscard]] fs::path text() const { return folder_.path() / "text.txt"; }
  [[nodiscard]] fs::path kept() const { return folder_.path() / "kept"; }
  [[nodiscard]] int64_t kept_units() const {
    return std::distance(fs::directory_iterator(kept()), fs::directory_iterator());
  }
  static int64_t layers(const json::Object& result, std::string_view backend) {
    const json::Value* count = result.at("backends").as_object().if_contains(backend);
    return count == nullptr ? 0 : count->to_number<int64_t>();
  }
  tests::ScratchFolder folder_;
};

// A whole block is made ready in one piece; layer by layer there would be several a block.
TEST_F(ArkJobs, GenerateRunsWholeBlocks) {
  const json::Object made =
      generate({.model = model().string(), .prompts = {"The"}, .max_new_tokens = 2, .prepared_cache = kept()},
               tests::registry(), tests::silent());
  EXPECT_GT(layers(made, "ark"), 0);
  EXPECT_EQ(kept_units(), kBlocks + kHead);
}

TEST_F(ArkJobs, SessionsRunWholeBlocks) {
  Session session({.model = model().string(), .prepared_cache = kept().string(), .cache_tokens = 256},
                  tests::registry());
  (void)session.add({.prompt = {5, 6, 7}, .max_new_tokens = 2});
  EXPECT_EQ(session.step().size(), 1U);
  EXPECT_EQ(kept_units(), kBlocks + kHead);
}

TEST_F(ArkJobs, EvalMeasuresWithExactProducts) {
  const auto run = [&](const std::string& backend) {
    return evaluate_perplexity({.model = model().string(), .text_file = text(), .seqlen = 32, .backend = backend},
                               tests::registry(), tests::silent());
  };
  const json::Object chosen = run("");
  EXPECT_EQ(layers(chosen, "ark"), 0);
  EXPECT_GT(layers(run("ark"), "ark"), 0) << "where it is asked for";
  EXPECT_NE(run("ark").at("perplexity").as_double(), chosen.at("perplexity").as_double());
}

TEST_F(ArkJobs, LastWordsAreMeasuredWithExactProducts) {
  std::ofstream(folder_.path() / "words.jsonl") << "{\"text\": \"The sea was calm that night\"}\n";
  const auto run = [&](const std::string& backend) {
    return evaluate_last_words({.model = model().string(), .file = folder_.path() / "words.jsonl", .backend = backend},
                               tests::registry(), tests::silent())
        .at("log_likelihood")
        .as_double();
  };
  EXPECT_EQ(run(""), run("torch"));
  EXPECT_NE(run(""), run("ark"));
}

TEST_F(ArkJobs, ForwardComputesWithExactProducts) {
  // 8 ids as a safetensors file, written by hand.
  const fs::path ids = folder_.path() / "ids.safetensors";
  const std::string header = R"({"input_ids":{"dtype":"I64","shape":[1,8],"data_offsets":[0,64]}})";
  std::ofstream file(ids, std::ios::binary);
  const uint64_t size = header.size();
  file.write(reinterpret_cast<const char*>(&size), sizeof size) << header;
  for (int64_t id = 3; id < 11; ++id) file.write(reinterpret_cast<const char*>(&id), sizeof id);
  file.close();
  const auto run = [&](const std::string& backend) {
    return forward(
        {.model = model().string(), .input_ids = ids, .output = folder_.path() / "out.safetensors", .backend = backend},
        tests::registry(), tests::silent());
  };
  EXPECT_EQ(layers(run(""), "ark"), 0);
  EXPECT_GT(layers(run("ark"), "ark"), 0) << "where it is asked for";
}

TEST_F(ArkJobs, DiffComparesWithExactProducts) {
  const auto run = [&](const std::string& backend) {
    const json::Object made =
        diff({.a = model().string(), .b = model().string(), .text_file = text(), .seqlen = 32, .backend = backend},
             tests::registry(), tests::silent());
    return made.at("logits").at("perplexity_a").as_double();
  };
  EXPECT_EQ(run(""), run("torch"));
  EXPECT_NE(run(""), run("ark"));
}

}  // namespace
}  // namespace arkit
