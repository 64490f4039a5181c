// Data sets of a hub: which files are read, how far, in which order, and what the record says.

#include <algorithm>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/calibration.h"
#include "calibration/calibration_testing.h"
#include "util/numpy_random.h"
#include "util/python_random.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::CalibrationOptions;
using arkit::calibration::CalibrationSet;
using calibration_test::character_tokenizer;
using calibration_test::FolderHub;
using calibration_test::Recorder;
using calibration_test::rows;
using calibration_test::TempDir;
using calibration_test::text_rows;
using Names = std::vector<std::string>;

class DatasetHub : public testing::Test {
 protected:
  CalibrationSet load(const std::string& dataset, int64_t nsamples = 128, int64_t seqlen = 8) {
    const arkit::Tokenizer tokenizer =
        character_tokenizer(false, "{% for m in messages %}{{ m['role'][0] + ':' + m['content'] + ';' }}{% endfor %}");
    CalibrationOptions options;
    options.dataset = dataset;
    options.nsamples = nsamples;
    options.seqlen = seqlen;
    options.model_names = model_names_;
    options.modelscope = modelscope_;
    return load_calibration(options, &tokenizer, {}, hub_, recorder_);
  }
  std::string refusal(ErrorCode code, const std::string& dataset) {
    try {
      (void)load(dataset);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    return "accepted";
  }
  // `count` lines {"FIELD": "aaa-0003"}.
  void write_lines(const std::string& file, const std::string& field, const std::string& letters, int count,
                   const std::string& more = "") {
    std::string lines;
    for (int i = 0; i < count; ++i) {
      std::string number = arkit::str(10000 + i).substr(1);
      lines += arkit::str("{\"", field, "\":\"", letters, "-", number, "\"", more, "}\n");
    }
    folder_.write(file, lines);
  }
  static Names texts(const CalibrationSet& set) {
    Names out;
    for (const auto& row : rows(set)) out.emplace_back(row.begin(), row.end());
    return out;
  }

  TempDir folder_;
  FolderHub hub_{folder_.path()};
  Recorder recorder_;
  Names model_names_;
  bool modelscope_ = false;
};

TEST_F(DatasetHub, WholeSetsAreFetchedAndPermuted) {
  write_lines("NeelNanda/pile-10k@main/data/train-00000-of-00002.jsonl", "text", "aaa", 3);
  write_lines("NeelNanda/pile-10k@main/data/train-00001-of-00002.jsonl", "text", "bbb", 2);
  write_lines("NeelNanda/pile-10k@main/data/test-00000-of-00001.jsonl", "text", "ccc", 2);
  const Names in_file{"aaa-0000", "aaa-0001", "aaa-0002", "bbb-0000", "bbb-0001"};
  Names expected;
  for (const int64_t i : arkit::numpy_permutation(42, 5)) expected.push_back(in_file[static_cast<size_t>(i)]);
  const CalibrationSet set = load("pile-10k");
  EXPECT_EQ(texts(set), expected);
  EXPECT_EQ(hub_.fetched, (Names{"data/train-00000-of-00002.jsonl", "data/train-00001-of-00002.jsonl"}));
  EXPECT_TRUE(hub_.read_by_ranges.empty());
  const json::Object entry = set.report().at("entries").at(0).get_object();
  EXPECT_EQ(entry.at("hub_id"), "NeelNanda/pile-10k");
  EXPECT_EQ(entry.at("commit"), FolderHub::kCommit);
  EXPECT_EQ(entry.at("text"), "field 'text'");
  EXPECT_EQ(entry.at("hub_files").get_array().size(), 2U);
  EXPECT_FALSE(entry.contains("files"));  // none of this machine
}

TEST_F(DatasetHub, StreamsReadOnlyABeginning) {
  const std::string repo = "openbmb/Ultra-FineWeb@main/";
  folder_.write(repo + "README.md",
                "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: en\n    path: data/en/*\n---\n");
  const std::string padding = arkit::str(",\"pad\":\"", std::string(2000, 'x'), "\"");
  for (const char* letter : {"aaa", "bbb", "ccc"})
    write_lines(arkit::str(repo, "data/en/", letter, ".jsonl"), "content", letter, 3000, padding);
  const CalibrationSet set = load("openbmb/Ultra-FineWeb", 10);
  EXPECT_EQ(set.input_ids.size(0), 10);
  // The files' order is numpy's; of the first, the buffer of 1000 rows is read, and no other file.
  const Names files{"data/en/aaa.jsonl", "data/en/bbb.jsonl", "data/en/ccc.jsonl"};
  const std::string first = files[static_cast<size_t>(arkit::numpy_permutation(42, 3).front())];
  ASSERT_EQ(hub_.read_by_ranges.size(), 1U);
  EXPECT_EQ(hub_.read_by_ranges.begin()->first, first);
  EXPECT_LT(hub_.read_by_ranges.begin()->second, 4'500'000);  // of 6.1 MB: ranges double
  EXPECT_EQ(hub_.fetched, Names{"README.md"});
  const auto order = arkit::numpy_permutation(42, 1000);
  for (size_t i = 0; i < 10; ++i)
    EXPECT_EQ(texts(set)[i], arkit::str(first.substr(8, 3), "-", arkit::str(10000 + order[i]).substr(1)));
  EXPECT_EQ(set.entries.at(0).source.rows, 1000);
  EXPECT_EQ(set.entries.at(0).source.splits, Names{"en"});
  EXPECT_EQ(texts(load("openbmb/Ultra-FineWeb", 10)), texts(set));
  // Half of the buffer stays behind: the first 500 are of rows 0 to 999, the next 500 of 0 to 1499.
  const Names all = texts(load("openbmb/Ultra-FineWeb", 2500));
  const auto in_first_rows = [&](size_t end, const std::string& text) { return std::stoul(text.substr(4)) < end; };
  for (size_t i = 0; i < 500; ++i) EXPECT_TRUE(in_first_rows(1000, all[i]));
  for (size_t i = 500; i < 1000; ++i) EXPECT_TRUE(in_first_rows(1500, all[i]));
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), 2500U);
}

