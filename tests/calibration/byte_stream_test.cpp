// Compressed and hostile text files: what is read, and how little memory a bomb gets.

#include "calibration/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/calibration_testing.h"
#include "calibration/row_reader.h"

namespace {

using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::LineReader;
using arkit::calibration::open_rows;
using arkit::calibration::open_stream;
using arkit::calibration::read_all;
using calibration_test::Memory;
using calibration_test::peak_bytes;

std::string gzip(const std::string& text) {
  z_stream state{};
  EXPECT_EQ(deflateInit2(&state, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&state, text.size()) + 64, '\0');
  state.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  state.avail_in = static_cast<uInt>(text.size());
  state.next_out = reinterpret_cast<Bytef*>(out.data());
  state.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&state, Z_FINISH), Z_STREAM_END);
  out.resize(state.total_out);
  deflateEnd(&state);
  return out;
}

std::string zstd(const std::string& text, int window_log = 0) {
  const std::unique_ptr<ZSTD_CCtx, size_t (*)(ZSTD_CCtx*)> context(ZSTD_createCCtx(), ZSTD_freeCCtx);
  if (window_log != 0) ZSTD_CCtx_setParameter(context.get(), ZSTD_c_windowLog, window_log);
  ZSTD_CCtx_setParameter(context.get(), ZSTD_c_contentSizeFlag, 0);
  std::string out(ZSTD_compressBound(text.size()), '\0');
  const size_t size = ZSTD_compress2(context.get(), out.data(), out.size(), text.data(), text.size());
  EXPECT_EQ(ZSTD_isError(size), 0U);
  out.resize(size);
  return out;
}

std::string everything(const std::string& bytes, size_t most = size_t{1} << 30) {
  const auto stream = open_stream(std::make_unique<Memory>(bytes), "'f'");
  return read_all(*stream, most, "'f'");
}

std::vector<std::string> lines(const std::string& bytes) {
  LineReader reader(open_stream(std::make_unique<Memory>(bytes), "'f'"), "'f'");
  std::vector<std::string> out;
  while (auto line = reader.next()) out.push_back(*std::move(line));
  return out;
}

template <typename Work>
std::string refusal(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
    return error.what();
  }
  return {};
}

std::string some_text(size_t size) {
  std::string text;
  uint32_t x = 1;
  while (text.size() < size) {
    x = x * 1664525 + 1013904223;
    text += arkit::str(x, x % 7 == 0 ? "\n" : " ");
  }
  text.resize(size);
  return text;
}

