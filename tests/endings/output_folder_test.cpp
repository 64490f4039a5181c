// An output folder is the old one or the new one, whatever call fails and wherever the process is killed.
#include "output/output_folder.h"

#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <string>

#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "endings/fault_points.h"
#include "endings/trees.h"
#include "jobs/job_testing.h"

namespace arkit::output {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Fault;
using testing::Recorder;
using testing::refusal;
using testing::TemporaryFolder;
using namespace testing::trees;
const Tree kMine{{"notes.txt", "mine"},
                 {"adapter.safetensors", "mine too"},
                 {"plots/one.svg", "svg"},
                 {"plots/empty/", ""},
                 {"to-notes", "-> notes.txt"}};
const Tree kOneOld = an_export("old", "auto_round", {"config.json", "model.safetensors", "recipe.yaml"});
const Tree kShardsOld = an_export("old", "auto_gptq",
                                  {"config.json", "model-00001-of-00002.safetensors", "quantize_config.json",
                                   "model-00002-of-00002.safetensors", "model.safetensors.index.json"});
const Tree kOneNew = an_export("new", "auto_round", {"config.json", "model.safetensors", "code/modeling.py"});

struct Scenario {
  const char* name;
  Tree old, mine, made;
  std::vector<std::string> subfolders;
};

std::vector<Scenario> scenarios() {
  return {{"fresh", {}, {}, kOneNew, {}},
          {"fresh_three", {}, {}, three("new"), kThree},
          {"same_format", kOneOld, kMine, kOneNew, {}},
          {"other_format_and_shards", kShardsOld, kMine, kOneNew, {}},
          {"three_over_three", three("old"), kMine, three("new"), kThree},
          {"three_over_one", kShardsOld, kMine, three("new"), kThree},
          {"one_over_three", three("old"), kMine, kOneNew, {}}};
}

enum class Route { exchange, no_exchange, no_links, inside };

void write_run(const fs::path& folder, const Scenario& scenario, Reporter& reporter, bool force = true) {
  OutputFolder output({folder, scenario.subfolders, {}, force}, reporter);
  fill(output, scenario.subfolders, scenario.made);
  output.commit();
}

class Endings : public ::testing::TestWithParam<std::tuple<size_t, Route, Fault>> {
 protected:
  Endings() : scenario_(scenarios()[std::get<0>(GetParam())]) {
    testing::forbid_exchange(route() == Route::no_exchange);
    testing::forbid_links(route() == Route::no_links);
  }
  ~Endings() override {
    testing::disarm();
    testing::forbid_exchange(false);
    testing::forbid_links(false);
  }
  static Route route() { return std::get<1>(GetParam()); }
  static Fault fault() { return std::get<2>(GetParam()); }

  struct End {
    bool fired = false, thrown = false;
  };

  // A run in a child of its own, in which call number `at` ends badly.
  End run_with_fault(const fs::path& folder, int at) const {
    const pid_t child = ::fork();
    if (child == 0) {
      // From inside, its folder is not exchanged: that would leave the shell behind in the old one.
      if (route() == Route::inside) fs::current_path(folder);
      Reporter silent;
      testing::arm(fault(), at, EIO);
      bool thrown = false;
      try {
        write_run(folder, scenario_, silent);
      } catch (const std::exception&) {
        thrown = true;
      }
      ::_exit(thrown ? 2 : testing::fired() ? 1 : 0);
    }
    int status = 0;
    EXPECT_EQ(::waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) return {true, true};
    EXPECT_LE(WEXITSTATUS(status), 2);
    return {WEXITSTATUS(status) != 0, WEXITSTATUS(status) == 2};
  }

