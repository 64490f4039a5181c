// Libraries that end the process they are loaded into end a child, and are refused with what happened.
#include <fstream>
#include <iterator>
#include <random>

#include <sys/stat.h>
#include <unistd.h>

#include <arkit/model_source.h>
#include <arkit/plugin.h>

#include "host_testing.h"
#include "plugins/probe.h"
#include "plugins/probe_cache.h"

using namespace host_test;
using arkit::plugins::probe_files;
using arkit::plugins::ProbeCache;
using arkit::plugins::ProbeResult;
using std::chrono::milliseconds;

namespace {

std::vector<char> bytes_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_plugin(const fs::path& path, const std::vector<char>& bytes) {
  std::ofstream(path, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  ::chmod(path.c_str(), 0755);
}

// Copies of the fixture whose initialiser does what its file's name says.
class Harm : public testing::Test {
 protected:
  fs::path file(const std::string& harm) {
    const fs::path path = folder.path / ("libarkit_reader_" + harm + ".so");
    write_plugin(path, bytes_of(fixture("initialiser")));
    return path;
  }
  std::string ended(const std::string& harm, milliseconds limit = arkit::plugins::kProbeLimit) {
    const fs::path files[] = {file(harm)};
    return probe_files(files, limit).at(0).ended;
  }

  const TemporaryCache cache;
  const TemporaryFolder folder;
};

}  // namespace

TEST_F(Harm, SaysHowALibraryEndedItsProcess) {
  EXPECT_EQ(ended("does_nothing"), "");
  EXPECT_EQ(ended("throws"), "threw std::runtime_error 'no licence for this machine' when it was loaded");
  EXPECT_EQ(ended("throws_int"), "threw an object of type int when it was loaded");
  EXPECT_EQ(ended("aborts"), "crashed with signal 6 (Aborted) when it was loaded");
  EXPECT_EQ(ended("crashes"), "crashed with signal 11 (Segmentation fault) when it was loaded");
  EXPECT_EQ(ended("exits"), "ended the program with exit code 0 when it was loaded");
  EXPECT_EQ(ended("exits_at_once"), "ended the program with exit code 3 when it was loaded");
  EXPECT_EQ(ended("hangs", milliseconds(500)), "did not come to an end within 0.5 s when it was loaded");
}

TEST_F(Harm, OneBadFileLeavesTheOthersTheirChance) {
  const fs::path files[] = {file("aborts"), fixture("good"),     file("hangs"), fixture("unresolved_symbol"),
                            file("exits"),  file("does_nothing")};
  const std::vector<ProbeResult> results = probe_files(files, milliseconds(500));
  ASSERT_EQ(results.size(), 6U);
  const bool good[] = {false, true, false, true, false, true};
  for (size_t i = 0; i < results.size(); ++i) EXPECT_EQ(results[i].good(), good[i]) << files[i] << results[i].ended;
}

TEST_F(Harm, IsListedAndTheRestIsLoaded) {
  (void)file("exits");
  (void)file("crashes");
  const arkit::Registry registry({{}, {folder.path, fixture_folder("good")}});
  ASSERT_EQ(registry.plugins().size(), 3U);
  const arkit::PluginEntry &crashes = registry.plugins()[0], &exits = registry.plugins()[1];
  EXPECT_EQ(crashes.state, arkit::PluginState::refused);
  expect_contains(crashes.reason, "crashed with signal 11 (Segmentation fault) when it was loaded");
  EXPECT_EQ(exits.state, arkit::PluginState::refused);
  EXPECT_EQ(exits.reason, "ended the program with exit code 0 when it was loaded, tried in a process of its own");
  EXPECT_EQ(exits.id, "org.example.initialiser");
  EXPECT_EQ(registry.plugins()[2].state, arkit::PluginState::loaded);
  const fs::path aborts = file("aborts");
  const arkit::Error named = error_of([&] { const arkit::Registry one({{aborts}, {}}); });
  EXPECT_EQ(named.code(), arkit::ErrorCode::plugin);
  expect_contains(named.what(), aborts.string() + ": crashed with signal 6 (Aborted)");
}

TEST(PluginProbe, TellsWhatThrewWithoutHarm) {
  const fs::path files[] = {fixture("faulty"), fixture("throwing_constructor")};
  EXPECT_TRUE(probe_files(files)[0].good());
  ::setenv("ARKIT_TEST_PRESETS_THROW", "1", 1);
  const std::vector<ProbeResult> results = probe_files(files);
  ::unsetenv("ARKIT_TEST_PRESETS_THROW");
  EXPECT_EQ(results[0].ended, "");
  EXPECT_EQ(results[0].thrown, "threw an object of type int when it ran presets() of its scheme 'row'");
  EXPECT_EQ(results[1].thrown,
            "threw std::runtime_error 'no licence found' when it ran the constructor of its reader 'throwing'");
}

TEST(PluginProbe, AFunctionThatBreaksItsPromiseNotToThrowIsNamed) {
  const fs::path files[] = {fixture("faulty")};
  ::setenv("ARKIT_TEST_INFO_THROWS", "1", 1);
  EXPECT_EQ(probe_files(files)[0].ended,
            "threw std::runtime_error 'info is broken' when it ran info() of its reader 'faulty'");
  ::unsetenv("ARKIT_TEST_INFO_THROWS");
}

TEST(PluginHost, ExceptionsRefuseWhatWasFoundAndWaitInWhatWasNamed) {
  const TemporaryCache cache;
  const arkit::PluginEntry found = discovered("throwing_constructor");
  EXPECT_EQ(found.state, arkit::PluginState::refused);
  expect_contains(found.reason, "threw std::runtime_error 'no licence found'");
  const arkit::Registry registry({{fixture("throwing_constructor")}, {}});
  EXPECT_EQ(registry.plugins()[0].state, arkit::PluginState::loaded);
}

// Two hundred and sixty random damages of a plugin, as disks and downloads make them. Whatever becomes of them, this
// process lives, and a plugin that is accepted answers.
TEST(PluginHost, RandomDamageIsRefusedOrHarmless) {
  const TemporaryCache cache;
  const TemporaryFolder folder;
  const std::vector<char> bytes = bytes_of(fixture("good"));
  std::mt19937 random(260);  // fixed: a failure must repeat
  size_t refused = 0;
  for (int round = 0; round < 260; ++round) {
    std::vector<char> damaged = bytes;
    const size_t flips = 1 + random() % 16;
    const size_t start = random() % bytes.size(), span = round % 2 == 0 ? 64 : bytes.size();
    for (size_t i = 0; i < flips; ++i) {
      size_t at = (start + random() % span) % bytes.size();
      if (round % 4 == 3) at = random() % 0x400;  // headers
      damaged[at] = static_cast<char>(random());
    }
    const fs::path file = folder.path / ("libarkit_reader_" + std::to_string(round) + ".so");
    write_plugin(file, damaged);
    const arkit::Registry registry({{}, {folder.path}});
    ASSERT_EQ(registry.plugins().size(), 1U);
    if (registry.plugins()[0].state == arkit::PluginState::refused) {
      ++refused;
      EXPECT_NE(registry.plugins()[0].reason, "");
    } else {
      for (const std::string& name : registry.names(arkit::Kind::reader)) try {
          (void)registry.reader(name).matches("/", nullptr);
        } catch (const arkit::Error&) {  // a damaged name
        }
    }
    fs::remove(file);
  }
  EXPECT_GT(refused, 50U);
  EXPECT_LT(refused, 260U);  // else every damage hits the first check
}

TEST(PluginProbeCache, KeepsResultsUntilTheFileChanges) {
  const TemporaryFolder folder;
  const fs::path plugin = folder.path / "libarkit_reader_x.so", kept = folder.path / "cache/plugins.json";
  write_plugin(plugin, {'a'});
  {
    ProbeCache cache(kept);
    EXPECT_FALSE(cache.find(plugin));
    cache.add(plugin, {"crashed", ""});
    cache.save();
  }
  const auto found = ProbeCache(kept).find(plugin);
  ASSERT_TRUE(found);
  EXPECT_EQ(found->ended, "crashed");
  write_plugin(plugin, {'b'});  // same name, size and inode
  EXPECT_FALSE(ProbeCache(kept).find(plugin));
}

TEST(PluginProbeCache, IgnoresWhatIsDamagedOrWritableByOthers) {
  const TemporaryFolder folder;
  const fs::path plugin = folder.path / "libarkit_reader_x.so", kept = folder.path / "plugins.json";
  write_plugin(plugin, {'a'});
  ProbeCache cache(kept);
  cache.add(plugin, {});
  cache.save();
  ASSERT_TRUE(ProbeCache(kept).find(plugin));
  ::chmod(kept.c_str(), 0666);
  EXPECT_FALSE(ProbeCache(kept).find(plugin));
  ::chmod(kept.c_str(), 0644);
  ASSERT_TRUE(ProbeCache(kept).find(plugin));
  std::ofstream(kept) << "[]";
  EXPECT_FALSE(ProbeCache(kept).find(plugin));
  ProbeCache("/proc/no/such/place.json").save();  // no place to write: no error
}

TEST(PluginHost, TriesAFileOnceAndNotAgainUntilItChanges) {
  const TemporaryCache cache;
  const TemporaryFolder folder;
  const fs::path file = folder.path / "libarkit_reader_exits.so";
  write_plugin(file, bytes_of(fixture("initialiser")));
  const auto reason = [&] { return arkit::Registry({{}, {folder.path}}).plugins()[0].reason; };
  expect_contains(reason(), "exit code 0");
  // What is kept is what is told: the proof that nothing was tried again.
  const fs::path kept = ProbeCache::default_file();
  EXPECT_EQ(kept.parent_path(), cache.path() / "arkit");
  std::vector<char> text = bytes_of(kept);
  std::string changed(text.begin(), text.end());
  changed.replace(changed.find("exit code 0"), 11, "exit code 9");
  std::ofstream(kept) << changed;
  expect_contains(reason(), "exit code 9");
  write_plugin(file, bytes_of(fixture("initialiser")));
  expect_contains(reason(), "exit code 0");
}
