#include "autoscheme/score_cache.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <arkit/part_file.h>

#include "jobs/job_testing.h"
#include "jobs/source_hashes.h"
#include "score_testing.h"

namespace arkit::auto_scheme {
namespace {

using arkit::testing::Recorder;
using arkit::testing::TemporaryFolder;
using arkit::testing::tiny_model;
using testing::option;
using testing::ScoredModel;

struct Cached {
  ScoredModel model{"llama", {option("W4A16"), option("W8A16")}};
  TemporaryFolder folder;
  ScoreSettings settings;
  Recorder recorder;
  ScoreTable table;
  std::vector<std::filesystem::path> files = weight_files(*model.source, std::nullopt);

  Cached() {
    for (const SchemeOption& o : model.options) table.options.push_back(o.name);
    for (size_t i = 0; i < model.pool.size(); ++i) {
      table.layers.push_back(model.pool[i].plan.name);
      table.loss.push_back({0.1 + static_cast<double>(i) / 3.0, 1e-9});
    }
  }
  ScoreInputs inputs() {
    return {.source = *model.source,
            .weight_files = files,
            .input_ids = model.ids,
            .pool = model.pool,
            .options = model.options,
            .settings = settings};
  }
  ScoreCache cache() { return {folder.path() / "scores", inputs()}; }
};

TEST(ScoreCache, GivesBackWhatWasStored) {
  Cached c;
  EXPECT_FALSE(c.cache().load(c.recorder).has_value());
  c.cache().store(c.table, c.recorder);
  const auto found = c.cache().load(c.recorder);
  ASSERT_TRUE(found.has_value());
  for (size_t i = 0; i < c.table.loss.size(); ++i)
    for (size_t o = 0; o < 2; ++o) EXPECT_DOUBLE_EQ(found->loss[i][o], c.table.loss[i][o]);
  EXPECT_EQ(found->layers, c.table.layers);
  EXPECT_EQ(found->options, c.table.options);
  EXPECT_TRUE(c.recorder.warnings.empty());
}

TEST(ScoreCache, WhateverScoresFollowFromChangesTheKey) {
  Cached c;
  const std::string key = score_key(c.inputs());
  EXPECT_EQ(score_key(c.inputs()), key);
  c.settings.seed = 43;
  EXPECT_NE(score_key(c.inputs()), key);
  c.settings.seed = 42;
  c.settings.mode = ScoreMode::compat;
  EXPECT_NE(score_key(c.inputs()), key);
  c.settings.mode = ScoreMode::standard;
  ScoreInputs rotated = c.inputs();
  rotated.variant = "hadamard";
  EXPECT_NE(score_key(rotated), key);
  c.model.pool[5].quants[1].weight.group_size = 64;
  EXPECT_NE(score_key(c.inputs()), key);
  c.model.pool[5].quants[1].weight.group_size = 32;
  c.model.ids[3][4] += 1;
  EXPECT_NE(score_key(c.inputs()), key);
  c.model.ids[3][4] -= 1;
  EXPECT_EQ(score_key(c.inputs()), key);
}

// Neither names nor times of files: what weights are.
TEST(ScoreCache, ItIsTheContentOfWeightsThatCounts) {
  namespace fs = std::filesystem;
  Cached c;
  const auto key_of = [&](const fs::path& folder) {
    const std::unique_ptr<ModelSource> source = open_hf_folder(folder);
    const ScoreInputs given = c.inputs();
    const std::vector<fs::path> files = weight_files(*source, std::nullopt);
    return score_key({.source = *source,
                      .weight_files = files,
                      .input_ids = given.input_ids,
                      .pool = given.pool,
                      .options = given.options,
                      .settings = given.settings});
  };
  const fs::path model = tiny_model("source-llama-bf16"), copy = c.folder.path() / "copy";
  fs::copy(model, copy, fs::copy_options::recursive);
  const fs::path weights = copy / "model.safetensors";
  fs::last_write_time(weights, fs::last_write_time(model / "model.safetensors") + std::chrono::hours(5));
  EXPECT_EQ(key_of(copy), key_of(model));

  const auto time = fs::last_write_time(weights);
  std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
  file.seekg(-1, std::ios::end);
  const char last = static_cast<char>(file.get());
  file.seekp(-1, std::ios::end);
  file.put(static_cast<char>(last ^ 1));
  file.close();
  fs::last_write_time(weights, time);
  EXPECT_NE(key_of(copy), key_of(model));
}

TEST(ScoreCache, DamagedAndForeignFilesAreIgnoredWithAWarning) {
  Cached c;
  c.cache().store(c.table, c.recorder);
  const std::filesystem::path file = c.cache().file();
  std::ifstream in(file);
  const std::string good{std::istreambuf_iterator<char>(in), {}};
  const auto replaced = [&](std::string_view what, std::string_view with) {
    std::string text = good;
    const size_t at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return at == std::string::npos ? text : text.replace(at, what.size(), with);
  };
  const std::vector<std::string> bad = {"",
                                        "[]",
                                        good.substr(0, good.size() / 2),
                                        replaced("\"key\": \"", "\"key\": \"f"),
                                        replaced("autoscheme scores", "autoscheme notes"),
                                        replaced("q_proj", "w_proj"),
                                        replaced("0.1,", "-0.1,"),
                                        replaced("0.1,", "\"0.1\","),
                                        replaced("0.1,", "")};
  for (size_t i = 0; i < bad.size(); ++i) {
    write_file(file, bad[i]);
    EXPECT_FALSE(c.cache().load(c.recorder).has_value()) << bad[i].substr(0, 200);
    EXPECT_EQ(c.recorder.warnings.size(), i + 1);
  }
}

TEST(ScoreCache, AFolderThatCannotBeMadeIsOnlyAWarning) {
  Cached c;
  write_file(c.folder.path() / "file", "x");
  const ScoreCache cache(c.folder.path() / "file" / "scores", c.inputs());
  cache.store(c.table, c.recorder);
  EXPECT_EQ(c.recorder.warnings.size(), 1u);
  EXPECT_FALSE(cache.load(c.recorder).has_value());
}

}  // namespace
}  // namespace arkit::auto_scheme