TEST(ByteStream, UndoesGzipAndZstdByTheirFirstBytes) {
  for (const size_t size : {0, 1, 1000, 300'000, 3'000'000}) {
    const std::string text = some_text(size);
    EXPECT_EQ(everything(text), text);
    EXPECT_EQ(everything(gzip(text)), text);
    EXPECT_EQ(everything(zstd(text)), text);
    EXPECT_EQ(everything(gzip(text) + gzip("and more")), text + "and more");
    EXPECT_EQ(everything(zstd(text) + zstd("and more")), text + "and more");
  }
}

TEST(ByteStream, CutOrDamagedDataAreRefusedEverywhere) {
  const std::string text = some_text(2000);
  for (const std::string& packed : {gzip(text), zstd(text)}) {
    for (size_t length = 4; length < packed.size(); ++length)
      EXPECT_NE(refusal([&] { (void)everything(packed.substr(0, length)); }), "") << length;
    for (size_t at = 0; at < packed.size(); ++at) {  // a changed byte never does worse than another text or a refusal
      std::string changed = packed;
      changed[at] = static_cast<char>(changed[at] ^ 0x41);
      (void)refusal([&] { (void)everything(changed); });
    }
  }
  EXPECT_NE(refusal([&] { (void)everything(gzip(text).substr(0, 40)); }).find("gzip data end too early"),
            std::string::npos);
}

TEST(ByteStream, LinesAreWhatTheyAreInEveryPacking) {
  const std::string text =
      "\xEF\xBB\xBF"
      "first\r\n\n  \nsecond\nlast";
  const std::vector<std::string> expected{"first", "second", "last"};
  for (const std::string& bytes : {text, gzip(text), zstd(text)}) EXPECT_EQ(lines(bytes), expected);
  EXPECT_EQ(lines(""), std::vector<std::string>());
  std::string long_lines;
  for (size_t i = 0; i < 40; ++i) long_lines += std::string(i * 20'000, 'x') + "y\n";
  ASSERT_EQ(lines(zstd(long_lines)).size(), 40U);
  EXPECT_EQ(lines(zstd(long_lines)).back().size(), 39U * 20'000 + 1);
}

TEST(ByteStream, BombsGetASentenceAndLittleMemory) {
  const std::string endless(size_t{300} << 20, 'a'), blank(size_t{100} << 20, '\n');
  const std::vector<std::string> bombs{gzip(endless), zstd(endless)};
  const std::vector<std::string> blanks{gzip(blank), zstd(blank)};
  const int64_t before = peak_bytes();
  for (const std::string& bomb : bombs) {
    EXPECT_LT(bomb.size(), 400'000U);
    EXPECT_NE(refusal([&] { (void)lines(bomb); }).find("more than 64 MiB"), std::string::npos);
    EXPECT_NE(refusal([&] { (void)everything(bomb, size_t{16} << 20); }).find("more than 16 MiB"), std::string::npos);
  }
  for (const std::string& bomb : blanks)
    EXPECT_NE(refusal([&] { (void)lines(bomb); }).find("blank lines"), std::string::npos);
  EXPECT_LT(peak_bytes() - before, int64_t{256} << 20);
  // A window that would take 2 GiB.
  std::string wide = zstd(some_text(100'000));
  wide[4] = static_cast<char>(wide[4] & ~0x20);  // no single segment: a window byte follows
  wide[5] = static_cast<char>(0xA8);
  EXPECT_NE(refusal([&] { (void)everything(wide); }).find("zstd data are damaged"), std::string::npos);
}

TEST(ByteStream, IsReadAsFarAsItIsNeeded) {
  int64_t read = 0;
  LineReader reader(open_stream(std::make_unique<Memory>(some_text(50'000'000), &read), "'f'"), "'f'");
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(reader.next());
  EXPECT_LT(read, 1'000'000);
}

std::vector<std::string> json_rows(const std::string& name, const std::string& bytes) {
  const auto reader = open_rows(std::make_unique<Memory>(bytes), name, "'" + name + "'",
                                [](const auto&) { return std::vector<std::string>(); });
  std::vector<std::string> out;
  while (const auto row = reader->next()) out.push_back(arkit::json::dump(*row));
  return out;
}

TEST(RowReader, JsonInItsShapes) {
  const std::vector<std::string> expected{R"({"a": 1})", R"({"a": 2})"};
  EXPECT_EQ(json_rows("x.jsonl", "{\"a\":1}\n\n{\"a\":2}"), expected);
  EXPECT_EQ(json_rows("x.ndjson.gz", gzip("{\"a\":1}\n{\"a\":2}\n")), expected);
  EXPECT_EQ(json_rows("x.json", "[{\"a\":1},{\"a\":2}]"), expected);
  EXPECT_EQ(json_rows("x.json", "{\"p\":{\"a\":1},\"q\":{\"a\":2}}"), expected);
  EXPECT_EQ(json_rows("x.json", "{\"a\":1}\n{\"a\":2}\n"), expected);  // an object a line under the other name
  EXPECT_EQ(json_rows("x.json.zst", zstd("{\n \"p\":{\"a\":1},\n \"q\":{\"a\":2}\n}\n")), expected);
  EXPECT_EQ(json_rows("x.txt", "one\ntwo\n"), (std::vector<std::string>{R"({"text": "one"})", R"({"text": "two"})"}));
  EXPECT_NE(refusal([] { (void)json_rows("x.jsonl", "{\"a\":1}\n{\"a\":"); }).find("line 2"), std::string::npos);
  EXPECT_NE(refusal([] { (void)json_rows("x.csv", "a"); }).find("'.csv' is not read"), std::string::npos);
  const std::string deep = std::string(200'000, '[');
  EXPECT_NE(refusal([&] { (void)json_rows("x.jsonl", deep); }), "");
  EXPECT_NE(refusal([] { (void)json_rows("x.jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"); }),
            "");
}

}  // namespace
