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

#include <arkit/error.h>

#include "temporary_folder.h"

namespace arkit::testing {

using TempDir = TemporaryFolder;

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
