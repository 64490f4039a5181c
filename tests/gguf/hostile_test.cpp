// Files made to hurt: each class of attack is refused with one sentence, before anything is allocated for what the file
// claims, and no byte beside the file or beside a tensor gets into anything that is made of it.
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <arkit/engine/jobs.h>
#include <arkit/str.h>

#include "gguf_dequantize.h"
#include "gguf_file.h"
#include "gguf_source.h"
#include "gguf_tokenizer.h"
#include "io/gguf_testing.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::gguf_string;
using testing::gguf_text;
using testing::gguf_texts;
using testing::gguf_u32;
using testing::GgufBuilder;
using testing::little_endian;

const fs::path kTiny = fs::path(ARKIT_TEST_DATA) / "gguf/llama_quantize-q4_k_m.gguf";

std::string with_value(const std::string& value) {
  GgufBuilder file;
  file.pairs = {{"k", value}};
  return file.bytes();
}

std::string with_tensors(const std::vector<testing::GgufTensor>& tensors, size_t data_bytes) {
  GgufBuilder file;
  file.tensors = tensors;
  file.data_bytes = data_bytes;
  return file.bytes();
}

std::string with_counts(uint64_t tensors, uint64_t pairs) {
  return "GGUF" + little_endian(3, 4) + little_endian(tensors) + little_endian(pairs) + std::string(64, '\0');
}

std::string with_template(size_t bytes) {
  GgufBuilder file = testing::tiny_gguf();
  file.pairs.insert(file.pairs.end(), {{"tokenizer.ggml.model", gguf_text("gpt2")},
                                       {"tokenizer.ggml.pre", gguf_text("smollm")},
                                       {"tokenizer.ggml.tokens", gguf_texts({"a", "b", "c", "d"})},
                                       {"tokenizer.ggml.merges", gguf_texts({"a b"})},
                                       {"tokenizer.chat_template", gguf_text(std::string(bytes, 'x'))}});
  return file.bytes();
}

// Everything that is made of a file.
std::string read_all(const fs::path& file) {
  const auto source = gguf::open_gguf(file);
  const auto plain = source->plain();
  std::string out = json::dump(source->config());
  for (const TensorInfo& info : plain->weights().tensors()) {
    const at::Tensor tensor = plain->weights().load(info.name).contiguous();
    out.append(static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes());
  }
  for (const CompanionFile& companion : source->companions()) out += companion.content;
  return out;
}

struct Attack {
  std::string name, bytes, sentence;
};

std::vector<Attack> attacks() {
  const std::string array = little_endian(9, 4);
  return {
      {"string overflow", with_value(little_endian(8, 4) + little_endian(~0ULL)),
       "'f': a string of 18446744073709551615 bytes at byte 45 but only 19 are left; the file is cut short or damaged, "
       "copy "
       "it again"},
      {"string that wraps", with_value(little_endian(8, 4) + little_endian(~0ULL - 32)),
       "'f': a string of 18446744073709551583 bytes at byte 45 but only 19 are left; the file is cut short or damaged, "
       "copy "
       "it again"},
      {"array of 2^63", with_value(array + little_endian(4, 4) + little_endian(1ULL << 63)),
       "'f': key 'k' announces 9223372036854775808 elements but only 15 bytes are left"},
      {"array whose bytes wrap", with_value(array + little_endian(10, 4) + little_endian(1ULL << 61)),
       "'f': key 'k' announces 2305843009213693952 elements but only 15 bytes are left"},
      {"2^64 - 1 tensors", with_counts(~0ULL, 0),
       "'f': announces 18446744073709551615 tensors and 0 keys, at most 65536 and 65536 are accepted"},
      {"2^63 keys", with_counts(0, 1ULL << 63),
       "'f': announces 0 tensors and 9223372036854775808 keys, at most 65536 and 65536 are accepted"},
      {"as many as are accepted", with_counts(1ULL << 16, 1ULL << 16),
       "'f': key 0 ('') is empty, longer than 65535 bytes or no UTF-8"},
      {"size that wraps", with_tensors({{"t", {1ULL << 62, 4}, 0, 0}}, 64),
       "'f': tensor 't': size 4 x 4611686018427387904 overflows"},
      {"bytes that wrap", with_tensors({{"t", {1ULL << 61}, 0, 0}}, 64),
       "'f': tensor 't': size 2305843009213693952 x 4 overflows"},
      {"past the end", with_tensors({{"t", {17}, 0, 0}}, 64),
       "'f': tensor 't' ends at byte 132 but the file has 128; copy it again"},
      {"a block past the end", with_tensors({{"t", {32}, 8, 0}}, 33),
       "'f': tensor 't' ends at byte 98 but the file has 97; copy it again"},
      {"overlap", with_tensors({{"t", {16}, 0, 0}, {"u", {16}, 0, 32}}, 128),
       "'f': tensor 'u' starts at data byte 32, expected 64 (it overlaps the one before)"},
      {"hole", with_tensors({{"t", {16}, 0, 0}, {"u", {16}, 0, 96}}, 192),
       "'f': tensor 'u' starts at data byte 96, expected 64 (a hole before it)"},
      {"name twice", with_tensors({{"t", {16}, 0, 0}, {"t", {16}, 0, 64}}, 128), "'f': tensor 't' appears twice"},
      {"alignment 0",
       [] {
         GgufBuilder file;
         file.pairs = {{"general.alignment", gguf_u32(0)}};
         return file.bytes();
       }(),
       "'f': 'general.alignment' is 0, expected a power of two up to 1048576"},
      {"alignment 48",
       [] {
         GgufBuilder file;
         file.pairs = {{"general.alignment", gguf_u32(48)}};
         return file.bytes();
       }(),
       "'f': 'general.alignment' is 48, expected a power of two up to 1048576"},
      {"key twice",
       [] {
         GgufBuilder file;
         file.pairs = {{"k", gguf_u32(1)}, {"k", gguf_u32(2)}};
         return file.bytes();
       }(),
       "'f': key 'k' appears twice"},
  };
}

