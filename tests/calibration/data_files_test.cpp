#include "calibration/data_files.h"

#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/calibration_testing.h"

namespace {

using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::choose_data_files;
using arkit::calibration::DataFiles;
using arkit::calibration::DataWanted;
using arkit::calibration::matches_pattern;
using Names = std::vector<std::string>;

DataFiles choose(const Names& paths, const std::string& card, const DataWanted& wanted = {}) {
  calibration_test::Recorder recorder;
  return choose_data_files(paths, card, wanted, "dataset 'x'", recorder);
}

std::string usage(const Names& paths, const std::string& card, const DataWanted& wanted = {}) {
  try {
    (void)choose(paths, card, wanted);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    return error.what();
  }
  return "accepted";
}

TEST(DataFiles, PatternsAreThoseOfAShell) {
  for (const auto& [path, pattern] :
       std::vector<std::pair<std::string, std::string>>{{"data/train-0.parquet", "data/train-*"},
                                                        {"a/b/c.json", "**"},
                                                        {"a/b/c.json", "**/c.json"},
                                                        {"c.json", "**/c.json"},
                                                        {"a/b/c.json", "a/**/*.json"},
                                                        {"a/c.json", "a/**/*.json"},
                                                        {"t1.jsonl", "t[0-9].jsonl"},
                                                        {"t1.jsonl", "t?.jsonl"},
                                                        {"aXbXc", "a*b*c"},
                                                        {"x/sample/10BT/000.parquet", "x/*/10BT/*"}})
    EXPECT_TRUE(matches_pattern(path, pattern)) << path << " " << pattern;
  for (const auto& [path, pattern] :
       std::vector<std::pair<std::string, std::string>>{{"data/x/train-0.parquet", "data/*"},
                                                        {"tx.jsonl", "t[0-9].jsonl"},
                                                        {"a/c.json", "a?c.json"},
                                                        {"c.json.bak", "**/c.json"},
                                                        {"", "a"},
                                                        {"a", ""},
                                                        {"t[.jsonl", "t[0-9"}})
    EXPECT_FALSE(matches_pattern(path, pattern)) << path << " " << pattern;
  EXPECT_FALSE(matches_pattern(std::string(300, 'a'), "**a**a**a**a**a**a**a**b"));
}

TEST(DataFiles, TheCardSaysConfigurationsAndSplits) {
  const std::string card = R"(---
license: mit
configs:
- config_name: default
  data_files:
  - split: en
    path: data/en/*
  - split: zh
    path: ["data/zh/*.parquet"]
- config_name: small
  default: false
  data_files: data/en/part-1.parquet
---
# A data set
)";
  const Names paths{"README.md", "data/en/part-1.parquet", "data/en/part-2.parquet", "data/zh/part-1.parquet", "x.py"};
  const DataFiles en = choose(paths, card, {.config = "", .splits = {"en"}, .files = {}});
  EXPECT_EQ(en.paths, (Names{"data/en/part-1.parquet", "data/en/part-2.parquet"}));
  EXPECT_EQ(en.config, "default");
  EXPECT_EQ(choose(paths, card, {.config = "", .splits = {"zh", "en"}, .files = {}}).paths.front(),
            "data/zh/part-1.parquet");
  const DataFiles small = choose(paths, card, {.config = "small", .splits = {}, .files = {}});
  EXPECT_EQ(small.paths, Names{"data/en/part-1.parquet"});
  EXPECT_EQ(small.splits, Names{"train"});
  EXPECT_NE(usage(paths, card).find("has no split 'train'; add ':split=' and one of 'en', 'zh'"), std::string::npos);
  EXPECT_NE(usage(paths, card, {.config = "smal", .splits = {}, .files = {}}).find("did you mean 'small'"),
            std::string::npos);
  EXPECT_NE(usage(paths, card, {.config = "", .splits = {"eng"}, .files = {}}).find("known are 'en', 'zh'"),
            std::string::npos);
}

TEST(DataFiles, SeveralConfigurationsWithoutAUsualOneAreAsked) {
  const std::string card =
      "---\nconfigs:\n- config_name: 2020\n  data_dir: a\n- config_name: 2021\n  data_dir: b/\n---\n";
  const Names paths{"a/train.jsonl", "b/train.jsonl", "b/test.jsonl"};
  EXPECT_NE(usage(paths, card).find("add ':config=' and one of '2020', '2021'"), std::string::npos);
  EXPECT_EQ(choose(paths, card, {.config = "2021", .splits = {}, .files = {}}).paths, Names{"b/train.jsonl"});
}

TEST(DataFiles, WithoutACardNamesSaySplits) {
  EXPECT_EQ(choose({"data/test-00000-of-00001.parquet", "data/train_sft-00000-of-00002-ab.parquet",
                    "data/train_sft-00001-of-00002-cd.parquet"},
                   "", {.config = "", .splits = {"train_sft"}, .files = {}})
                .paths.size(),
            2U);
  EXPECT_EQ(choose({"test.jsonl.zst", "train.jsonl.zst", "val.jsonl.zst"}, "").paths, Names{"train.jsonl.zst"});
  EXPECT_EQ(choose({"test.jsonl.zst", "train.jsonl.zst", "val.jsonl.zst"}, "",
                   {.config = "", .splits = {"validation"}, .files = {}})
                .paths,
            Names{"val.jsonl.zst"});
  // "latest" is no test, "constrain" no train.
  EXPECT_EQ(choose({"latest.json", "constrain.json", "dataset_infos.json", ".cache/x.json"}, "").paths,
            (Names{"latest.json", "constrain.json"}));
  EXPECT_EQ(choose({"full/test-00000-of-00001.parquet", "full/train-00000-of-00001.parquet",
                    "small/train-00000-of-00001.parquet"},
                   "", {.config = "full", .splits = {"train", "test"}, .files = {}})
                .paths,
            (Names{"full/train-00000-of-00001.parquet", "full/test-00000-of-00001.parquet"}));
  EXPECT_EQ(
      choose({"train_prefs.jsonl", "train_sft.jsonl"}, "", {.config = "", .splits = {"train_sft"}, .files = {}}).paths,
      Names{"train_sft.jsonl"});
  EXPECT_TRUE(choose({"x.csv", "load.py"}, "").paths.empty());
}

TEST(DataFiles, TheHubsOwnConversion) {
  const Names paths{"default/partial-train/0000.parquet", "default/test/0000.parquet", "en/train/0000.parquet"};
  const DataFiles files = choose(paths, "", {.config = "", .splits = {}, .files = {}, .converted = true});
  EXPECT_EQ(files.paths, Names{"default/partial-train/0000.parquet"});
  EXPECT_EQ(files.config, "default");
  EXPECT_EQ(choose({"a/train_sft/0000.parquet", "a/train/0000.parquet"}, "",
                   {.config = "", .splits = {"train_sft"}, .files = {}, .converted = true})
                .paths,
            Names{"a/train_sft/0000.parquet"});
}

TEST(DataFiles, ACardThatIsNoneIsAWarning) {
  calibration_test::Recorder recorder;
  const std::string card = "---\nconfigs: [\n---\n";
  EXPECT_EQ(choose_data_files({"train.jsonl"}, card, {}, "dataset 'x'", recorder).paths, Names{"train.jsonl"});
  ASSERT_EQ(recorder.warnings.size(), 1U);
  EXPECT_NE(recorder.warnings[0].find("its card is not understood"), std::string::npos);
  EXPECT_EQ(choose_data_files({"train.jsonl"}, "---\n[1]\n---\n", {}, "dataset 'x'", recorder).paths,
            Names{"train.jsonl"});
}

}  // namespace
