// Prepared layers on disk: a second start takes them from there, and never what is not exactly them.
#include "inference/prepared_cache.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <vector>

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>

#include "inference/engine.h"
#include "inference/virtual_registry.h"
#include "jobs/job_testing.h"
#include "process_environment.h"
#include "temporary_folder.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Environment;
using testing::refusal;
using testing::TemporaryFolder;

const Registry& both() {
  return tests::registry_with(tests::device_file("virtual_device"));
}

// Counts what is unpacked, and can change one byte of a layer's codes.
class Counting final : public sdk::ForwardingSource, private PackedLayers {
 public:
  explicit Counting(const std::string& model) : ForwardingSource(open_source(model, both())) {}
  const PackedLayers* packed() const override { return this; }
  mutable int64_t unpacked = 0;
  std::string changed;  // layer

 private:
  std::span<const LinearSpec> layers() const override { return inner().packed()->layers(); }
  TensorMap tensors(std::string_view layer) const override {
    TensorMap all = inner().packed()->tensors(layer);
    if (layer == changed) {
      at::Tensor& codes = all.find("qweight")->second;
      codes = codes.clone();
      codes.view(-1)[0] = codes.view(-1)[0] ^ 1;
    }
    return all;
  }
  QuantizedWeight unpack(std::string_view layer) const override {
    ++unpacked;
    return inner().packed()->unpack(layer);
  }
};

class Prepared : public ::testing::Test {
 protected:
  static constexpr int64_t kUnits = 8;  // q/k/v, o, gate/up and down of two blocks

  struct Start {
    at::Tensor logits;
    int64_t used, written, unpacked;
  };
  Start start(const std::string& model = "auto_round-W4A16", const std::string& changed = {},
              const std::string& backend = "virtual_device") {
    Counting source(ARKIT_TEST_DATA "/golden/" + model);
    source.changed = changed;
    Engine engine(source, both(), at::kFloat, {backend, {}, folder_.path() / "kept"}, reporter_);
    engine.load_all();
    const at::Tensor ids = at::arange(10, 26, at::kLong).reshape({1, 16});
    const at::Tensor logits = engine.forward(ids, {}, {}, false);
    return {logits, engine.prepared_cache()->used(), engine.prepared_cache()->written(), source.unpacked};
  }
  std::vector<fs::path> files() const {
    std::vector<fs::path> all;
    for (const auto& entry : fs::directory_iterator(folder_.path() / "kept")) all.push_back(entry.path());
    std::sort(all.begin(), all.end());
    return all;
  }
  // Overwrites one byte.
  static void damage(const fs::path& file, int64_t offset) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(offset);
    const char byte = static_cast<char>(stream.get() ^ 0x10);
    stream.seekp(offset);
    stream.put(byte);
  }

  TemporaryFolder folder_;
  testing::Recorder reporter_;
};

TEST_F(Prepared, ASecondStartUnpacksNothing) {
  const Start first = start(), second = start();
  EXPECT_EQ(first.used, 0);
  EXPECT_EQ(first.written, kUnits);
  EXPECT_EQ(first.unpacked, 14);
  EXPECT_EQ(second.used, kUnits);
  EXPECT_EQ(second.written, 0);
  EXPECT_EQ(second.unpacked, 0);
  EXPECT_TRUE(second.logits.equal(first.logits));
  EXPECT_EQ(files().size(), static_cast<size_t>(kUnits));
  EXPECT_TRUE(reporter_.warnings.empty());
}