  Scenario scenario_;
};

// The files of one folder.
Tree files_of(Tree tree, const std::string& folder) {
  std::erase_if(tree, [&](const auto& entry) {
    return fs::path(entry.first).parent_path() != folder || entry.first == ".arkit-swap.json";
  });
  return tree;
}

// What a killed run may leave of itself.
Tree without_traces(Tree tree) {
  std::erase_if(tree, [](const auto& entry) { return entry.first.starts_with(".arkit-part"); });
  return tree;
}

TEST_P(Endings, OldWholeOrNewWholeAndTheNextRunWorks) {
  const Tree old = scenario_.old + scenario_.mine, made = scenario_.made + scenario_.mine;
  int at = 1, unfinished = 0, kept = 0, replaced = 0;
  for (bool fired = true; fired; ++at) {
    SCOPED_TRACE(str("call ", at));
    const TemporaryFolder place;
    const fs::path folder = place.path() / "out";
    if (!old.empty()) write_tree(folder, old);
    const End end = run_with_fault(folder, at);
    fired = end.fired;
    const Tree found = without_traces(tree_of(folder));
    if (has_journal(folder)) {
      // Neither the one nor the other: said so, and completed by the next run.
      EXPECT_TRUE(fault() == Fault::kill && route() != Route::exchange);
      EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { refuse_unfinished_swap(folder); }), "arkit convert"));
      // Other programs know no journal: a folder that has its configuration is whole.
      for (const auto& [name, content] : found) {
        const std::string beside = fs::path(name).parent_path().string();
        if (fs::path(name).filename() == "config.json")
          EXPECT_TRUE(files_of(found, beside) == files_of(old, beside) ||
                      files_of(found, beside) == files_of(made, beside))
              << name;
      }
      ++unfinished;
    } else {
      EXPECT_NO_THROW(refuse_unfinished_swap(folder));
      EXPECT_TRUE(found == old || found == made) << "neither the old export nor the new one";
      ++(found == old ? kept : replaced);
    }
    if (!end.thrown) {
      EXPECT_EQ(found, made);
    }
    if (fault() == Fault::fail) {
      EXPECT_EQ(fs::exists(folder), !found.empty()) << "a failed run leaves no empty folder";
    }
    Recorder recorder;
    write_run(folder, scenario_, recorder);
    EXPECT_EQ(tree_of(folder), made);
    EXPECT_EQ(std::distance(fs::directory_iterator(place.path()), {}), 1) << "something is left beside the folder";
    if (HasFailure()) return;
  }
  EXPECT_GT(at, 20) << "hardly any call was reached";
  EXPECT_GT(kept, 5);
  EXPECT_GT(replaced, 0);
  EXPECT_EQ(unfinished > 0, fault() == Fault::kill && route() != Route::exchange && !old.empty());
}

std::string name_of(const ::testing::TestParamInfo<Endings::ParamType>& info) {
  const auto [scenario, route, fault] = info.param;
  const char* const routes[] = {"exchange", "no_exchange", "no_links", "inside"};
  return str(scenarios()[scenario].name, "_", routes[static_cast<size_t>(route)],
             fault == Fault::kill ? "_killed" : "_failed");
}

INSTANTIATE_TEST_SUITE_P(Exchange, Endings,
                         ::testing::Combine(::testing::Range<size_t>(0, 7), ::testing::Values(Route::exchange),
                                            ::testing::Values(Fault::fail, Fault::kill)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(Journal, Endings,
                         ::testing::Combine(::testing::Range<size_t>(2, 7),
                                            ::testing::Values(Route::no_exchange, Route::no_links, Route::inside),
                                            ::testing::Values(Fault::fail, Fault::kill)),
                         name_of);

class Output : public ::testing::Test {
 protected:
  void run(const fs::path& folder, bool force = true) { write_run(folder, scenario_, recorder_, force); }

  TemporaryFolder place_;
  fs::path out_ = place_.path() / "out";
  Scenario scenario_{"one", {}, {}, kOneNew, {}};
  Recorder recorder_;
};

// A power failure after the exchange must find the new files on the disk.
TEST_F(Output, EverythingIsOnTheDiskBeforeItAppears) {
  for (const bool exchanged : {true, false}) {
    testing::forbid_exchange(!exchanged);
    write_tree(out_, kOneOld + kMine);
    testing::arm(Fault::none, 1 << 30, 0);
    run(out_);
    testing::disarm();
    testing::forbid_exchange(false);
    for (const auto& [name, content] : kOneNew) {
      struct stat state {};
      ASSERT_EQ(::stat((out_ / name).c_str(), &state), 0);
      EXPECT_TRUE(testing::synced_before_move().contains(state.st_ino)) << name;
    }
    if (exchanged) {
      struct stat state {};
      ASSERT_EQ(::stat(out_.c_str(), &state), 0);
      EXPECT_TRUE(testing::synced_before_move().contains(state.st_ino)) << "the folder itself";
    }
    fs::remove_all(out_);
  }
}

// What exporters leave unsynced is synced all the same.
TEST_F(Output, FilesOfCarelessExportersAreSyncedToo) {
  testing::arm(Fault::none, 1 << 30, 0);
  OutputFolder output({out_, {}, {}, false}, recorder_);
  std::ofstream(output.staged() / "config.json") << "new";
  output.commit();
  testing::disarm();
  struct stat state {};
  ASSERT_EQ(::stat((out_ / "config.json").c_str(), &state), 0);
  EXPECT_TRUE(testing::synced_before_move().contains(state.st_ino));
}

TEST_F(Output, FoldersMadeForARunThatFailsGoAgain) {
  const fs::path deep = place_.path() / "a/b/out";
  { const OutputFolder output({deep, {}, {}, false}, recorder_); }
  EXPECT_TRUE(fs::is_empty(place_.path()));
  fs::create_directories(out_);
  { const OutputFolder output({out_, {}, {}, false}, recorder_); }
  EXPECT_TRUE(fs::is_directory(out_)) << "the user's own empty folder stays";
  run(deep, false);
  EXPECT_EQ(tree_of(deep), kOneNew);
}

TEST_F(Output, WithoutForceNothingIsReplaced) {
  write_tree(out_, kMine);
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(out_, false); }), "--force"));
  scenario_ = {"three", {}, {}, three("new"), kThree};
  run(out_, false);
  EXPECT_EQ(tree_of(out_), kMine + three("new")) << "other files in a folder of several formats are in nobody's way";
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(out_, false); }), "auto_round"));
}