std::string sentence_of(const std::string& bytes) {
  try {
    (void)gguf::parse_gguf(std::as_bytes(std::span(bytes)), "'f'");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "read";
}

TEST(HostileGguf, EachClassHasItsSentence) {
  for (const Attack& attack : attacks()) EXPECT_EQ(sentence_of(attack.bytes), attack.sentence) << attack.name;
}

// With 32 MB of address space left each is refused all the same.
TEST(HostileGguf, NothingIsAllocatedForAClaim) {
  const std::vector<Attack> all = attacks();
  std::vector<std::string> sentences(all.size());
  struct rlimit before {};
  ASSERT_EQ(::getrlimit(RLIMIT_AS, &before), 0);
  int64_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  struct rlimit little = before;
  little.rlim_cur = static_cast<rlim_t>(pages * ::sysconf(_SC_PAGESIZE) + (int64_t{32} << 20));
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &little), 0);
  for (size_t i = 0; i < all.size(); ++i) sentences[i] = sentence_of(all[i].bytes);
  ASSERT_EQ(::setrlimit(RLIMIT_AS, &before), 0);
  for (size_t i = 0; i < all.size(); ++i) EXPECT_EQ(sentences[i], all[i].sentence) << all[i].name;
}

TEST(HostileGguf, ATemplateOfMegabytesIsRefused) {
  const testing::TemporaryFolder folder;
  const auto write = [&](size_t bytes) {
    const fs::path path = folder.path() / "m.gguf";
    std::ofstream(path, std::ios::binary) << with_template(bytes);
    return path;
  };
  EXPECT_FALSE(read_all(write(1000)).empty());
  const fs::path file = write(size_t{5} << 20);
  EXPECT_EQ(testing::refusal(ErrorCode::input, [&] { (void)read_all(file); }),
            str("'", file.string(),
                "': key 'tokenizer.chat_template' is a text of 5242880 bytes, at most 524288 are accepted"));
  GgufBuilder many = testing::tiny_gguf();
  many.pairs.insert(many.pairs.end(), {{"tokenizer.ggml.model", gguf_text("gpt2")},
                                       {"tokenizer.ggml.pre", gguf_text("smollm")},
                                       {"tokenizer.ggml.tokens", gguf_texts({"a", "b", "c", "d"})},
                                       {"tokenizer.ggml.merges", gguf_texts({"a b"})},
                                       {"tokenizer.chat_templates", gguf_texts(std::vector<std::string>(65, "x"))}});
  std::ofstream(file, std::ios::binary) << many.bytes();
  EXPECT_EQ(testing::refusal(ErrorCode::input, [&] { (void)read_all(file); }),
            str("'", file.string(), "': 'tokenizer.chat_templates' has 65 names, at most 64 are accepted"));
}