// The file stays mapped as long as the backend holds it.
TEST_F(Prepared, ABackendMayKeepWhatItWasGiven) {
  const Environment holds("ARKIT_TEST_VIRTUAL_HOLDS", "1");
  const at::Tensor first = start().logits;
  EXPECT_TRUE(start().logits.equal(first));

  const auto source = open_source(ARKIT_TEST_DATA "/golden/auto_round-W4A16", both());
  const InferenceBackend& backend = both().backend("virtual_device");
  const auto layers = source->packed()->layers();  // k_proj was kept together with others
  const LinearSpec& spec =
      *std::find_if(layers.begin(), layers.end(), [](const LinearSpec& one) { return one.name.ends_with(".k_proj"); });
  LayerWeights weights{spec, source->packed()->tensors(spec.name), [&] { return source->packed()->unpack(spec.name); },
                       [&](at::ScalarType type) {
                         return both().scheme("int").dequantize(source->packed()->unpack(spec.name), spec.quant.weight,
                                                                type);
                       }};
  PreparedCache cache(folder_.path() / "kept", both(), reporter_);
  const auto bytes = [](const QuantLinear& linear) {
    std::string all;
    linear.save([&](std::span<const std::byte> piece) {
      all.append(reinterpret_cast<const char*>(piece.data()), piece.size());
    });
    return all;
  };
  const auto made = cache.prepare(backend, {&weights, 1}, 0, at::kFloat);
  const auto held = cache.prepare(backend, {&weights, 1}, 0, at::kFloat);
  EXPECT_EQ(cache.used(), 1);
  EXPECT_EQ(bytes(*held), bytes(*made)) << "what is held is still mapped";
}

TEST_F(Prepared, DamagedFilesAreWrittenAgain) {
  const at::Tensor expected = start().logits;
  const std::vector<fs::path> all = files();
  damage(all[0], 4096 + 5);                            // the blob
  damage(all[1], 40);                                  // the header: its key
  fs::resize_file(all[2], fs::file_size(all[2]) - 1);  // cut short
  fs::resize_file(all[3], 0);
  fs::copy_file(all[5], all[4], fs::copy_options::overwrite_existing);  // whole, but of other layers
  const Start again = start();
  EXPECT_TRUE(again.logits.equal(expected));
  EXPECT_EQ(again.used, kUnits - 5);
  EXPECT_EQ(again.written, 5);
  EXPECT_EQ(reporter_.warnings.size(), 5U);
  EXPECT_TRUE(contains(reporter_.warnings[0], "are not used and written again")) << reporter_.warnings[0];
  reporter_.warnings.clear();
  EXPECT_EQ(start().used, kUnits);
  EXPECT_TRUE(reporter_.warnings.empty());
}

// Whatever the layers follow from is in the name of their file.
TEST_F(Prepared, OtherLayersAreOtherFiles) {
  (void)start();
  {
    const Environment layout("ARKIT_TEST_VIRTUAL_LAYOUT", "2");
    EXPECT_EQ(start().used, 0) << "another layout of the backend's";
  }
  const Start changed = start("auto_round-W4A16", "model.layers.1.mlp.down_proj");
  EXPECT_EQ(changed.used, kUnits - 1) << "one bit of one weight";
  EXPECT_EQ(changed.written, 1);
  EXPECT_EQ(start("auto_gptq-W3A16G32-asym").used, 0) << "another packing";
  EXPECT_EQ(start("auto_round-W4A16", {}, "torch").written, 0) << "torch keeps no blobs";
  EXPECT_TRUE(reporter_.warnings.empty());
}

// A blob that is whole and yet nothing the backend can use.
TEST_F(Prepared, WhatTheBackendRefusesIsWrittenAgain) {
  const at::Tensor expected = start().logits;
  const Environment fails("ARKIT_TEST_VIRTUAL_FAILS", "blob");
  const Start again = start();
  EXPECT_TRUE(again.logits.equal(expected));
  EXPECT_EQ(again.used, 0);
  EXPECT_EQ(again.written, kUnits);
  ASSERT_EQ(reporter_.warnings.size(), static_cast<size_t>(kUnits));
  EXPECT_TRUE(contains(reporter_.warnings[0], "a blob is not understood")) << reporter_.warnings[0];
}

