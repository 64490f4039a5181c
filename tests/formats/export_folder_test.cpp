// What is left behind: by a finished export, a failed one, a killed one, and two at once.

#include <csignal>
#include <fstream>
#include <functional>
#include <set>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/sdk/export_folder.h>

#include "formats/tiny_export.h"
#include "small_disk.h"

namespace arkit::test {
namespace {

namespace fs = std::filesystem;
using sdk::ExportFolder;
using sdk::PlannedTensor;

std::vector<PlannedTensor> two_tensors() {
  return {{"a.weight", at::kFloat, {64}}, {"b.weight", at::kFloat, {64}}};
}

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

void write_both(ExportFolder& folder) {
  folder.write("b.weight", at::full({64}, 2.0F));
  folder.write("a.weight", at::full({64}, 1.0F));
}

ErrorCode code_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode{0};
}

TEST(ExportFolder, AppearsWhenFinished) {
  TemporaryFolder place("finished");
  ExportFolder folder(place.path(), two_tensors(), 1 << 30);
  write_both(folder);
  folder.add_text("config.json", "{}");
  EXPECT_FALSE(fs::exists(place.path() / "model.safetensors")) << "nothing has its name before finish()";
  const std::vector<fs::path> files = folder.finish();
  EXPECT_EQ(files, (std::vector<fs::path>{"config.json", "model.safetensors"})) << "the weights come last";
  EXPECT_EQ(names_in(place.path()), (std::set<std::string>{"config.json", "model.safetensors"}));
  EXPECT_EQ(folder.bytes(), static_cast<int64_t>(fs::file_size(place.path() / "model.safetensors")) + 2);
  EXPECT_EQ(open_safetensors(place.path())->load("b.weight")[63].item<float>(), 2.0F);
}

TEST(ExportFolder, CutsShardsAndWritesTheIndexLast) {
  TemporaryFolder place("shards");
  ExportFolder folder(place.path(), two_tensors(), 300);
  write_both(folder);
  EXPECT_EQ(folder.finish().back(), "model.safetensors.index.json");
  const json::Value index = json::read_file(place.path() / "model.safetensors.index.json");
  EXPECT_EQ(index.at("weight_map").at("b.weight").get_string(), "model-00002-of-00002.safetensors");
  EXPECT_EQ(index.at("metadata").at("total_size").as_int64(), 512);
  EXPECT_EQ(open_safetensors(place.path())->load("a.weight")[0].item<float>(), 1.0F);
}

TEST(ExportFolder, ATensorLargerThanAShardGetsItsOwn) {
  TemporaryFolder place("large");
  ExportFolder folder(place.path(), two_tensors(), 10);
  write_both(folder);
  (void)folder.finish();
  EXPECT_TRUE(fs::exists(place.path() / "model-00002-of-00002.safetensors"));
}

TEST(ExportFolder, ExtraTensorsHaveTheirOwnFile) {
  TemporaryFolder place("extra");
  std::vector<PlannedTensor> tensors = two_tensors();
  tensors[0].extra = true;
  ExportFolder folder(place.path(), tensors, 1 << 30);
  write_both(folder);
  (void)folder.finish();
  const json::Value index = json::read_file(place.path() / "model.safetensors.index.json");
  EXPECT_EQ(index.at("weight_map").at("a.weight").get_string(), "model_extra_tensors.safetensors");
  EXPECT_EQ(index.at("weight_map").at("b.weight").get_string(), "model.safetensors");
}

TEST(ExportFolder, LeavesNothingWhenItIsNotFinished) {
  TemporaryFolder place("unfinished");
  {
    ExportFolder folder(place.path(), two_tensors(), 300);
    folder.write("a.weight", at::zeros({64}));
    folder.add_text("config.json", "{}");
    EXPECT_FALSE(names_in(place.path()).empty());
  }
  EXPECT_TRUE(names_in(place.path()).empty());
}

TEST(ExportFolder, RefusesToFinishWithATensorMissing) {
  TemporaryFolder place("missing");
  {
    ExportFolder folder(place.path(), two_tensors(), 300);
    folder.write("a.weight", at::zeros({64}));
    EXPECT_EQ(folder.unwritten(), std::vector<std::string>{"b.weight"});
    EXPECT_EQ(code_of([&] { (void)folder.finish(); }), ErrorCode::internal);
  }
  EXPECT_TRUE(names_in(place.path()).empty());
}

TEST(ExportFolder, RefusesTensorsThatWereNotPlanned) {
  TemporaryFolder place("unplanned");
  ExportFolder folder(place.path(), two_tensors(), 300);
  EXPECT_EQ(code_of([&] { folder.write("c.weight", at::zeros({64})); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { folder.write("a.weight", at::zeros({65})); }), ErrorCode::internal);
  EXPECT_EQ(code_of([&] { folder.write("a.weight", at::zeros({64}, at::kHalf)); }), ErrorCode::internal);
  folder.write("a.weight", at::zeros({64}));
  EXPECT_EQ(code_of([&] { folder.write("a.weight", at::zeros({64})); }), ErrorCode::internal) << "twice";
  EXPECT_EQ(code_of([&] { folder.add_text("../config.json", ""); }), ErrorCode::internal);
}

TEST(ExportFolder, LocksOutASecondRun) {
  TemporaryFolder place("locked");
  {
    ExportFolder folder(place.path(), two_tensors(), 300);
    EXPECT_EQ(code_of([&] { ExportFolder second(place.path(), two_tensors(), 300); }), ErrorCode::resource);
    write_both(folder);
    (void)folder.finish();
  }
  ExportFolder next(place.path(), two_tensors(), 300);  // the lock is gone with the first run
}

TEST(ExportFolder, ReplacesTheWeightsOfAnEarlierExport) {
  TemporaryFolder place("earlier");
  {
    ExportFolder folder(place.path(), two_tensors(), 300);
    write_both(folder);
    folder.add_text("quantization_config.json", "{}");
    (void)folder.finish();
  }
  std::ofstream(place.path() / "notes.txt") << "mine";
  ExportFolder folder(place.path(), two_tensors(), 1 << 30);
  write_both(folder);
  EXPECT_TRUE(fs::exists(place.path() / "model.safetensors.index.json"))
      << "the earlier export is whole until finish()";
  (void)folder.finish();
  EXPECT_EQ(names_in(place.path()), (std::set<std::string>{"model.safetensors", "notes.txt"}));
}

TEST(ExportFolder, FollowsTheUmask) {
  TemporaryFolder place("umask");
  const mode_t before = ::umask(027);
  ExportFolder folder(place.path(), two_tensors(), 1 << 30);
  write_both(folder);
  (void)folder.finish();
  ::umask(before);
  struct stat state {};
  ASSERT_EQ(::stat((place.path() / "model.safetensors").c_str(), &state), 0);
  EXPECT_EQ(state.st_mode & 0777U, 0640U);
}

TEST(ExportFolder, DoesNotWriteThroughAPlantedLink) {
  TemporaryFolder place("link");
  const fs::path victim = place.path() / "victim";
  std::ofstream(victim) << "precious";
  fs::create_symlink(victim, place.path() / "model.safetensors.part");
  ExportFolder folder(place.path(), two_tensors(), 1 << 30);
  write_both(folder);
  (void)folder.finish();
  EXPECT_EQ(fs::file_size(victim), 8U);
  EXPECT_FALSE(fs::is_symlink(place.path() / "model.safetensors"));
}

// The space is missing before any tensor arrives.
TEST(ExportFolder, ReportsAFullDiskBeforeAnyWork) {
  TemporaryFolder place("full");
  const testing::SmallDisk disk(place.path(), 128 << 10);
  std::string message;
  ErrorCode code{0};
  try {
    ExportFolder folder(disk.folder(), {{"big", at::kFloat, {100000}}}, 1 << 30);
  } catch (const Error& error) {
    code = error.code();
    message = error.what();
  }
  EXPECT_EQ(code, ErrorCode::resource);
  EXPECT_NE(message.find("--output_dir"), std::string::npos) << message;
  EXPECT_TRUE(names_in(disk.folder()).empty());
}

// kill -9 in the middle: no file has its final name, and the next run clears what is left.
TEST(ExportFolder, AKilledRunLeavesNoModelAndDoesNotBlockTheNext) {
  TemporaryFolder place("killed");
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ExportFolder folder(place.path(), two_tensors(), 300);
    folder.write("a.weight", at::zeros({64}));
    folder.add_text("config.json", "{}");
    ::kill(::getpid(), SIGKILL);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  for (const std::string& name : names_in(place.path()))
    EXPECT_TRUE(name.ends_with(".part") || name == ".arkit.lock") << name;
  ExportFolder folder(place.path(), two_tensors(), 1 << 30);
  write_both(folder);
  (void)folder.finish();
  EXPECT_EQ(names_in(place.path()), std::set<std::string>{"model.safetensors"});
}

// The same through a whole format: a run that throws in the middle leaves an empty folder.
TEST(ExportJob, AnExceptionInTheMiddleLeavesACleanFolder) {
  TemporaryFolder place("job");
  const GoldenCase& golden = golden_cases().front();
  const auto source = open_hf_folder(fs::path(golden_root()) / golden.source);
  const QuantPlan plan = plan_of(*source, golden);
  const Exporter& exporter = format_plugins().exporter("auto_round");
  const ExportRequest request{.output_dir = place.path(), .source = *source, .plan = plan};
  try {
    const auto job = exporter.open(request, "auto_round");
    add_layers(*job, *source, plan, 5);
    throw_input("weights turned out to be damaged");
  } catch (const Error&) {
  }
  EXPECT_TRUE(names_in(place.path()).empty());
  {
    const auto job = exporter.open(request, "auto_round");
    add_layers(*job, *source, plan, 5);
    EXPECT_EQ(code_of([&] { (void)job->finish(); }), ErrorCode::internal) << "layers are missing";
  }
  EXPECT_TRUE(names_in(place.path()).empty());
}

}  // namespace
}  // namespace arkit::test