TEST_F(DatasetHub, ProgramsAreJoinedFromThreeSplitsInPythonsOrder) {
  const std::string repo = "google-research-datasets/mbpp@main/full/";
  folder_.write(repo + "train-00000-of-00001.jsonl", R"({"text":"task","code":"one1","test_list":[]})");
  folder_.write(repo + "validation-00000-of-00001.jsonl", R"({"text":"task","code":"two2"})");
  folder_.write(repo + "test-00000-of-00001.jsonl", R"({"text":"task","code":"thr3"})");
  folder_.write("google-research-datasets/mbpp@main/sanitized/train-00000-of-00001.jsonl", R"({"prompt":"no"})");
  Names expected{"taskone1", "tasktwo2", "taskthr3"};
  arkit::PythonRandom(42).shuffle(expected);
  EXPECT_EQ(texts(load("mbpp")), expected);
  EXPECT_EQ(texts(load("mbpp:split=test")), Names{"taskthr3"});
}

TEST_F(DatasetHub, FiltersPickLicences) {
  folder_.write("codeparrot/github-code-clean@main/github-code-clean.py", "print()");
  folder_.write("codeparrot/github-code-clean@main/data/train-00000-of-00880.jsonl", "{}");
  EXPECT_NE(refusal(ErrorCode::input, "github-code-clean").find("none of its 2 files"),
            std::string::npos);  // only parquet
#ifdef ARKIT_HAS_PARQUET
  fs::copy_file(ARKIT_TEST_DATA "/datasets/dictionary.parquet", [&] {
    fs::create_directories(folder_.path() / "x/y@main/data");
    return folder_.path() / "x/y@main/data/train-0.parquet";
  }());
  const std::string toml = folder_.write("x.toml",
                                         "name = \"x\"\nsource = \"x/y\"\nfield = \"code\"\nshuffle = \"none\"\n"
                                         "filter = { language = \"C++\" }\n");
  const CalibrationSet set = load(toml, 128, 4);
  EXPECT_EQ(set.entries.at(0).source.rows, 30);
  EXPECT_EQ(set.entries.at(0).documents, 10);
#endif
}