constexpr const char* kFolderOfChild = "ARKIT_TEST_PREPARED_FOLDER";

// Of the processes below: starts again and again, while others write the same files.
TEST_F(Prepared, DISABLED_Starts) {
  const char* folder = std::getenv(kFolderOfChild);
  if (folder == nullptr) GTEST_SKIP() << "is run by ProcessesWriteAtOnce";
  const auto source = open_source(ARKIT_TEST_DATA "/golden/auto_round-W4A16", both());
  for (int i = 0; i < 20; ++i) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      std::error_code gone;
      if (entry.path().extension() == ".prepared") fs::remove(entry.path(), gone);
    }
    Engine engine(*source, both(), at::kFloat, {"virtual_device", {}, folder}, reporter_);
    engine.load_all();
    EXPECT_EQ(engine.prepared_cache()->used() + engine.prepared_cache()->written(), kUnits);
  }
  EXPECT_TRUE(reporter_.warnings.empty()) << reporter_.warnings.front();
}

TEST_F(Prepared, ProcessesWriteAtOnce) {
  const fs::path kept = folder_.path() / "kept";
  fs::create_directory(kept);
  const Environment place(kFolderOfChild, kept.string());
  std::vector<pid_t> children(2);
  for (pid_t& child : children) {
    child = ::fork();
    if (child != 0) continue;
    ::execl("/proc/self/exe", "test_virtual_device", "--gtest_filter=Prepared.DISABLED_Starts",
            "--gtest_also_run_disabled_tests", nullptr);
    ::_exit(127);
  }
  for (const pid_t child : children) {
    int status = -1;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
  }
  EXPECT_EQ(start().used, kUnits) << "whoever was last left whole files";
  EXPECT_EQ(files().size(), static_cast<size_t>(kUnits)) << "and nothing else";
}

TEST_F(Prepared, AFolderThatIsNotFitIsRefused) {
  const auto why = [&](ErrorCode code, const fs::path& folder) {
    return refusal(code, [&] { const PreparedCache cache(folder, both(), reporter_); });
  };
  const fs::path file = folder_.write("file", "x");
  EXPECT_TRUE(contains(why(ErrorCode::input, file), "is no folder"));
  EXPECT_TRUE(contains(why(ErrorCode::resource, file / "below"), "cannot be made"));
  const fs::path open = folder_.path() / "open";
  fs::create_directory(open);
  ::chmod(open.c_str(), 0777);
  EXPECT_TRUE(contains(why(ErrorCode::input, open), "anybody may write into this folder"));
}

TEST_F(Prepared, TracesOfKilledProcessesGo) {
  const fs::path kept = folder_.path() / "kept";
  const fs::path old = folder_.write("kept/a.1.new.part", "x"), fresh = folder_.write("kept/b.2.new", "x");
  fs::last_write_time(old, fs::file_time_type::clock::now() - std::chrono::hours(2));
  const PreparedCache cache(kept, both(), reporter_);
  EXPECT_FALSE(fs::exists(old));
  EXPECT_TRUE(fs::exists(fresh)) << "somebody may be writing it";
}

// A disk that does not take them is a warning, once.
TEST_F(Prepared, WhatCannotBeKeptIsSaidOnce) {
  const at::Tensor expected = start().logits;
  for (const fs::path& file : files()) {
    fs::remove(file);
    fs::create_directory(file);
  }
  const Start again = start();
  EXPECT_TRUE(again.logits.equal(expected));
  EXPECT_EQ(again.written, 0);
  int64_t not_kept = 0;
  for (const std::string& warning : reporter_.warnings)
    not_kept += contains(warning, "prepared layers are not kept for the next start") ? 1 : 0;
  EXPECT_EQ(not_kept, 1);
  EXPECT_EQ(files().size(), static_cast<size_t>(kUnits)) << "what could not be put in its place is gone";
}

}  // namespace
}  // namespace arkit
