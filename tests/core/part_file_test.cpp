// What is at a name, and what lies beside it, after success, failure, a full disk and a kill.
#include <arkit/part_file.h>

#include <csignal>
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <arkit/error.h>

#include "io/io_testing.h"
#include "small_disk.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::SmallDisk;
using testing::TempDir;

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

std::string content_of(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

std::string resource_error(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource);
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

// A child that writes into `folder` under its lock and is killed in the middle.
void be_killed_in(const fs::path& folder) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    const FolderLock lock(folder);
    PartFile file(folder / "model.safetensors");
    file.write_at(0, "half", 4);
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
}

TEST(PartFile, AppearsWhenCommitted) {
  const TempDir place;
  const fs::path path = place.write("a.json", "before");
  {
    PartFile file(path);
    file.write_at(3, "def", 3);
    file.write_at(0, "abc", 3);
    EXPECT_EQ(content_of(path), "before") << "the old file is whole until commit()";
    file.publish();
  }
  EXPECT_EQ(content_of(path), "abcdef");
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"a.json"});
}

TEST(PartFile, LeavesNothingWhenItIsNotCommitted) {
  const TempDir place;
  {
    PartFile file(place.path() / "a.json");
    file.write_at(0, "abc", 3);
    PartFile moved(std::move(file));
    EXPECT_EQ(names_in(place.path()), std::set<std::string>{"a.json.part"});
  }
  EXPECT_TRUE(names_in(place.path()).empty());
  fs::create_directory(place.path() / "taken");
  EXPECT_NE(resource_error([&] { write_file(place.path() / "taken", "x"); }).find("taken"), std::string::npos);
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"taken"});
}

TEST(PartFile, DoesNotWriteThroughAPlantedLink) {
  const TempDir place;
  const fs::path victim = place.write("victim", "precious");
  fs::create_symlink(victim, place.path() / "a.json.part");
  write_file(place.path() / "a.json", "abc");
  EXPECT_EQ(content_of(victim), "precious");
  EXPECT_FALSE(fs::is_symlink(place.path() / "a.json"));
  EXPECT_EQ(content_of(place.path() / "a.json"), "abc");
}

// Renaming over a device would replace it for everybody.
TEST(PartFile, OnlyRegularFilesAreReplaced) {
  const TempDir place;
  ASSERT_EQ(::mkfifo((place.path() / "pipe").c_str(), 0600), 0);
  EXPECT_NE(resource_error([&] { write_file(place.path() / "pipe", "x"); }).find("not a regular file"),
            std::string::npos);
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"pipe"});
}

TEST(PartFile, WritesIntoTheWorkingDirectory) {
  const TempDir place;
  const fs::path before = fs::current_path();
  fs::current_path(place.path());
  write_file("plain.txt", "abc");
  fs::current_path(before);
  EXPECT_EQ(content_of(place.path() / "plain.txt"), "abc");
}

TEST(PartFile, AFullDiskIsNamedAndNothingIsLeft) {
  const TempDir place;
  const SmallDisk disk(place.path(), 64 << 10);
  write_file(disk.folder() / "fits", std::string(1 << 10, 'x'));
  for (const bool at_once : {true, false}) {
    const std::string message = resource_error([&] {
      PartFile file(disk.folder() / "big");
      if (at_once) file.reserve(1 << 20);
      for (int64_t at = 0; at < 1 << 20; at += 1 << 12) file.write_at(at, std::string(1 << 12, 'x').data(), 1 << 12);
      file.publish();
    });
    EXPECT_NE(message.find("big.part': "), std::string::npos) << message;
    EXPECT_NE(message.find(at_once ? "reserving 1048576 bytes failed" : "writing failed"), std::string::npos)
        << message;
    EXPECT_NE(message.find("are free there); free some space there or choose another place"), std::string::npos)
        << message;
    EXPECT_EQ(names_in(disk.folder()), std::set<std::string>{"fits"});
  }
}

TEST(FolderLock, OneAtATime) {
  const TempDir place;
  {
    const FolderLock lock(place.path());
    EXPECT_FALSE(lock.inherited());
    EXPECT_NE(resource_error([&] { FolderLock second(place.path()); }).find("another run"), std::string::npos);
    EXPECT_NE(resource_error([&] { (void)clear_killed_run(place.path()); }).find("another run"), std::string::npos);
  }
  EXPECT_TRUE(names_in(place.path()).empty());
  const FolderLock next(place.path());
  EXPECT_FALSE(next.inherited());
}

TEST(FolderLock, KnowsThatItsLastHolderWasKilled) {
  const TempDir place;
  be_killed_in(place.path());
  EXPECT_EQ(names_in(place.path()), (std::set<std::string>{".arkit.lock", "model.safetensors.part"}));
  const FolderLock lock(place.path());
  EXPECT_TRUE(lock.inherited());
}

TEST(FolderLock, WhatAKilledRunLeftIsCleared) {
  const TempDir place;
  place.write("download.part", "somebody else's");
  EXPECT_FALSE(clear_killed_run(place.path()).has_value()) << "without a lock file nothing says whose they are";
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"download.part"});
  fs::remove(place.path() / "download.part");
  place.write("notes.txt", "mine");
  be_killed_in(place.path());
  EXPECT_EQ(clear_killed_run(place.path()), std::vector<std::string>{"model.safetensors.part"});
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"notes.txt"});
}

}  // namespace
}  // namespace arkit
