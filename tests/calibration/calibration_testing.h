#pragma once
// What tests of calibration data share: a tokenizer whose ids are code points, a hub that is a folder.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <sys/resource.h>

#include <ATen/ATen.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/str.h>
#include <gtest/gtest.h>

#include "calibration/calibration.h"
#include "hub/hub.h"
#include "io/io_testing.h"

namespace calibration_test {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::testing::TempDir;
using Rows = std::vector<std::vector<int64_t>>;

class Recorder final : public arkit::Reporter {
 public:
  void warn(std::string_view message) override { warnings.emplace_back(message); }
  void info(std::string_view message) override { infos.emplace_back(message); }
  std::vector<std::string> warnings, infos;
};

// One token a character, id = code point; 1 = <s>, 2 = </s>.
inline arkit::Tokenizer character_tokenizer(bool bos, const std::string& chat_template = "") {
  json::Object vocab{{"<s>", 1}, {"</s>", 2}};
  for (char c = 32; c < 127; ++c) vocab[std::string_view(&c, 1)] = int64_t{c};
  vocab["\n"] = 10;
  json::Object file{{"model", json::Object{{"type", "BPE"}, {"vocab", vocab}, {"merges", json::Array{}}}}};
  if (bos)
    file["post_processor"] =
        json::parse(R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}},{"Sequence":{"id":"A"}}],)"
                    R"("special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}})",
                    "test");
  json::Object config{{"bos_token", "<s>"}, {"eos_token", "</s>"}};
  if (!chat_template.empty()) config["chat_template"] = chat_template;
  return arkit::Tokenizer(json::dump(file), config);
}

inline Rows rows(const arkit::calibration::CalibrationSet& set) {
  Rows out;
  for (int64_t i = 0; i < set.input_ids.size(0); ++i) {
    const at::Tensor row = set.input_ids[i].contiguous();
    out.emplace_back(row.const_data_ptr<int64_t>(), row.const_data_ptr<int64_t>() + row.numel());
  }
  return out;
}

inline Rows text_rows(const std::vector<std::string>& texts) {
  Rows out;
  for (const std::string& text : texts) out.emplace_back(text.begin(), text.end());
  return out;
}

inline std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// The most memory this process had.
inline int64_t peak_bytes() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// Bytes of a string; counts what is read.
class Memory final : public arkit::hub::RandomAccess {
 public:
  explicit Memory(std::string bytes, int64_t* read_bytes = nullptr) : bytes_(std::move(bytes)), read_(read_bytes) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  void read(int64_t offset, int64_t count, void* to) override {
    if (offset < 0 || count < 0 || offset > size() || count > size() - offset) arkit::throw_input("outside the file");
    bytes_.copy(static_cast<char*>(to), static_cast<size_t>(count), static_cast<size_t>(offset));
    if (read_ != nullptr) *read_ += count;
  }

 private:
  std::string bytes_;
  int64_t* read_;
};

// A hub that is a folder: ROOT/OWNER/NAME@REVISION/files. Knows which files were fetched and what was read by ranges.
class FolderHub final : public arkit::hub::Hub {
 public:
  explicit FolderHub(fs::path root) : root_(std::move(root)) {}
  static constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

  [[nodiscard]] arkit::hub::Snapshot snapshot(const arkit::hub::Repo& repo) override {
    if (!fs::is_directory(folder(repo)))
      arkit::throw_input(arkit::str("data set '", repo.id, "' at '", repo.revision, "': the hub has none"));
    return {repo, kCommit};
  }
  [[nodiscard]] std::vector<arkit::hub::Entry> files(const arkit::hub::Snapshot& snapshot) override {
    std::vector<arkit::hub::Entry> entries;
    const fs::path root = folder(snapshot.repo);
    for (const auto& entry : fs::recursive_directory_iterator(root))
      if (entry.is_regular_file())
        entries.push_back(
            {entry.path().lexically_relative(root).generic_string(), static_cast<int64_t>(entry.file_size()), {}});
    std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.path < b.path; });
    return entries;
  }
  [[nodiscard]] fs::path fetch(const arkit::hub::Snapshot& snapshot, const std::string& path) override {
    fetched.push_back(path);
    return folder(snapshot.repo) / path;
  }
  bool ask_again(const arkit::hub::Snapshot& /*snapshot*/) override { return false; }
  void fetch_into(const arkit::hub::Snapshot& snapshot, const std::string& path, const fs::path& to) override {
    fs::copy_file(fetch(snapshot, path), to, fs::copy_options::overwrite_existing);
  }
  [[nodiscard]] std::unique_ptr<arkit::hub::RandomAccess> open(const arkit::hub::Snapshot& snapshot,
                                                               const std::string& path) override {
    return std::make_unique<Memory>(bytes_of(folder(snapshot.repo) / path), &read_by_ranges[path]);
  }

  std::vector<std::string> fetched;
  std::map<std::string, int64_t> read_by_ranges;  // bytes

 private:
  [[nodiscard]] fs::path folder(const arkit::hub::Repo& repo) const {
    std::string revision = repo.revision;
    std::replace(revision.begin(), revision.end(), '/', '_');
    return root_ / (repo.id + "@" + revision);
  }
  fs::path root_;
};

}  // namespace calibration_test
