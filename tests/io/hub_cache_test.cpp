#include "util/hub_cache.h"

#include <cstdlib>
#include <string>

#include <gtest/gtest.h>

#include "io_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

// Points the cache variables at a folder and restores them.
class HubCache : public ::testing::Test {
 protected:
  HubCache() {
    for (const char* name : kNames) {
      const char* value = std::getenv(name);
      saved_.emplace_back(value == nullptr ? std::optional<std::string>() : std::string(value));
      ::unsetenv(name);
    }
    ::setenv("HF_HOME", dir_.path().c_str(), 1);
  }
  ~HubCache() override {
    for (size_t i = 0; i < saved_.size(); ++i)
      saved_[i] ? ::setenv(kNames[i], saved_[i]->c_str(), 1) : ::unsetenv(kNames[i]);
  }

  static constexpr const char* kNames[] = {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME",
                                           "HOME"};
  TempDir dir_;
  std::vector<std::optional<std::string>> saved_;
};

TEST_F(HubCache, KnowsWhatAnIdLooksLike) {
  for (const char* id : {"Qwen/Qwen3-0.6B", "gpt2", "org/name@refs/pr/1", "a/b@v1.0", "HuggingFaceTB/SmolLM2-135M_x"})
    EXPECT_TRUE(io::is_hub_id(id)) << id;
  for (const char* id : {"", "/abs/path", "a/b/c", "../x", "a/..", "./a", "a//b", "a/b@", "a/b@../x", "a--b/c", "~/m",
                         "a b/c", "a/b@/x"})
    EXPECT_FALSE(io::is_hub_id(id)) << id;
}

TEST_F(HubCache, ResolvesBranchesAndCommits) {
  dir_.write("hub/models--org--name/refs/main", "abc123\n");
  dir_.write("hub/models--org--name/refs/refs/pr/1", "def456");
  dir_.write("hub/models--org--name/snapshots/abc123/config.json", "{}");
  dir_.write("hub/models--org--name/snapshots/def456/config.json", "{}");
  dir_.write("hub/models--gpt2/refs/main", "777");
  dir_.write("hub/models--gpt2/snapshots/777/config.json", "{}");
  const fs::path snapshots = dir_.path() / "hub/models--org--name/snapshots";
  EXPECT_EQ(io::resolve_hub_id("org/name"), snapshots / "abc123");
  EXPECT_EQ(io::resolve_hub_id("org/name@main"), snapshots / "abc123");
  EXPECT_EQ(io::resolve_hub_id("org/name@refs/pr/1"), snapshots / "def456");
  EXPECT_EQ(io::resolve_hub_id("org/name@def456"), snapshots / "def456");
  EXPECT_EQ(io::resolve_hub_id("gpt2"), dir_.path() / "hub/models--gpt2/snapshots/777");
}

TEST_F(HubCache, FollowsTheVariablesInOrder) {
  ::setenv("HOME", "/h", 1);
  EXPECT_EQ(io::hub_cache_folder(), dir_.path() / "hub");
  ::setenv("HF_HUB_CACHE", "/c", 1);
  EXPECT_EQ(io::hub_cache_folder(), "/c");
  ::unsetenv("HF_HUB_CACHE");
  ::unsetenv("HF_HOME");
  EXPECT_EQ(io::hub_cache_folder(), "/h/.cache/huggingface/hub");
  ::setenv("XDG_CACHE_HOME", "/x", 1);
  EXPECT_EQ(io::hub_cache_folder(), "/x/huggingface/hub");
}

TEST_F(HubCache, NamesTheDownloadCommand) {
  EXPECT_ERROR(io::resolve_hub_id("org/name"), "input", "hf download org/name");
  EXPECT_ERROR(io::resolve_hub_id("org/name@v2"), "input", "hf download org/name --revision v2");
  EXPECT_ERROR(io::resolve_hub_id("../x"), "input", "neither a path nor a hub id");
  dir_.write("hub/models--org--name/refs/main", "../../../etc");
  EXPECT_ERROR(io::resolve_hub_id("org/name"), "input", "hf download org/name");
  dir_.write("hub/models--org--name/refs/main", "abc");
  fs::create_directories(dir_.path() / "hub/models--org--name/snapshots/abc");
  EXPECT_ERROR(io::resolve_hub_id("org/name"), "input", "is incomplete");
}

}  // namespace
}  // namespace arkit