TEST_F(DatasetHub, ConversationsAreJoinedOrRendered) {
  folder_.write(
      "HuggingFaceH4/ultrachat_200k@main/data/train_sft-00000-of-00003.jsonl",
      R"({"prompt":"ab","messages":[{"content":"abcd","role":"user"},{"content":"efgh","role":"assistant"}]})");
  EXPECT_EQ(texts(load("HuggingFaceH4/ultrachat_200k")), Names{"abcdefgh"});
  EXPECT_EQ(texts(load("ultrachat_200k:system_prompt=", 128, 14)), Names{"u:abcd;a:efgh;"});
}

TEST_F(DatasetHub, AnyOtherDataSetWorksAndSaysWhatItTook) {
  folder_.write("acme/stories@main/train.jsonl", "{\"id\":\"n1\",\"story\":\"abcdefgh\"}\n");
  EXPECT_EQ(texts(load("acme/stories")), Names{"abcdefgh"});
  ASSERT_FALSE(recorder_.infos.empty());
  EXPECT_EQ(recorder_.infos.back(), "dataset 'acme/stories': texts are taken from field 'story'");
  folder_.write("acme/qa@main/train.jsonl", "{\"q\":\"abcd\",\"a\":\"efgh\"}\n");
  folder_.write("acme/qa@v2/dev.jsonl", "{\"q\":\"ABCD\",\"a\":\"EFGH\"}\n");
  EXPECT_NE(refusal(ErrorCode::input, "acme/qa").find("it has 'q', 'a': name one with ':field=NAME'"),
            std::string::npos);
  EXPECT_EQ(texts(load("acme/qa:field=q", 128, 4)), Names{"abcd"});
  EXPECT_EQ(texts(load("acme/qa:field=q+a", 128, 9)), Names{"abcd\nefgh"});
  EXPECT_EQ(texts(load("acme/qa:template='{a}: {q}'", 128, 10)), Names{"efgh: abcd"});
  EXPECT_EQ(texts(load("acme/qa:revision=v2:split=validation:template={q}{a}")), Names{"ABCDEFGH"});
  EXPECT_EQ(texts(load("acme/qa@v2:split=validation:template={q}{a}")), Names{"ABCDEFGH"});
  EXPECT_NE(refusal(ErrorCode::usage, "acme/qa@v2:split=tset:field=q").find("known are 'validation'"),
            std::string::npos);
  EXPECT_NE(refusal(ErrorCode::input, "acme/none").find("the hub has none"), std::string::npos);
}

TEST_F(DatasetHub, TheHubsConversionStandsInForOtherFormats) {
  folder_.write("acme/table@main/data.csv", "a,b\n");
  folder_.write("acme/table@main/load.py", "");
  EXPECT_NE(refusal(ErrorCode::input, "acme/table").find("none of its 2 files is one arkit reads"), std::string::npos);
  folder_.write("acme/table@refs_convert_parquet/default/train/0000.jsonl", "{\"text\":\"abcdefgh\"}\n");
  const CalibrationSet set = load("acme/table");
  EXPECT_EQ(texts(set), Names{"abcdefgh"});
  EXPECT_EQ(set.entries.at(0).source.files, Names{"default/train/0000.jsonl"});
}

TEST_F(DatasetHub, AFileRegistersAUsersOwn) {
  folder_.write("notes/part.jsonl",
                "{\"q\":\"abcd\",\"a\":\"efgh\",\"lang\":\"de\"}\n{\"q\":\"ABCD\",\"a\":\"EFGH\",\"lang\":\"en\"}\n");
  const std::string toml = folder_.write("mine.toml",
                                         "name = \"mine\"\nsource = \"notes\"\ntemplate = \"{q}{a}\"\n"
                                         "filter = { lang = \"en\" }\n");
  const CalibrationSet set = load(toml + ":num=3");
  EXPECT_EQ(texts(set), Names{"ABCDEFGH"});
  EXPECT_EQ(set.entries.at(0).source.files, Names{(folder_.path() / "notes/part.jsonl").string()});
  EXPECT_TRUE(set.entries.at(0).source.hub_id.empty());
  EXPECT_EQ(texts(load((folder_.path() / "notes").string() + ":field=q", 128, 4)).size(), 2U);  // a folder as it is
  EXPECT_NE(refusal(ErrorCode::usage, toml + ":revision=x").find("no meaning for a local folder"), std::string::npos);
  // Where the filter leaves nothing, longer texts would not help.
  const std::string none = folder_.write("none.toml",
                                         "name = \"none\"\nsource = \"notes\"\ntemplate = \"{q}{a}\"\n"
                                         "filter = { lang = \"fr\" }\n");
  const std::string said = refusal(ErrorCode::input, none);
  EXPECT_NE(said.find("2 rows dropped by its filter, 0 documents"), std::string::npos) << said;
  EXPECT_NE(said.find("; look at the values that its filter asks for"), std::string::npos) << said;
  EXPECT_EQ(said.find("longer texts"), std::string::npos) << said;
}

