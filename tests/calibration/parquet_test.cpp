// Parquet files against the rows pyarrow reads from them (tests/data/datasets/make_parquet.py made both).

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/calibration_testing.h"
#include "calibration/row_reader.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::ChooseColumns;
using arkit::calibration::open_rows;
using calibration_test::bytes_of;
using calibration_test::Memory;
using calibration_test::peak_bytes;

const fs::path kFolder = ARKIT_TEST_DATA "/datasets";

std::vector<std::string> all_columns(const std::vector<std::string>& /*names*/) {
  return {};
}

std::vector<json::Value> rows_of(const std::string& bytes, const ChooseColumns& columns = all_columns,
                                 size_t most = SIZE_MAX, int64_t* read = nullptr) {
  const auto reader = open_rows(std::make_unique<Memory>(bytes, read), "x.parquet", "'x.parquet'", columns);
  std::vector<json::Value> out;
  while (out.size() < most) {
    auto row = reader->next();
    if (!row) break;
    out.push_back(*std::move(row));
  }
  return out;
}

// "" = read without an error.
std::string refusal(const std::string& bytes) {
  try {
    (void)rows_of(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
    EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
    return error.what();
  }
  return {};
}

class Parquet : public testing::Test {
 protected:
  void SetUp() override {
#ifndef ARKIT_HAS_PARQUET
    GTEST_SKIP() << "needs Arrow's C++ libraries (./setup installs pyarrow)";
#endif
  }
};

TEST_F(Parquet, EveryWritersRowsAreThoseOfPyarrow) {
  size_t files = 0, rows = 0;
  for (const auto& entry : fs::directory_iterator(kFolder)) {
    fs::path expected = entry.path();
    expected.replace_extension(".jsonl");
    if (entry.path().extension() != ".parquet" || !fs::exists(expected)) continue;
    SCOPED_TRACE(entry.path().filename().string());
    ++files;
    const std::vector<json::Value> read = rows_of(bytes_of(entry.path()));
    std::ifstream lines(expected);
    std::string line;
    size_t number = 0;
    for (; std::getline(lines, line); ++number) {
      ASSERT_LT(number, read.size());
      EXPECT_EQ(json::dump(read[number]), json::dump(json::parse(line, "expected")));
    }
    EXPECT_EQ(number, read.size());
    rows += number;
  }
  EXPECT_EQ(files, 27U);
  EXPECT_GT(rows, 500U);
}

TEST_F(Parquet, OnlyWhatIsAskedForIsRead) {
  const std::string bytes = bytes_of(kFolder / "groups.parquet");
  const auto text = [](const std::vector<std::string>& names) {
    EXPECT_EQ(names, (std::vector<std::string>{"text", "picture"}));
    return std::vector<std::string>{"text"};
  };
  int64_t footer = 0, few = 0, half = 0, all = 0;
  (void)rows_of(bytes, text, 0, &footer);
  const auto rows = rows_of(bytes, text, 10, &few);
  ASSERT_EQ(rows.size(), 10U);
  EXPECT_EQ(rows[3].get_object().size(), 1U);
  EXPECT_TRUE(std::string_view(rows[3].at("text").get_string()).starts_with("row 003"));
  EXPECT_TRUE(rows_of(bytes, all_columns, 1)[0].at("picture").is_null());  // bytes that are no text
  (void)rows_of(bytes, text, 80, &half);
  EXPECT_EQ(rows_of(bytes, text, SIZE_MAX, &all).size(), 160U);
  // Sixteen row groups of 10 rows and about 1000 bytes of text; a batch of 64 rows is decoded at once.
  EXPECT_LE(footer, 66'000);
  EXPECT_LT(few - footer, 8'000);
  EXPECT_LT(half - footer, 15'000);
  EXPECT_LT(all - footer, 20'000);
  EXPECT_GT(all, half);
  EXPECT_GT(half, few);
}

TEST_F(Parquet, CutFilesGetOneSentenceAtEveryOffset) {
  for (const char* name : {"zstd_large", "snappy", "messages"}) {
    const std::string bytes = bytes_of(kFolder / (std::string(name) + ".parquet"));
    for (size_t length = 0; length < bytes.size(); ++length)
      ASSERT_NE(refusal(bytes.substr(0, length)), "") << name << " cut to " << length;
  }
  EXPECT_EQ(refusal(bytes_of(kFolder / "snappy.parquet")), "");
}

TEST_F(Parquet, ChangedBytesNeverDoWorseThanARefusal) {
  for (const char* name : {"dictionary", "random_02", "random_05", "types"}) {
    const std::string bytes = bytes_of(kFolder / (std::string(name) + ".parquet"));
    for (size_t at = 0; at < bytes.size(); ++at)
      for (const char flip : {'\x01', '\xff'}) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ flip);
        (void)refusal(changed);
      }
  }
}

// A file that can be read so many times.
class Breaking final : public arkit::hub::RandomAccess {
 public:
  Breaking(std::string bytes, int reads) : memory_(std::move(bytes)), left_(reads) {}
  [[nodiscard]] int64_t size() const override { return memory_.size(); }
  void read(int64_t offset, int64_t count, void* to) override {
    if (left_-- == 0) throw Error(ErrorCode::resource, "the line is cut");
    memory_.read(offset, count, to);
  }

 private:
  Memory memory_;
  int left_;
};

TEST_F(Parquet, WhatTheFileThrowsIsToldAndNotWhatArrowMakesOfIt) {
  const std::string bytes = bytes_of(kFolder / "groups.parquet");
  int broken = 0;
  for (int reads = 0; reads < 100; ++reads) {
    try {
      const auto reader = open_rows(std::make_unique<Breaking>(bytes, reads), "x.parquet", "'x.parquet'", all_columns);
      while (reader->next()) {
      }
      break;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::resource);
      EXPECT_STREQ(error.what(), "the line is cut");
      ++broken;
    }
  }
  EXPECT_LT(broken, 100);
  EXPECT_GT(broken, 30);  // a footer, and two column chunks of each of sixteen row groups
}

TEST_F(Parquet, BombsGetASentenceAndBoundedMemory) {
  const int64_t before = peak_bytes();
  const std::string row = refusal(bytes_of(kFolder / "bomb_row.parquet"));
  EXPECT_NE(row.find("a row has more than 64 MiB"), std::string::npos) << row;
  const std::string page = refusal(bytes_of(kFolder / "bomb_page.parquet"));
  EXPECT_NE(page.find("row 1 cannot be read"), std::string::npos) << page;
  EXPECT_EQ(rows_of(bytes_of(kFolder / "bomb_rows.parquet"), all_columns, 1000).size(), 1000U);
  EXPECT_LT(peak_bytes() - before, int64_t{900} << 20);
}

}  // namespace
