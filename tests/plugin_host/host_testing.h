#pragma once
// What the tests of this folder share: fixtures by name, a folder of their own, the error a call ends with.

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <string>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/registry.h>

namespace host_test {

namespace fs = std::filesystem;

inline fs::path fixture_folder(const std::string& name) {
  return fs::path(ARKIT_FIXTURES) / name;
}
inline fs::path fixture(const std::string& name) {
  return fixture_folder(name) / ("libarkit_reader_" + name + ".so");
}

// The discovery lists refusals; the reason is what the user reads.
inline arkit::PluginEntry discovered(const std::string& name) {
  const arkit::Registry registry({{}, {fixture_folder(name)}});
  EXPECT_EQ(registry.plugins().size(), 1U);
  return registry.plugins().empty() ? arkit::PluginEntry{} : registry.plugins().front();
}

inline arkit::Error error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const arkit::Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was thrown";
  return {arkit::ErrorCode::internal, ""};
}

inline void expect_contains(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << "'" << part << "' is not in:\n" << text;
}

// A fresh folder that only its owner can write.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    char name[] = "/tmp/arkit_host_XXXXXX";
    path = ::mkdtemp(name);
  }
  ~TemporaryFolder() { fs::remove_all(path); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  fs::path path;
};

// What trying a plugin told is kept in this folder while the object lives, and in no other.
class TemporaryCache {
 public:
  TemporaryCache() { ::setenv("XDG_CACHE_HOME", folder_.path.c_str(), 1); }
  ~TemporaryCache() { ::unsetenv("XDG_CACHE_HOME"); }
  TemporaryCache(const TemporaryCache&) = delete;
  TemporaryCache& operator=(const TemporaryCache&) = delete;
  [[nodiscard]] const fs::path& path() const { return folder_.path; }

 private:
  TemporaryFolder folder_;
};

}  // namespace host_test
