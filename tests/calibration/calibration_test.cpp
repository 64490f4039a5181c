// Calibration sets from local files, with a tokenizer whose ids are code points (dataset_local_toy of the reference's
// vectors).

#include "calibration/calibration.h"

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

#include "calibration/calibration_testing.h"
#include "calibration/samples.h"
#include "hub/cached_hub.h"
#include "util/numpy_random.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::Tokenizer;
using arkit::calibration::CalibrationOptions;
using arkit::calibration::CalibrationSet;
using arkit::calibration::load_calibration;
using calibration_test::character_tokenizer;
using calibration_test::Recorder;
using calibration_test::Rows;
using calibration_test::rows;
using calibration_test::text_rows;

constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

class Calibration : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / arkit::str("arkit_calibration_", ::getpid(), "_",
                                                     testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::create_directories(folder_);
    // Nothing outside this folder may answer for a data set.
    ::setenv("HF_HUB_CACHE", (folder_ / "hub").c_str(), 1);
    cache_ = arkit::hub::open_cached_hub(silent_);
    toy_ = json::read_file(std::string(ARKIT_TEST_DATA) + "/calibration/dataset_local_toy.json").get_object();
    toy_file_ = write("toy.json", json::dump(toy_.at("inputs").at("texts")));
  }
  void TearDown() override {
    ::unsetenv("HF_HUB_CACHE");
    fs::remove_all(folder_);
  }

  std::string write(const std::string& name, const std::string& text) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path.string();
  }
  CalibrationSet load(const std::string& dataset, int64_t nsamples = 128, bool bos = false, int64_t seqlen = 8) {
    const Tokenizer tokenizer = character_tokenizer(bos);
    CalibrationOptions options;
    options.dataset = dataset;
    options.nsamples = nsamples;
    options.seqlen = seqlen;
    return load_calibration(options, &tokenizer, {}, *cache_, recorder_);
  }
  Rows expected(const std::string& name) const {
    Rows out;
    for (const json::Value& row : toy_.at("outputs").at(name).get_array()) {
      out.emplace_back();
      for (const json::Value& id : row.get_array()) out.back().push_back(id.get_int64());
    }
    return out;
  }
  void expect_error(const std::string& dataset, ErrorCode code, const std::string& part, int64_t seqlen = 8) {
    try {
      (void)load(dataset, 128, false, seqlen);
      ADD_FAILURE() << "accepted: " << dataset;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  }

  arkit::Reporter silent_;
  std::unique_ptr<arkit::hub::Hub> cache_;
  fs::path folder_;
  json::Object toy_;
  std::string toy_file_;
  Recorder recorder_;
};

TEST_F(Calibration, LocalFileIsShuffledTruncatedAndFilteredLikeTheReference) {
  const CalibrationSet set = load(toy_file_);
  EXPECT_EQ(rows(set), expected("plain"));
  EXPECT_EQ(set.entries.at(0).documents, 8);
  EXPECT_EQ(set.entries.at(0).too_short, 2);
  EXPECT_EQ(set.entries.at(0).repetitive, 2);
  EXPECT_EQ(set.unique_tokens, 32);
  EXPECT_EQ(set.sha256.size(), 64U);
  EXPECT_EQ(recorder_.warnings.size(), 1U);  // 4 samples, 128 asked for
  EXPECT_EQ(rows(load(toy_file_ + ":num=3")), expected("num3"));
  Rows first_two = expected("plain");
  first_two.resize(2);
  EXPECT_EQ(rows(load(toy_file_, 2)), first_two);
}

TEST_F(Calibration, ConcatFillsRowsAcrossDocuments) {
  Rows wanted = expected("concat");  // before the filter: two rows are repetitive
  std::erase_if(wanted, [](const auto& row) { return std::count(row.begin(), row.end(), row.back()) > 4; });
  EXPECT_EQ(rows(load(toy_file_ + ":concat")), wanted);
}

TEST_F(Calibration, ConcatGivesEveryRowItsBosAndExactlySeqlen) {
  const Rows made = rows(load(toy_file_ + ":concat=True", 128, true));
  ASSERT_FALSE(made.empty());
  for (const auto& row : made) {
    ASSERT_EQ(row.size(), 8U);
    EXPECT_EQ(row.front(), 1);
    EXPECT_EQ(std::count(row.begin(), row.end(), 1), 1);
  }
}