// Bytes that end where readable memory ends: one byte too many ends the process.
class Fenced {
 public:
  explicit Fenced(const std::string& bytes) {
    const auto page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
    readable_ = (bytes.size() + page - 1) / page * page;
    size_ = readable_ + 2 * page;
    map_ = static_cast<std::byte*>(::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(map_, MAP_FAILED);
    std::byte* begin = map_ + page + readable_ - bytes.size();
    std::memcpy(begin, bytes.data(), bytes.size());
    EXPECT_EQ(::mprotect(map_, page, PROT_NONE) + ::mprotect(map_ + page + readable_, page, PROT_NONE), 0);
    bytes_ = {begin, bytes.size()};
  }
  ~Fenced() { ::munmap(map_, size_); }
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::byte* map_ = nullptr;
  size_t readable_ = 0, size_ = 0;
  std::span<const std::byte> bytes_;
};

std::string tiny_bytes() {
  std::ifstream in(kTiny, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

void read_tensors(const gguf::File& file, std::span<const std::byte> bytes) {
  for (const gguf::TensorEntry& tensor : file.tensors) {
    const int64_t elements = tensor.bytes / tensor.type->block_bytes * tensor.type->block_size;
    std::vector<float> out(static_cast<size_t>(elements));
    gguf::dequantize(tensor.type->type, bytes.data() + tensor.offset, elements, out.data());
  }
}

TEST(HostileGguf, ReadsNoByteBehindTheFile) {
  const std::string whole = tiny_bytes();
  const gguf::File known = gguf::parse_gguf(std::as_bytes(std::span(whole)), "'f'");
  const gguf::TensorEntry& last = known.tensors.back();
  const Fenced exact(whole.substr(0, static_cast<size_t>(last.offset + last.bytes)));  // no padding behind the last
  const gguf::File file = gguf::parse_gguf(exact.bytes(), "'f'");
  read_tensors(file, exact.bytes());
  EXPECT_FALSE(gguf::make_tokenizer_json(file.metadata).empty());
  // One byte less, and the last tensor is past the end.
  const Fenced less(whole.substr(0, static_cast<size_t>(last.offset + last.bytes - 1)));
  EXPECT_THROW((void)gguf::parse_gguf(less.bytes(), "'f'"), Error);
  // Any header that is cut: nothing is looked at behind the cut.
  for (int64_t size = 0; size < known.header_bytes; size += 97)
    EXPECT_THROW((void)gguf::parse_gguf(Fenced(whole.substr(0, static_cast<size_t>(size))).bytes(), "'f'"), Error);
}

// The tiny file with every byte that belongs to nobody set: padding before and behind tensors, and a neighbour behind
// the last one.
std::string poisoned(char poison) {
  std::string bytes = tiny_bytes();
  const gguf::File file = gguf::parse_gguf(std::as_bytes(std::span(bytes)), "'f'");
  std::vector<bool> owned(bytes.size(), false);
  const auto own = [&](int64_t begin, int64_t size) {
    for (int64_t i = begin; i < begin + size; ++i) owned[static_cast<size_t>(i)] = true;
  };
  own(0, file.header_bytes);
  for (const gguf::TensorEntry& tensor : file.tensors) own(tensor.offset, tensor.bytes);
  for (size_t i = 0; i < bytes.size(); ++i)
    if (!owned[i]) bytes[i] = poison;
  return bytes + std::string(100000, poison);
}

std::map<std::string, std::string> files_of(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename().string();
    if (name == "arkit-run.json" || name == "README.md") continue;  // which tell the hash of the source
    std::ifstream in(entry.path(), std::ios::binary);
    files[name] = {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  return files;
}

// What lies beside tensors is in no output: two files that differ there alone become the same bytes, rounded and
// converted.
TEST(HostileGguf, WhatLiesBesideTensorsIsInNoOutput) {
  const testing::TemporaryFolder folder;
  std::map<std::string, std::string> rounded[2], converted[2];
  for (const int i : {0, 1}) {
    const fs::path in = folder.path() / std::to_string(i), model = in / "model.gguf";
    fs::create_directories(in);
    std::ofstream(model, std::ios::binary) << poisoned(i == 0 ? '\xA5' : '\x5A');
    testing::Recorder recorder;
    QuantizeOptions quantizing;
    quantizing.model = model.string();
    quantizing.formats = {"gguf:q4_k_m"};
    quantizing.recipe = "rtn";
    quantizing.tuning.disable_opt_rtn = true;
    quantizing.output_dir = in / "rounded";
    (void)quantize(quantizing, testing::registry(), recorder);
    ConvertOptions converting;
    converting.model = model.string();
    converting.formats = {"hf"};
    converting.output_dir = in / "converted";
    (void)convert(converting, testing::registry(), recorder);
    rounded[i] = files_of(in / "rounded");
    converted[i] = files_of(in / "converted");
  }
  EXPECT_EQ(rounded[0].size(), 1U);
  EXPECT_EQ(converted[0].size(), 5U);
  EXPECT_TRUE(rounded[0] == rounded[1]);
  EXPECT_TRUE(converted[0] == converted[1]);
}

}  // namespace
}  // namespace arkit
