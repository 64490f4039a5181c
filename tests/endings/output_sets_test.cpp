// The folders of a run of several formats: all old or all new, on one disk or on two, whoever else writes near them.
#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "endings/fault_points.h"
#include "endings/trees.h"
#include "jobs/job_testing.h"

namespace arkit::output {
namespace {

using testing::contains;
using testing::Counted;
using testing::End;
using testing::end_in_child;
using testing::Fault;
using testing::FaultAt;
using testing::Recorder;
using testing::refusal;
using testing::TemporaryFolder;
using namespace testing::trees;

const Tree kMine{{"notes.txt", "mine"}, {"auto_gptq/mine.txt", "mine too"}};
const Tree kOld = three("old") + kMine, kNew = three("new") + kMine;

void write_set(const fs::path& folder, Reporter& reporter) {
  OutputFolder output({folder, kThree, {}, true}, reporter);
  fill(output, kThree, three("new"));
  output.commit();
}

void write_one(const fs::path& folder, const Tree& made, Reporter& reporter, bool force = true) {
  OutputFolder output({folder, {}, {}, force}, reporter);
  fill(output, {}, made);
  output.commit();
}

dev_t disk_of(const fs::path& path) {
  struct stat state {};
  EXPECT_EQ(::stat(path.c_str(), &state), 0) << path;
  return state.st_dev;
}

// A disk of its own at `folder`; is_there() false where the test may not mount.
class Disk {
 public:
  explicit Disk(fs::path folder) : folder_(std::move(folder)) {
    fs::create_directories(folder_);
    mounted_ = ::mount("tmpfs", folder_.c_str(), "tmpfs", 0, "size=1M") == 0;
  }
  ~Disk() {
    if (mounted_) ::umount2(folder_.c_str(), MNT_DETACH);
  }
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;
  [[nodiscard]] bool is_there() const { return mounted_; }

 private:
  fs::path folder_;
  bool mounted_ = false;
};

Tree without_traces(Tree tree) {
  std::erase_if(tree, [](const auto& entry) { return entry.first.find(".arkit-") != std::string::npos; });
  return tree;
}

class Sets : public ::testing::TestWithParam<std::tuple<bool, Fault, Counted>> {
 protected:
  ~Sets() override {
    testing::disarm();
    testing::forbid_exchange(false);
  }
  static bool two_disks() { return std::get<0>(GetParam()); }
  static Fault fault() { return std::get<1>(GetParam()); }
  static Counted counted() { return std::get<2>(GetParam()); }
};

// Whatever fails or is killed, and between which two renames: old or new in all folders, or a journal that readers see
// and that the next run ends, a run into one of the folders included.
TEST_P(Sets, AllOldOrAllNewAndTheNextRunWorks) {
  testing::forbid_exchange(true);
  int unfinished = 0, kept = 0, replaced = 0;
  End end = End::killed;
  for (int at = 1; end != End::well; ++at) {
    SCOPED_TRACE(str("call ", at));
    const TemporaryFolder place;
    const fs::path out = place.path() / "out";
    const std::unique_ptr<Disk> disk = two_disks() ? std::make_unique<Disk>(out / "auto_gptq") : nullptr;
    if (disk && !disk->is_there()) GTEST_SKIP() << "may not mount";
    write_tree(out, kOld);
    const FaultAt here{.fault = fault(), .at = at, .error_number = at % 2 == 0 ? EIO : ENOSPC, .counted = counted()};
    end = end_in_child(here, [&] {
      Reporter silent;
      write_set(out, silent);
    });
    const Tree found = without_traces(tree_of(out));
    if (has_journal(out)) {
      ++unfinished;
      EXPECT_EQ(fault(), Fault::kill) << "what fails is undone by the run itself";
      EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { refuse_unfinished_swap(out / "fake"); }), "arkit convert"));
    } else {
      EXPECT_TRUE(found == kOld || found == kNew) << "neither all old nor all new";
      ++(found == kOld ? kept : replaced);
      EXPECT_TRUE(found == kNew || end != End::well);
    }
    Recorder recorder;
    if (at % 2 == 0) {
      write_set(out, recorder);
      EXPECT_EQ(tree_of(out), kNew);
    } else {
      const bool was_unfinished = has_journal(out);
      write_one(out / "other", {{"config.json", "another run's"}}, recorder);
      if (was_unfinished) {
        EXPECT_EQ(without_traces(tree_of(out)), kNew + (Tree{{"other/config.json", "another run's"}}));
        EXPECT_FALSE(has_journal(out));
      }
    }
    if (disk) {
      EXPECT_NE(disk_of(out / "auto_gptq/config.json"), disk_of(out / "fake/config.json"));
    }
    if (HasFailure()) return;
  }
  EXPECT_GT(kept, 0);
  EXPECT_GT(replaced, 0);
  EXPECT_EQ(unfinished > 0, fault() == Fault::kill);
}

std::string name_of_set(const ::testing::TestParamInfo<Sets::ParamType>& info) {
  const auto [two, fault, counted] = info.param;
  return str(counted == Counted::moves ? "between_renames" : "at_every_call",
             fault == Fault::kill ? "_killed" : "_failed");
}

// Every other call of one disk: output_folder_test.cpp, "three_over_three".
INSTANTIATE_TEST_SUITE_P(OneDisk, Sets,
                         ::testing::Combine(::testing::Values(false), ::testing::Values(Fault::fail, Fault::kill),
                                            ::testing::Values(Counted::moves)),
                         name_of_set);
INSTANTIATE_TEST_SUITE_P(TwoDisks, Sets,
                         ::testing::Combine(::testing::Values(true), ::testing::Values(Fault::fail, Fault::kill),
                                            ::testing::Values(Counted::all, Counted::moves)),
                         name_of_set);

