// What the host accepts, refuses and says, one fixture a fault.
#include <fstream>
#include <span>
#include <string>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <arkit/model_source.h>
#include <arkit/plugin.h>
#include <arkit/registry.h>

#include "host_testing.h"

using namespace host_test;

TEST(PluginHost, LoadsAPluginAndDescribesIt) {
  const arkit::PluginEntry entry = discovered("good");
  EXPECT_EQ(entry.state, arkit::PluginState::loaded) << entry.reason;
  EXPECT_EQ(entry.id, "org.example.good");
  EXPECT_EQ(entry.version, "1.2.3");
  EXPECT_EQ(entry.license, "Apache-2.0");
  EXPECT_EQ(entry.abi_tag, ARKIT_ABI_TAG);
  ASSERT_EQ(entry.components.size(), 1U);
  EXPECT_EQ(entry.components[0].kind, arkit::Kind::reader);
  EXPECT_EQ(entry.components[0].name, "sample");
}

TEST(PluginHost, CreatesAComponentOnceAndCatchesItsErrorsByType) {
  const arkit::Registry registry({{fixture("good")}, {}});
  arkit::ModelReader& reader = registry.reader("sample");
  EXPECT_EQ(&reader, &registry.reader("sample"));
  EXPECT_EQ(reader.info().name, "sample");
  const arkit::Error error = error_of([&] { (void)reader.open("/x"); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::input);
}

TEST(PluginHost, SuggestsTheNearestNameForAnUnknownComponent) {
  const arkit::Registry registry({{fixture("good")}, {}});
  const arkit::Error error = error_of([&] { (void)registry.reader("sampel"); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::unsupported);
  EXPECT_STREQ(error.what(), "unknown reader 'sampel'; did you mean 'sample'? ('arkit list plugins' shows all)");
  expect_contains(error_of([&] { (void)registry.scheme("int"); }).what(), "no plugin offers a scheme");
}

TEST(PluginHost, RefusesAFileWithoutManifest) {
  const arkit::PluginEntry entry = discovered("no_manifest");
  EXPECT_EQ(entry.state, arkit::PluginState::refused);
  EXPECT_EQ(
      arkit::refusal_message(entry),
      "plugin refused: " + fixture("no_manifest").string() +
          ": no `arkit_manifest` symbol; is it an arkit plugin? (ARKIT_PLUGIN is missing, or its symbol is hidden)");
}

TEST(PluginHost, RefusesAForeignMagicBeforeReadingAnythingElse) {
  const arkit::PluginEntry entry = discovered("wrong_magic");
  EXPECT_EQ(entry.state, arkit::PluginState::refused);
  expect_contains(entry.reason, "0x12345678");
  EXPECT_EQ(entry.id, "");
}

TEST(PluginHost, RefusesATooSmallManifest) {
  expect_contains(discovered("small_struct").reason, "its manifest has 24 bytes");
}

TEST(PluginHost, RefusesAnotherPluginApi) {
  const arkit::PluginEntry entry = discovered("wrong_api");
  EXPECT_EQ(entry.state, arkit::PluginState::refused);
  expect_contains(entry.reason, "built for  plugin API 99 (arkit99-torch2.13");
  expect_contains(entry.reason, "this arkit plugin API 1");
}

TEST(PluginHost, RefusesAnotherAbiWithBothTagsAndWithoutRunningItsCode) {
  ::unsetenv("ARKIT_TEST_WRONG_ABI_RAN");
  const arkit::PluginEntry entry = discovered("wrong_abi");
  EXPECT_EQ(arkit::refusal_message(entry),
            "plugin refused: " + fixture("wrong_abi").string() +
                "\n  built for  arkit1-torch2.12-gxxabi1017-cxx11abi1\n  this arkit " ARKIT_ABI_TAG
                "\n  rebuild it against this arkit's SDK (find_package(arkit " ARKIT_VERSION
                ")) or ask its vendor for that build");
  EXPECT_EQ(::getenv("ARKIT_TEST_WRONG_ABI_RAN"), nullptr);
  EXPECT_EQ(entry.id, "org.example.wrong_abi");
}

TEST(PluginHost, RefusesAnAbsurdComponentCount) {
  expect_contains(discovered("too_many_components").reason, "claims 2147483647 components; expected 1 to 64");
}

TEST(PluginHost, RefusesAHostileOrMissingId) {
  const arkit::PluginEntry hostile = discovered("hostile_id");
  EXPECT_EQ(hostile.state, arkit::PluginState::refused);
  EXPECT_EQ(hostile.reason.find('\033'), std::string::npos);
  expect_contains(hostile.reason, "\\x1b[2J");
  expect_contains(discovered("null_id").reason, "manifest field id is missing");
}

TEST(PluginHost, NamesAnUnresolvedSymbolDemangled) {
  const arkit::PluginEntry entry = discovered("unresolved_symbol");
  EXPECT_EQ(entry.state, arkit::PluginState::refused);
  expect_contains(entry.reason, "undefined symbol `arkit::function_of_another_release(int)`");
  EXPECT_EQ(entry.reason.find("Bad file descriptor"), std::string::npos);
}

TEST(PluginHost, ReportsAThrowingConstructorWithPluginAndComponent) {
  const arkit::Registry registry({{fixture("throwing_constructor")}, {}});
  const arkit::Error error = error_of([&] { (void)registry.reader("throwing"); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::plugin);
  expect_contains(error.what(), "plugin 'org.example.throwing'");
  expect_contains(error.what(), "reader 'throwing' cannot be created: no licence found");
  expect_contains(error_of([&] { (void)registry.reader("misnamed"); }).what(), "calls itself 'sample'");
}

TEST(PluginHost, TheEarlierOfTwoEqualNamesWins) {
  const arkit::Registry registry({{fixture("good")}, {fixture_folder("duplicate_name")}});
  ASSERT_EQ(registry.plugins().size(), 2U);
  EXPECT_EQ(registry.plugins()[0].state, arkit::PluginState::loaded);
  const arkit::PluginEntry& later = registry.plugins()[1];
  EXPECT_EQ(later.state, arkit::PluginState::shadowed);
  EXPECT_TRUE(later.components.at(0).shadowed);
  expect_contains(later.reason, "reader 'sample' is already taken by " + fixture("good").string());
}

TEST(PluginHost, TheSameIdTwiceIsShadowedAsAWhole) {
  const arkit::Registry registry({{}, {fixture_folder("good"), fixture_folder("duplicate_id")}});
  EXPECT_EQ(registry.plugins()[1].state, arkit::PluginState::shadowed);
  EXPECT_EQ(registry.names(arkit::Kind::reader), std::vector<std::string>{"sample"});
}

TEST(PluginHost, OneFileReachedTwiceIsOnePlugin) {
  const arkit::Registry registry({{fixture("good")}, {fixture_folder("good")}});
  EXPECT_EQ(registry.plugins().size(), 1U);
  EXPECT_TRUE(registry.plugins()[0].named_by_user);
}

TEST(PluginHost, ARefusalIsFatalOnlyForWhatTheUserNamed) {
  const arkit::Error error = error_of([] { const arkit::Registry registry({{fixture("wrong_api")}, {}}); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::plugin);
  expect_contains(error.what(), "plugin refused: " + fixture("wrong_api").string());
  expect_contains(error_of([] {
                    const arkit::Registry registry({{"/no/such/plugin.so"}, {}});
                  }).what(),
                  "plugin refused: /no/such/plugin.so: cannot be read");
  const TemporaryFolder empty;
  expect_contains(error_of([&] {
                    const arkit::Registry registry({{empty.path}, {}});
                  }).what(),
                  "holds no libarkit_*.so");
  EXPECT_TRUE(arkit::Registry({{}, {"/no/such/folder"}}).plugins().empty());
}

TEST(PluginHost, RefusesFilesAndFoldersOthersCanWrite) {
  const TemporaryFolder folder;
  const fs::path copy = folder.path / "libarkit_reader_copy.so";
  fs::copy_file(fixture("good"), copy);
  ::chmod(copy.c_str(), 0755);
  EXPECT_EQ(arkit::Registry({{}, {folder.path}}).plugins()[0].state, arkit::PluginState::loaded);

  ::chmod(copy.c_str(), 0775);
  expect_contains(arkit::Registry({{}, {folder.path}}).plugins()[0].reason, "is writable by its group");
  ::chmod(copy.c_str(), 0757);
  expect_contains(error_of([&] { const arkit::Registry registry({{copy}, {}}); }).what(), "is writable by everyone");

  ::chmod(copy.c_str(), 0755);
  ::chmod(folder.path.c_str(), 0777);
  const arkit::Registry registry({{}, {folder.path}});
  ASSERT_EQ(registry.plugins().size(), 1U);
  EXPECT_EQ(registry.plugins()[0].state, arkit::PluginState::refused);
  expect_contains(registry.plugins()[0].reason, "chmod go-w '" + folder.path.string() + "'");
  // A link from a safe folder does not help.
  const TemporaryFolder safe;
  fs::create_symlink(copy, safe.path / "libarkit_reader_link.so");
  EXPECT_EQ(arkit::Registry({{}, {safe.path}}).plugins()[0].state, arkit::PluginState::refused);
}

TEST(PluginHost, DamagedFilesAreRefusedNotFatal) {
  const TemporaryFolder folder;
  std::ofstream(folder.path / "libarkit_reader_text.so") << "not a shared object";
  std::ofstream(folder.path / "libarkit_reader_empty.so").flush();
  fs::copy_file(fixture("good"), folder.path / "libarkit_reader_cut.so");
  fs::resize_file(folder.path / "libarkit_reader_cut.so", 3000);
  fs::create_directory(folder.path / "libarkit_reader_folder.so");
  const arkit::Registry registry({{}, {folder.path}});
  ASSERT_EQ(registry.plugins().size(), 4U);
  for (const arkit::PluginEntry& entry : registry.plugins()) {
    EXPECT_EQ(entry.state, arkit::PluginState::refused) << entry.path;
    EXPECT_NE(entry.reason, "");
  }
}

TEST(PluginHost, NeverLooksInTheWorkingDirectory) {
  const TemporaryFolder folder;
  fs::copy_file(fixture("good"), folder.path / "libarkit_reader_good.so");
  const fs::path before = fs::current_path();
  ::setenv("ARKIT_PLUGIN_PATH", "::", 1);
  fs::current_path(folder.path);
  const arkit::PluginSearch search = arkit::default_search({});
  fs::current_path(before);
  for (const fs::path& place : search.folders) {
    EXPECT_TRUE(place.is_absolute()) << place;
    EXPECT_NE(place, folder.path);
  }
  ::setenv("ARKIT_PLUGIN_PATH", ".", 1);
  const arkit::Error error = error_of([] { (void)arkit::default_search({}); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::usage);
  expect_contains(error.what(), "ARKIT_PLUGIN_PATH: '.' is not an absolute path");
  ::unsetenv("ARKIT_PLUGIN_PATH");
}

TEST(PluginHost, SearchOrderIsNamedVariableUserInstallation) {
  ::setenv("ARKIT_PLUGIN_PATH", "/opt/one:/opt/two", 1);
  ::setenv("XDG_DATA_HOME", "/home/someone/data", 1);
  const std::string named[] = {"relative/plugin.so"};
  const arkit::PluginSearch search = arkit::default_search(named);
  ::unsetenv("ARKIT_PLUGIN_PATH");
  ::unsetenv("XDG_DATA_HOME");
  EXPECT_EQ(search.named, std::vector<fs::path>{fs::current_path() / "relative/plugin.so"});
  ASSERT_EQ(search.folders.size(), 4U);
  EXPECT_EQ(search.folders[0], "/opt/one");
  EXPECT_EQ(search.folders[1], "/opt/two");
  EXPECT_EQ(search.folders[2], "/home/someone/data/arkit/plugins");
  EXPECT_EQ(search.folders[3], fs::canonical("/proc/self/exe").parent_path().parent_path() / "lib/arkit/plugins");
}

TEST(PluginHost, FamiliesAreNamedOnesThenTheUsersThenThoseOfTheInstallation) {
  const TemporaryFolder folder;
  const std::string file = folder.path / "mine.toml";
  std::ofstream(file) << "";
  ::setenv("XDG_DATA_HOME", "/home/someone/data", 1);
  const arkit::PluginSearch search = arkit::default_search({}, std::span(&file, 1));
  ::unsetenv("XDG_DATA_HOME");
  EXPECT_EQ(search.families, (std::vector<fs::path>{file, "/home/someone/data/arkit/families",
                                                    fs::canonical("/proc/self/exe").parent_path().parent_path() /
                                                        "share/arkit/families"}));
  const std::string empty;
  EXPECT_EQ(error_of([&] { (void)arkit::default_search({}, std::span(&empty, 1)); }).code(), arkit::ErrorCode::usage);
  const std::string missing = "/no/such.toml";
  expect_contains(error_of([&] { (void)arkit::default_search({}, std::span(&missing, 1)); }).what(),
                  "--family '/no/such.toml': no such file or folder");
}

TEST(PluginHost, DisableTurnsDiscoveryOff) {
  ::setenv("ARKIT_PLUGIN_PATH", "disable", 1);
  EXPECT_TRUE(arkit::default_search({}).folders.empty());
  ::unsetenv("ARKIT_PLUGIN_PATH");
}

TEST(PluginHost, InspectDescribesARefusedFileWithoutLoadingIt) {
  ::unsetenv("ARKIT_TEST_WRONG_ABI_RAN");
  const arkit::PluginInspection inspection = arkit::inspect_plugin(fixture("wrong_abi"));
  EXPECT_EQ(inspection.entry.state, arkit::PluginState::refused);
  EXPECT_EQ(inspection.entry.id, "org.example.wrong_abi");
  EXPECT_EQ(inspection.entry.abi_tag, "arkit1-torch2.12-gxxabi1017-cxx11abi1");
  ASSERT_EQ(inspection.entry.components.size(), 1U);
  EXPECT_EQ(inspection.entry.components[0].name, "sample");
  EXPECT_NE(std::find(inspection.symbols.begin(), inspection.symbols.end(), "wrong_abi_mark"),
            inspection.symbols.end());
  EXPECT_EQ(::getenv("ARKIT_TEST_WRONG_ABI_RAN"), nullptr);

  EXPECT_EQ(arkit::inspect_plugin(fixture("good")).entry.state, arkit::PluginState::loaded);
  expect_contains(arkit::inspect_plugin(fixture("no_manifest")).entry.reason, "no `arkit_manifest` symbol");
  EXPECT_EQ(error_of([] { (void)arkit::inspect_plugin("/no/such.so"); }).code(), arkit::ErrorCode::input);
}
