#pragma once
// Helpers of the tests of sources: temporary folders, hand-made safetensors bytes, and the message of an error.

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <stdlib.h>

#include <arkit/error.h>

namespace arkit::testing {

// A fresh folder that disappears with the object.
class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "arkit-test-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = pattern;
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  // Writes `content` to a file in it, making folders on the way.
  std::filesystem::path write(const std::string& name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::string little_endian(uint64_t value, size_t bytes = 8) {
  std::string out(bytes, '\0');
  std::memcpy(out.data(), &value, bytes);
  return out;
}

// u64 length, header, data.
inline std::string safetensors_bytes(const std::string& header, const std::string& data = {}) {
  return little_endian(header.size()) + header + data;
}

// The error `action` throws, as "code: message"; empty when it throws none.
template <typename Action>
std::string error_of(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const char* code = error.code() == ErrorCode::input         ? "input"
                       : error.code() == ErrorCode::unsupported ? "unsupported"
                       : error.code() == ErrorCode::resource    ? "resource"
                                                                : "other";
    return std::string(code) + ": " + error.what();
  }
  return {};
}

}  // namespace arkit::testing

// The action must throw an arkit::Error of this code whose message contains the text.
#define EXPECT_ERROR(action, code, text)                                              \
  do {                                                                                \
    const std::string message_ = ::arkit::testing::error_of([&] { (void)(action); }); \
    EXPECT_TRUE(message_.starts_with(code ": ")) << "message: " << message_;          \
    EXPECT_NE(message_.find(text), std::string::npos) << "message: " << message_;     \
  } while (false)