class Neighbours : public ::testing::Test {
 protected:
  // A journal in `folder` as a killed run leaves it: before its first rename when nothing moved.
  static void leave_journal(const fs::path& folder, const std::function<void()>& run) {
    testing::forbid_exchange(true);
    // Number 3: of the journal itself, of an old file, and the next.
    const End end = end_in_child({.fault = Fault::kill, .at = 3, .counted = Counted::moves}, run);
    testing::forbid_exchange(false);
    ASSERT_EQ(end, End::killed);
    ASSERT_TRUE(has_journal(folder));
  }

  TemporaryFolder place_;
  fs::path out_ = place_.path() / "out", one_ = out_ / "auto_round";
  Tree one_new_ = an_export("single", "auto_round", {"config.json", "model.safetensors"});
  Recorder recorder_;
  Reporter silent_;
};

TEST_F(Neighbours, ARunIntoOneOfTheFoldersIsNotOverrun) {
  write_tree(out_, kOld);
  {
    const OutputFolder one({one_, {}, {}, true}, silent_);
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { write_set(out_, recorder_); }), "another run is writing"));
    const OutputFolder other({out_ / "other", {}, {}, true}, silent_);  // side by side they are in nobody's way
  }
  {
    const OutputFolder set({out_, kThree, {}, true}, silent_);
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { write_one(one_, one_new_, recorder_); }),
                         "another run is writing"));
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { write_one(out_ / "x", one_new_, recorder_); }), "another"));
  }
  EXPECT_EQ(tree_of(out_), kOld);
  write_set(out_, recorder_);
  EXPECT_EQ(tree_of(out_), kNew);
}

// NFS: files are locked instead.
TEST_F(Neighbours, WhereFoldersCannotBeLockedFilesAre) {
  testing::forbid_folder_locks(true);
  write_tree(out_, kOld);
  {
    const OutputFolder one({one_, {}, {}, true}, silent_);
    (void)refusal(ErrorCode::resource, [&] { write_set(out_, recorder_); });
  }
  write_set(out_, recorder_);
  testing::forbid_folder_locks(false);
  EXPECT_EQ(tree_of(out_), kNew);
}

// Else the journal would be found later, and move files that are long gone into an export that is whole.
TEST_F(Neighbours, AJournalInOneOfTheFoldersIsEndedBeforeTheSet) {
  write_tree(out_, kOld);
  leave_journal(one_, [&] { write_one(one_, one_new_, silent_); });
  write_set(out_, recorder_);
  EXPECT_EQ(tree_of(out_), kNew);
  ASSERT_FALSE(recorder_.warnings.empty());
  EXPECT_TRUE(contains(recorder_.warnings[0], "it is complete now")) << recorder_.warnings[0];
}

TEST_F(Neighbours, AJournalOfTheSetIsEndedBeforeARunIntoOneOfItsFolders) {
  write_tree(out_, kOld);
  leave_journal(out_, [&] { write_set(out_, silent_); });
  write_one(one_, one_new_, recorder_);
  Tree wanted = kNew;
  std::erase_if(wanted, [](const auto& entry) { return entry.first.starts_with("auto_round/"); });
  EXPECT_EQ(without_traces(tree_of(out_)), wanted + below("auto_round", one_new_));
  EXPECT_TRUE(contains(recorder_.warnings.at(0), "it is complete now"));
}

TEST_F(Neighbours, WhatKilledRunsLeftInTheFoldersIsCleared) {
  write_tree(out_, kOld);
  for (const fs::path& left : {one_ / ".arkit-part/new", out_ / ".auto_round.arkit-part/new"})
    write_tree(left, {{"model.safetensors", "half"}});
  write_set(out_, recorder_);
  EXPECT_EQ(tree_of(out_), kNew);
}

// A folder of the user's on another disk stays where it is, an empty one too.
TEST_F(Neighbours, AnotherDiskInTheFolderStaysItsOwn) {
  for (const bool empty : {false, true}) {
    const Disk disk(out_ / "data");
    if (!disk.is_there()) GTEST_SKIP() << "may not mount";
    write_tree(out_, kOld);
    if (!empty) write_tree(out_ / "data", {{"mine", "x"}});
    write_set(out_, recorder_);
    EXPECT_NE(disk_of(out_ / "data"), disk_of(out_));
    EXPECT_EQ(tree_of(out_), kNew + (empty ? Tree{{"data/", ""}} : Tree{{"data/mine", "x"}}));
    EXPECT_EQ(std::distance(fs::directory_iterator(place_.path()), {}), 1);
  }
}

TEST_F(Neighbours, EachDiskIsAskedForItsRoom) {
  const Disk disk(out_ / "auto_gptq");
  if (!disk.is_there()) GTEST_SKIP() << "may not mount";
  const OutputFolder output({out_, kThree, {}, true}, silent_);
  EXPECT_NO_THROW(output.require_space({1 << 20, 1 << 10, 1 << 20}));
  EXPECT_TRUE(contains(refusal(ErrorCode::resource,
                               [&] {
                                 output.require_space({1 << 10, 8 << 20, 1 << 10});
                               }),
                       "needs 8 MiB, the disk has"));
  EXPECT_TRUE(contains(refusal(ErrorCode::resource,
                               [&] {
                                 output.require_space({1 << 20, 1 << 10, 1 << 20}, int64_t{1} << 60);
                               }),
                       "the export and the files it is read from need 1099511627778 MiB, the disk has"));
}

}  // namespace
}  // namespace arkit::output
