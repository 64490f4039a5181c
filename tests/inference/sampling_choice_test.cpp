#include "inference/sampling_choice.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/model_source.h>

#include "inference/support.h"

namespace arkit {
namespace {

class Heard final : public Reporter {
 public:
  void info(std::string_view message) override { said += std::string(message) + "\n"; }
  void warn(std::string_view message) override { warned += std::string(message) + "\n"; }
  std::string said, warned;
};

class SamplingChoice : public testing::Test {
 protected:
  // With this generation_config.json.
  std::unique_ptr<ModelSource> model(const std::string& config) {
    std::filesystem::copy(tests::model_folder("llama31"), folder_.path(),
                          std::filesystem::copy_options::recursive | std::filesystem::copy_options::update_existing);
    std::ofstream(folder_.path() / "generation_config.json") << config;
    return open_hf_folder(folder_.path());
  }
  SamplingOptions chosen(const SamplingWishes& wishes, const std::string& config) {
    return choose_sampling(wishes, true, *model(config), heard_);
  }
  std::string refused(const SamplingWishes& wishes, ErrorCode code) {
    try {
      (void)choose_sampling(wishes, heard_);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "taken";
    return {};
  }
  tests::ScratchFolder folder_;
  Heard heard_;
};

const std::string kRecommended =
    R"({"do_sample": true, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "min_p": 0.05, "repetition_penalty": 1.05})";

TEST_F(SamplingChoice, TakesTheModelsDefaultsWhereNothingIsSaid) {
  const SamplingOptions all = chosen({}, kRecommended);
  EXPECT_EQ(all.temperature, 0.6);
  EXPECT_EQ(all.top_k, 20);
  EXPECT_EQ(all.top_p, 0.95);
  EXPECT_EQ(all.min_p, 0.05);
  EXPECT_EQ(all.repetition_penalty, 1.05);
  EXPECT_EQ(heard_.said,
            "the model's defaults: temperature 0.6, top_k 20, top_p 0.95, min_p 0.05, repetition_penalty 1.05\n");
  const SamplingOptions some = chosen({.top_p = 0.5, .top_k = 0}, kRecommended);
  EXPECT_EQ(some.top_p, 0.5);
  EXPECT_EQ(some.top_k, 0) << "off is a wish, too";
  EXPECT_EQ(some.temperature, 0.6);
}

TEST_F(SamplingChoice, AskedForGreedyIsGreedy) {
  const SamplingOptions greedy = chosen({.temperature = 0.0}, kRecommended);
  EXPECT_EQ(greedy.temperature, 0.0);
  EXPECT_EQ(greedy.top_k, 0);
  EXPECT_EQ(greedy.repetition_penalty, 1.05);
}

// As transformers does, which ignores the numbers then.
TEST_F(SamplingChoice, AModelThatDoesNotSampleIsGreedy) {
  EXPECT_EQ(chosen({}, R"({"temperature": 0.6, "top_p": 0.9})").temperature, 0.0);
  EXPECT_EQ(chosen({}, R"({"do_sample": false, "top_p": 0.9})").top_p, 1.0);
  EXPECT_EQ(chosen({}, R"({"do_sample": true})").temperature, 1.0);
  EXPECT_EQ(chosen({.temperature = 0.3}, R"({})").temperature, 0.3);
}

TEST_F(SamplingChoice, LeavesTheModelsDefaultsAloneUnlessAsked) {
  const SamplingOptions plain = choose_sampling({}, false, *model(kRecommended), heard_);
  EXPECT_EQ(plain.temperature, 0.0);
  EXPECT_EQ(plain.repetition_penalty, 1.0);
  EXPECT_EQ(heard_.said, "");
}

TEST_F(SamplingChoice, AFileThatCannotBeIsNamed) {
  for (const char* config : {R"({"do_sample": true, "top_p": 7})", R"({"do_sample": "yes"})",
                             R"({"repetition_penalty": -1})", R"({"do_sample": true, "top_k": 1.5})"})
    try {
      (void)chosen({}, config);
      ADD_FAILURE() << config;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
      EXPECT_NE(std::string(error.what()).find("generation_config.json"), std::string::npos) << error.what();
    }
}

TEST_F(SamplingChoice, ReadsBiases) {
  const SamplingOptions sampling = choose_sampling({.logit_bias = {"7:-100", "0:2.5"}}, heard_);
  EXPECT_EQ(sampling.logit_bias, (std::map<int64_t, double>{{0, 2.5}, {7, -100.0}}));
  for (const char* bad : {"7", "7:", ":1", "a:1", "7:b", "7:1x", "7:nan", "7:200", "7 :1"})
    EXPECT_NE(refused({.logit_bias = {bad}}, ErrorCode::usage).find("logit_bias"), std::string::npos) << bad;
  EXPECT_NE(refused({.logit_bias = {"7:1", "7:2"}}, ErrorCode::usage).find("given twice"), std::string::npos);
}

TEST_F(SamplingChoice, RefusesWhatWouldDoNothing) {
  EXPECT_TRUE(refused({.top_p = 0.5}, ErrorCode::usage).starts_with("top_p chooses among sampled tokens"));
  EXPECT_TRUE(refused({.top_k = 5}, ErrorCode::usage).starts_with("top_k"));
  EXPECT_TRUE(refused({.min_p = 0.1}, ErrorCode::usage).starts_with("min_p"));
  (void)choose_sampling({.seed = 7}, heard_);
  EXPECT_NE(heard_.warned.find("--seed has no effect"), std::string::npos);
  EXPECT_NO_THROW((void)choose_sampling({.repetition_penalty = 1.2, .presence_penalty = 1.0}, heard_));
}

}  // namespace
}  // namespace arkit
