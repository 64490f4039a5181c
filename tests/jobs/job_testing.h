#pragma once
// What the job tests share: the plugins of this build, tiny source models, temporary folders, a reporter that
// remembers.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "temporary_folder.h"

namespace arkit::testing {

inline const Registry& registry() {
  static const Registry instance(PluginSearch{.folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return instance;
}

inline std::string tiny_model(const std::string& name) {
  return std::string(ARKIT_TEST_DATA) + "/golden/" + name;
}

class Recorder final : public Reporter {
 public:
  void warn(std::string_view message) override { warnings.emplace_back(message); }
  void block_done(const BlockProgress& progress) override { blocks.push_back(progress); }
  std::vector<std::string> warnings;
  std::vector<BlockProgress> blocks;
};

// Runs `call` and returns the message of the arkit::Error it must throw with `code`.
template <typename Call>
std::string refusal(ErrorCode code, Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

}  // namespace arkit::testing