// What came while the run worked is somebody's too.
TEST_F(Output, FilesThatAppearMeanwhileAreKept) {
  OutputFolder output({out_, {}, {}, false}, recorder_);
  write_file(output.staged() / "config.json", "new");
  write_tree(out_, {{"config.json", "somebody's"}});
  EXPECT_EQ(refusal(ErrorCode::input, [&] { output.commit(); }).find("is not empty") != std::string::npos, true);
  EXPECT_EQ(tree_of(out_), (Tree{{"config.json", "somebody's"}}));
}

TEST_F(Output, ALinkToAFolderStaysALink) {
  const fs::path real = place_.path() / "disk/exports";
  write_tree(real, kOneOld + kMine);
  fs::create_directory_symlink(real, out_);
  run(out_);
  EXPECT_TRUE(fs::is_symlink(out_));
  EXPECT_EQ(tree_of(real), kOneNew + kMine);
  fs::remove_all(real);
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(out_); }), "does not exist"));
}

TEST_F(Output, TheWorkingDirectoryStaysTheSameFolder) {
  write_tree(out_, kOneOld + kMine);
  struct stat before {};
  ASSERT_EQ(::stat(out_.c_str(), &before), 0);
  const fs::path here = fs::current_path();
  for (const fs::path& name : {fs::path("."), fs::path(""), out_ / ""}) {
    fs::current_path(out_);
    run(name.empty() ? fs::current_path() : name);
    EXPECT_EQ(tree_of("."), kOneNew + kMine);
    fs::current_path(here);
    struct stat after {};
    ASSERT_EQ(::stat(out_.c_str(), &after), 0);
    EXPECT_EQ(before.st_ino, after.st_ino);
  }
}

TEST_F(Output, AMountPointWorks) {
  fs::create_directories(out_);
  if (::mount("tmpfs", out_.c_str(), "tmpfs", 0, "size=1M") != 0) GTEST_SKIP() << "may not mount";
  write_tree(out_, kOneOld + kMine);
  run(out_);
  EXPECT_EQ(tree_of(out_), kOneNew + kMine);
  ::umount2(out_.c_str(), MNT_DETACH);
  EXPECT_EQ(::mount(place_.path().c_str(), out_.c_str(), nullptr, MS_BIND, nullptr), 0) << "one disk, two mounts";
  scenario_ = {"three", {}, {}, three("new"), kThree};
  run(out_);
  EXPECT_EQ(tree_of(out_ / "fake"), an_export("new", "fake", {"config.json", "model.safetensors"}));
  ::umount2(out_.c_str(), MNT_DETACH);
}

TEST_F(Output, ModesAreKept) {
  write_tree(out_, kOneOld + Tree{{"mine/a", "a"}});
  fs::permissions(out_, fs::perms(0750));
  fs::permissions(out_ / "mine", fs::perms(0710));
  run(out_);
  EXPECT_EQ(fs::status(out_).permissions(), fs::perms(0750));
  EXPECT_EQ(fs::status(out_ / "mine").permissions(), fs::perms(0710));
  const mode_t before = ::umask(027);
  run(place_.path() / "other");
  ::umask(before);
  EXPECT_EQ(fs::status(place_.path() / "other").permissions(), fs::perms(0750));
  EXPECT_EQ(fs::status(place_.path() / "other/config.json").permissions(), fs::perms(0640));
}

TEST_F(Output, ASecondRunIsRefusedAtOnce) {
  for (const bool present : {false, true}) {
    if (present) write_tree(out_, kOneOld);
    const OutputFolder first({out_, {}, {}, true}, recorder_);
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { run(out_); }), "another run is writing"));
  }
  run(out_);
}