TEST_F(Calibration, ItemsMayBeStringsOrObjects) {
  const std::string file = write("items.jsonl",
                                 "\"abcdefgh\"\n{\"anything\": \"ABCDEFGH  \\n\"}\n\n"
                                 "{\"id\": 3, \"text\": \"01234567\"}\n{\"input_ids\": \"qrstuvwx\", \"n\": 1}\n");
  EXPECT_EQ(load(file).input_ids.size(0), 4);
  expect_error(write("bad.jsonl", "\"abcdefgh\"\n{\"a\": 1, \"b\": 2}\n"), ErrorCode::input, "item 2");
  expect_error(write("broken.jsonl", "{\n"), ErrorCode::input, "line 1");
  EXPECT_EQ(load(write("object.json", R"({"x": "abcdefgh", "y": "ABCDEFGH"})")).input_ids.size(0), 2);
}

TEST_F(Calibration, TextFilesAreRunningText) {
  const CalibrationSet set = load(write("book.txt", "abcdefghijklmnop\nqrstuvw rest"));
  Rows sorted = rows(set);
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(sorted, text_rows({"\nqrstuvw", "abcdefgh", "ijklmnop"}));
  EXPECT_EQ(set.entries.at(0).kind, "text");
}

TEST_F(Calibration, TokenIdFilesAreUsedAsTheyAre) {
  const auto safetensors = [&](const std::string& name, const std::vector<int64_t>& ids, int64_t n, int64_t length) {
    std::string header = arkit::str(R"({"input_ids":{"dtype":"I64","shape":[)", n, ",", length,
                                    R"(],"data_offsets":[0,)", ids.size() * 8, "]}}");
    header.resize((header.size() + 7) / 8 * 8, ' ');
    uint64_t size = header.size();
    std::string bytes(reinterpret_cast<const char*>(&size), 8);
    bytes += header;
    bytes.append(reinterpret_cast<const char*>(ids.data()), ids.size() * 8);
    return write(name, bytes);
  };
  EXPECT_EQ(rows(load(safetensors("ids.safetensors", {5, 6, 7, 8, 9, 10}, 2, 3), 128, false, 2)),
            (Rows{{5, 6}, {8, 9}}));
  expect_error(safetensors("short.safetensors", {1, 2}, 1, 2), ErrorCode::input, "1 shorter than 8");
  expect_error(safetensors("negative.safetensors", {-1, 2}, 1, 2), ErrorCode::input, "-1", 2);
  CalibrationOptions options;
  options.dataset = safetensors("large.safetensors", {1, 99}, 1, 2);
  options.seqlen = 2;
  options.vocab_size = 50;
  EXPECT_THROW((void)load_calibration(options, nullptr, {}, *cache_, recorder_), Error);
}

TEST_F(Calibration, SeveralEntriesShareTheSamples) {
  json::Array small, large;
  for (int i = 0; i < 3; ++i) small.emplace_back(arkit::str("small-00", i));
  for (int i = 0; i < 20; ++i) large.emplace_back(arkit::str("large-", 100 + i));
  const std::string a = write("large.json", json::dump(large)), b = write("small.json", json::dump(small));
  const CalibrationSet set = load(a + "," + b, 10);  // the short one first: (10 - 0) / 2 = 5, it has 3; then 10 - 3
  EXPECT_EQ(set.input_ids.size(0), 10);
  EXPECT_EQ(set.entries.at(0).used, 3);
  EXPECT_EQ(set.entries.at(1).used, 7);
  const CalibrationSet counted = load(a + ":num=4," + b, 6);  // 6 - 4 = 2 for the other
  EXPECT_EQ(counted.input_ids.size(0), 6);
  EXPECT_EQ(counted.entries.at(0).used, 2);
  EXPECT_EQ(counted.entries.at(1).used, 4);
  EXPECT_EQ(load(a + "," + b, 10).sha256, set.sha256);
}