TEST_F(DatasetHub, AFolderHereIsMeantBeforeAPartOfAKnownName) {
  folder_.write("datasets/train.jsonl", "{\"text\":\"abcdefgh\"}\n");  // "google-research-datasets/..."
  folder_.write("mbpp/train.jsonl", "{\"text\":\"ABCDEFGH\"}\n");
  const fs::path before = fs::current_path();
  fs::current_path(folder_.path());
  EXPECT_EQ(texts(load("datasets")), Names{"abcdefgh"});
  EXPECT_NE(refusal(ErrorCode::input, "mbpp").find("the hub has none"), std::string::npos);  // a whole name
  EXPECT_EQ(texts(load("./mbpp")), Names{"ABCDEFGH"});
  fs::current_path(before);
}

TEST_F(DatasetHub, ModelScopeHasIdsOfItsOwn) {
  write_lines("mit-han-lab/pile-val-backup@main/val.jsonl", "text", "aaa", 1);
  write_lines("swift/pile-val-backup@main/val.jsonl", "text", "bbb", 1);
  EXPECT_EQ(texts(load("swift/pile-val-backup")), Names{"aaa-0000"});
  modelscope_ = true;
  EXPECT_EQ(texts(load("swift/pile-val-backup")), Names{"bbb-0000"});
}

TEST_F(DatasetHub, TheDefaultFollowsTheModelAndSaysSo) {
  write_lines("nvidia/OpenCodeInstruct@main/data/train-00000-of-00001.jsonl", "input", "aaa", 20, ",\"output\":\"x\"");
  write_lines("NeelNanda/pile-10k@main/data/train-00000-of-00001.jsonl", "text", "bbb", 4);
  EXPECT_EQ(load("", 2).dataset, "NeelNanda/pile-10k");
  model_names_ = {"acme-coder-1b"};
  EXPECT_EQ(load("", 1).dataset, "opencode-instruct:num=1");
  ASSERT_FALSE(recorder_.infos.empty());
  EXPECT_NE(recorder_.infos.back().find("its name speaks of code"), std::string::npos);
  const std::string missing = refusal(ErrorCode::usage, "");  // the second half of the mix is not there
  EXPECT_NE(missing.find("the default cannot be had"), std::string::npos);
  EXPECT_NE(missing.find("--dataset self"), std::string::npos);
}

TEST_F(DatasetHub, InstructionsAreJoinedToFullRows) {
  write_lines("nvidia/OpenCodeInstruct@main/data/train-00000-of-00001.jsonl", "input", "aaa", 9, ",\"output\":\"xy\"");
  const CalibrationSet set = load("opencode-instruct", 128, 12);  // "aaa-0000\n\nxy" is 12 long
  EXPECT_EQ(set.input_ids.size(0), 9);
  EXPECT_EQ(load("opencode-instruct", 128, 24).input_ids.size(0), 4);
}

#ifdef ARKIT_HAS_PARQUET
TEST_F(DatasetHub, OfParquetTheNeededRowGroupsAreRead) {
  const std::string file = calibration_test::bytes_of(ARKIT_TEST_DATA "/datasets/groups.parquet");
  folder_.write("acme/groups@main/data/train-00000-of-00001.parquet", file);
  const std::string toml = folder_.write("g.toml", "name = \"g\"\nsource = \"acme/groups\"\nshuffle = \"none\"\n");
  const CalibrationSet set = load(toml, 3);
  EXPECT_EQ(texts(set), (Names{"row 000 ", "row 001 ", "row 002 "}));
  const int64_t read = hub_.read_by_ranges.at("data/train-00000-of-00001.parquet");
  EXPECT_LT(read, 75'000);  // footer 65,536, and the texts of 64 rows
  EXPECT_EQ(set.entries.at(0).source.bytes, read);
}
#endif

}  // namespace