// NFS has locks of files only.
TEST_F(Output, WhereFoldersCannotBeLockedAFileIs) {
  testing::forbid_folder_locks(true);
  write_tree(out_, kOneOld + kMine);
  {
    const OutputFolder first({out_, {}, {}, true}, recorder_);
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { run(out_); }), "another run is writing"));
  }
  EXPECT_EQ(tree_of(out_), kOneOld + kMine);
  run(out_);
  run(place_.path() / "other", false);
  testing::forbid_folder_locks(false);
  EXPECT_EQ(tree_of(out_), kOneNew + kMine);
  EXPECT_EQ(std::distance(fs::directory_iterator(place_.path()), {}), 2);
}

// A hostile or damaged record must not lead --force to files elsewhere.
TEST_F(Output, ARecordNamesOnlyFilesBelowItsFolder) {
  write_tree(place_.path(), {{"precious", "a"}, {"elsewhere/precious", "b"}});
  json::Array names{"../precious", (place_.path() / "precious").string(), "link/precious", ".", "", "sub"};
  write_tree(out_, {{"arkit-run.json", json::dump(json::Object{{"files", names}})},
                    {"sub/mine", "c"},
                    {"link", "-> " + (place_.path() / "elsewhere").string()}});
  run(out_);
  EXPECT_EQ(tree_of(place_.path() / "elsewhere"), (Tree{{"precious", "b"}}));
  EXPECT_EQ(tree_of(out_ / "sub"), (Tree{{"mine", "c"}}));
  EXPECT_TRUE(fs::exists(place_.path() / "precious"));
}

TEST_F(Output, AJournalMovesOnlyFilesOfItsFolder) {
  write_tree(place_.path(), {{"precious", "a"}});
  for (const char* name : {"../precious", "/precious", "a/../../precious", ""}) {
    const json::Object journal{
        {"arkit_swap", 1}, {"staging", "inside"}, {"remove", json::Array{name}}, {"add", json::Array{}}};
    write_tree(out_, {{".arkit-swap.json", json::dump(journal)}});
    EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(out_); }), "no journal")) << name;
  }
  EXPECT_TRUE(fs::exists(place_.path() / "precious"));
}

// Known names decide where no record says what the export was.
TEST_F(Output, AnExportWithoutARecordIsReplacedByItsNames) {
  write_tree(out_, Tree{{"config.json", "x"}, {"tokenizer.model", "x"}, {"part.safetensors", "x"}, {"notes", "mine"}});
  run(out_);
  EXPECT_EQ(tree_of(out_), kOneNew + (Tree{{"notes", "mine"}}));
}

TEST_F(Output, TheModelItselfIsNeverPartOfAnOldExport) {
  const Tree model{{"config.json", "model"}, {"model.safetensors", "weights"}};
  write_tree(out_, model);
  const Tree made = three("new");
  OutputFolder output({out_, kThree, out_, true}, recorder_);
  for (const auto& [name, content] : made) write_file(output.staged() / name, content);
  output.commit();
  EXPECT_EQ(tree_of(out_), model + made);
  (void)refusal(ErrorCode::usage, [&] { const OutputFolder own({out_, {}, out_, true}, recorder_); });
  (void)refusal(ErrorCode::usage, [&] { const OutputFolder own({out_, kThree, out_ / "fake", true}, recorder_); });
}

TEST_F(Output, FilesAndLinksInThePlaceOfFoldersAreRefused) {
  write_tree(place_.path(), {{"file", "x"}, {"several/fake", "-> ../file"}});
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(place_.path() / "file"); }), "is a file"));
  scenario_.subfolders = kThree;
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { run(place_.path() / "several"); }), "is a link"));
}

TEST_F(Output, ManyFilesOfTheUserAreNotLinkedOneByOne) {
  write_tree(out_, kOneOld);
  Tree many;
  for (int i = 0; i < 1200; ++i) many[str("data/", i)] = "x";
  write_tree(out_, many);
  run(out_);
  EXPECT_EQ(tree_of(out_), kOneNew + many);
}

TEST_F(Output, TheMessageOfAFullDiskCountsTheOldExport) {
  Tree old = kOneOld;
  old["model.safetensors"] = std::string(3 << 20, 'x');
  write_tree(out_, old);
  const OutputFolder output({out_, {}, {}, true}, recorder_);
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { output.require_space({int64_t{1} << 60}); }),
                       "the old export's 3 MiB stay until the new one is whole"));
}

}  // namespace
}  // namespace arkit::output