TEST_F(Calibration, ChatTemplatesAreAppliedWithTheSystemPrompt) {
  const Tokenizer tokenizer =
      character_tokenizer(false,
                          "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + ';' }}{% endfor %}"
                          "{% if add_generation_prompt %}>{% endif %}");
  CalibrationOptions options;
  options.dataset = write("chat.json", R"(["hello"])") + ":system_prompt='Be brief'";
  options.seqlen = 19;
  EXPECT_EQ(rows(load_calibration(options, &tokenizer, {}, *cache_, recorder_)), text_rows({"s:Be brief;u:hello;"}));
  // Conversations without a template are their contents; a pair ends with the answer, so that nothing is prompted for.
  options.seqlen = 8;
  options.dataset =
      write("turns.json", R"([{"messages":[{"role":"user","content":"abcd"},{"from":"gpt","value":"efgh"}]}])");
  EXPECT_EQ(rows(load_calibration(options, &tokenizer, {}, *cache_, recorder_)), text_rows({"abcdefgh"}));
  options.seqlen = 13;
  options.dataset += ":system_prompt=";
  EXPECT_EQ(rows(load_calibration(options, &tokenizer, {}, *cache_, recorder_)), text_rows({"u:abcd;a:efgh"}));
  options.dataset = write("pairs.json", R"([{"question":"abcd","answer":"efgh"}])") + ":system_prompt=";
  options.seqlen = 14;
  EXPECT_EQ(rows(load_calibration(options, &tokenizer, {}, *cache_, recorder_)), text_rows({"u:abcd;a:efgh;"}));
  options.seqlen = 15;  // a prompt for the next turn would be the 15th
  EXPECT_THROW((void)load_calibration(options, &tokenizer, {}, *cache_, recorder_), Error);
}

TEST_F(Calibration, NothingLeftIsAnErrorWithCounts) {
  expect_error(toy_file_, ErrorCode::input, "8 documents, 8 shorter than 64 tokens, 0 too repetitive", 64);
  expect_error(write("same.json", R"(["aaaaaaaaaa"])"), ErrorCode::input, "0 shorter than 8 tokens, 1 too repetitive");
}

TEST_F(Calibration, MistakesAreExplained) {
  expect_error(toy_file_ + ":split=train", ErrorCode::usage, "no meaning for a local file");
  expect_error(toy_file_ + ":revision=main", ErrorCode::usage, "no meaning for a local file");
  expect_error(toy_file_ + ":template={a", ErrorCode::usage, "leaves a brace open");
  expect_error(toy_file_ + ":field=a:template={a}", ErrorCode::usage, "gives field and template");
  expect_error(write("book.txt", "abc") + ":field=text", ErrorCode::usage, "field has no meaning for running text");
  expect_error("pile-10", ErrorCode::input, "dataset 'NeelNanda/pile-10k': revision 'main' is not in the cache");
  expect_error("some/thing", ErrorCode::input, "dataset 'some/thing': revision 'main' is not in the cache");
  expect_error("no-such-file.json", ErrorCode::input, "neither a file");
  expect_error("pilee-10k", ErrorCode::input, "did you mean 'pile-10k'");
  expect_error("", ErrorCode::usage, "--dataset self");
  expect_error("self", ErrorCode::usage, "no model");
  expect_error(write("x.csv", "a,b"), ErrorCode::input, "extension '.csv' is not read");
  write("hub/datasets--NeelNanda--pile-10k/refs/main", kCommit);
  write(arkit::str("hub/datasets--NeelNanda--pile-10k/snapshots/", kCommit, "/data/train.arrow"), "ARROW1");
  expect_error("pile-10k", ErrorCode::input, "none of its 1 files is one arkit reads");
}

TEST_F(Calibration, KnownNamesReadWhatTheCacheHolds) {
  write("hub/datasets--NeelNanda--pile-10k/refs/main", kCommit);
  write(arkit::str("hub/datasets--NeelNanda--pile-10k/snapshots/", kCommit, "/train.jsonl"),
        "{\"text\":\"abcdefgh\",\"meta\":{}}\n{\"text\":\"ABCDEFGH\",\"meta\":{}}\n{\"text\":\"01234567\",\"meta\":{}}"
        "\n");
  const std::vector<std::string> texts{"abcdefgh", "ABCDEFGH", "01234567"};
  std::vector<std::string> shuffled;
  for (const int64_t i : arkit::numpy_permutation(42, 3)) shuffled.push_back(texts[static_cast<size_t>(i)]);
  EXPECT_EQ(rows(load("pile-10k")), text_rows(shuffled));
  const CalibrationSet usual = load("");  // the default data set
  EXPECT_EQ(rows(usual), text_rows(shuffled));
  EXPECT_EQ(usual.dataset, "NeelNanda/pile-10k");
  EXPECT_EQ(usual.entries.at(0).source.hub_id, "NeelNanda/pile-10k");
  EXPECT_EQ(usual.entries.at(0).source.commit, kCommit);
  EXPECT_EQ(usual.entries.at(0).source.text, "field 'text'");
}

}  // namespace
