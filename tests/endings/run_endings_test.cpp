// Whole runs of quantize and convert in which one call fails, or the process is killed: weights, configuration, record
// and card of all formats are those of one run.
#include <algorithm>
#include <csignal>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>

#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/json.h>
#include <arkit/lost_file.h>
#include <arkit/mapped_file.h>
#include <arkit/model_source.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "endings/fault_points.h"
#include "jobs/job_testing.h"
#include "output/swap_journal.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::End;
using testing::end_in_child;
using testing::Fault;
using testing::Recorder;
using testing::refusal;
using testing::registry;
using testing::TemporaryFolder;
using Tree = std::map<std::string, std::string>;

// All files; of records only what says which run they are from (they hold times and memory).
Tree tree_of(const fs::path& folder) {
  Tree tree;
  if (!fs::exists(folder)) return tree;
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    if (!entry.is_regular_file()) continue;
    const fs::path name = entry.path().lexically_relative(folder);
    std::ifstream in(entry.path(), std::ios::binary);
    std::string content{std::istreambuf_iterator<char>(in), {}};
    if (name.filename() == "arkit-run.json") {
      const json::Value record = json::parse(content, "record");
      content = str(record.at("command"), record.at("format"), record.at("files"));
    }
    tree[name.string()] = content;
  }
  return tree;
}

using Job = std::function<void(const fs::path& output, bool force)>;

QuantizeOptions options_for(const fs::path& output, bool force, const std::string& command) {
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.recipe = "rtn";
  options.output_dir = output;
  options.force = force;
  options.command_line = command;
  return options;
}

void quantize_with(const QuantizeOptions& options) {
  Reporter silent;
  (void)quantize(options, registry(), silent);
}

struct Case {
  const char* name;
  Job old, made;
};

Job one_format(const std::string& format, int bits, int64_t shard = int64_t{1} << 30) {
  return [=](const fs::path& output, bool force) {
    QuantizeOptions options = options_for(output, force, str(format, bits));
    options.formats = {format};
    options.overrides.bits = bits;
    options.max_shard_bytes = shard;
    quantize_with(options);
  };
}

Job three_formats(int bits) {
  return [=](const fs::path& output, bool force) {
    QuantizeOptions options = options_for(output, force, str("three", bits));
    options.formats = {"auto_round", "llm_compressor", "fake"};
    options.overrides.bits = bits;
    quantize_with(options);
  };
}

Job conversion() {
  return [](const fs::path& output, bool force) {
    ConvertOptions options;
    options.model = testing::tiny_model("auto_round-W4A16");
    options.formats = {"auto_gptq", "mlx"};
    options.output_dir = output;
    options.force = force;
    options.command_line = "convert";
    Reporter silent;
    (void)convert(options, registry(), silent);
  };
}

std::vector<Case> cases() {
  return {{"fresh", nullptr, one_format("auto_round", 4)},
          {"same_format", one_format("auto_round", 8), one_format("auto_round", 4)},
          {"other_format_and_shards", one_format("llm_compressor", 8, 100000), one_format("auto_gptq", 4)},
          {"three_over_one", one_format("auto_gptq", 8), three_formats(4)},
          {"converted_over_three", three_formats(8), conversion()}};
}

class RunEndings : public ::testing::TestWithParam<std::tuple<size_t, Fault>> {
 public:
  ~RunEndings() override { testing::disarm(); }

  static End run_with_fault(const Job& run, const fs::path& output, Fault fault, int at,
                            testing::Counted counted = testing::Counted::all) {
    const testing::FaultAt here{
        .fault = fault, .at = at, .error_number = at % 2 == 0 ? EIO : ENOSPC, .counted = counted};
    return end_in_child(here, [&] {
      at::set_num_threads(1);  // a forked process has none of the threads of its parent
      run(output, true);
    });
  }

  static int calls_of(const Job& run, const fs::path& output) {
    testing::arm(Fault::none, 1 << 30, 0);
    run(output, true);
    testing::disarm();
    return testing::calls();
  }
};

// Calls that write tensors are many and alike: of them every eleventh is tried, of the last forty, where everything
// comes together, each.
TEST_P(RunEndings, OldWholeOrNewWholeAndTheNextRunWorks) {
  constexpr int kStride = 11, kLast = 40;
  const Case tried = cases()[std::get<0>(GetParam())];
  const Fault fault = std::get<1>(GetParam());
  const TemporaryFolder reference;
  if (tried.old) tried.old(reference.path() / "old", false);
  const Tree old = tree_of(reference.path() / "old");
  if (tried.old) tried.old(reference.path() / "new", false);
  const int calls = calls_of(tried.made, reference.path() / "new");
  const Tree made = tree_of(reference.path() / "new");
  ASSERT_GT(calls, kLast);
  int kept = 0, replaced = 0;
  const TemporaryFolder place;
  const fs::path output = place.path() / "out";
  for (int at = 1; at <= calls; at += at < calls - kLast ? kStride : 1) {
    SCOPED_TRACE(str("call ", at, " of ", calls));
    fs::remove_all(output);
    if (tried.old) fs::copy(reference.path() / "old", output, fs::copy_options::recursive);
    const End end = run_with_fault(tried.made, output, fault, at);
    ASSERT_NE(end, End::well) << "the fault was not reached";
    const Tree found = tree_of(output);
    ASSERT_TRUE(found == old || found == made) << "neither the old export nor the new one";
    ASSERT_TRUE(end != End::well_in_spite || found == made) << "success was reported";
    ++(found == old ? kept : replaced);
    if (fault == Fault::fail) {
      ASSERT_EQ(fs::exists(output), !found.empty()) << "a failed run leaves no empty folder";
    }
    if (fault == Fault::fail && end != End::well_in_spite) {
      ASSERT_EQ(std::distance(fs::directory_iterator(place.path()), {}), found.empty() ? 0 : 1);
    }
    if (at % 4 != 0 && at < calls - 5) continue;  // the next run clears what this one left, or meets more of it
    tried.made(output, true);
    ASSERT_EQ(tree_of(output), made);
    ASSERT_EQ(std::distance(fs::directory_iterator(place.path()), {}), 1) << "something is left beside the folder";
  }
  EXPECT_GT(kept, 15);
  EXPECT_GT(replaced, 0);
}

INSTANTIATE_TEST_SUITE_P(
    Runs, RunEndings, ::testing::Combine(::testing::Range<size_t>(0, 5), ::testing::Values(Fault::fail, Fault::kill)),
    [](const auto& info) {
      return str(cases()[std::get<0>(info.param)].name, std::get<1>(info.param) == Fault::kill ? "_killed" : "_failed");
    });

// Several formats, of which one fails, or their records.
class Formats : public ::testing::TestWithParam<bool> {
 protected:
  Formats() {
    if (!GetParam()) return;
    three_formats(8)(output_, false);
    old_ = tree_of(output_);
  }
  ~Formats() override {
    testing::disarm();
    testing::count(testing::Counted::all);
  }

  // Formats that fail where and how tests/refine/refining_exporter.cpp says.
  static const Registry& with_failing() {
    static const Registry instance(PluginSearch{.named = {ARKIT_REFINING}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
    return instance;
  }
  std::string end_of(const std::vector<std::string>& formats) {
    QuantizeOptions options = options_for(output_, true, "fails");
    options.formats = formats;
    Reporter silent;
    return refusal(ErrorCode::resource, [&] { (void)quantize(options, with_failing(), silent); });
  }
  void expect_untouched() {
    EXPECT_EQ(tree_of(output_), old_);
    EXPECT_EQ(std::distance(fs::directory_iterator(place_.path()), {}), GetParam() ? 1 : 0) << "something is left";
  }

  TemporaryFolder place_;
  fs::path output_ = place_.path() / "out";
  Tree old_;
};

TEST_P(Formats, OneThatFailsTakesTheOthersWithIt) {
  for (const std::string failing : {"refining:unfinished", "refining:stuck"}) {
    EXPECT_TRUE(contains(end_of({"auto_round", failing}), failing));
    expect_untouched();
    EXPECT_TRUE(contains(end_of({failing, "auto_round"}), failing));
    expect_untouched();
  }
}

TEST_P(Formats, ARecordOrACardThatCannotBeWrittenTakesAllWithIt) {
  for (const char* file : {"arkit-run.json.part", "README.md.part"}) {
    for (const int which : {1, 2}) {
      testing::count(testing::Counted::a_file, file);
      testing::arm(Fault::fail, which, ENOSPC);
      const std::string message = end_of({"auto_round", "llm_compressor"});
      EXPECT_TRUE(testing::fired());
      testing::disarm();
      EXPECT_TRUE(contains(message, fs::path(file).stem().string())) << message;
      expect_untouched();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Set, Formats, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "over_an_old_one" : "fresh"; });

// The disk fills, or the process is killed, between two renames of a run of three formats over three.
TEST(FormatsBetweenRenames, AllOldOrAllNewAndTheNextRunWorks) {
  testing::forbid_exchange(true);
  const TemporaryFolder reference;
  three_formats(8)(reference.path() / "old", false);
  const Tree old = tree_of(reference.path() / "old");
  three_formats(4)(reference.path() / "new", false);
  const Tree made = tree_of(reference.path() / "new");
  int renames = 0, unfinished = 0;
  for (const Fault fault : {Fault::fail, Fault::kill}) {
    End end = End::killed;
    for (int at = 2; end != End::well; at += 5) {  // every fifth of some sixty
      SCOPED_TRACE(str(fault == Fault::kill ? "killed at rename " : "failed at rename ", at));
      const TemporaryFolder place;
      const fs::path output = place.path() / "out";
      fs::copy(reference.path() / "old", output, fs::copy_options::recursive);
      end = RunEndings::run_with_fault(three_formats(4), output, fault, at, testing::Counted::moves);
      if (end == End::well) break;
      ++renames;
      const Tree found = tree_of(output);
      if (output::has_journal(output)) {
        ++unfinished;
        EXPECT_EQ(fault, Fault::kill);
        EXPECT_TRUE(
            contains(refusal(ErrorCode::input, [&] { (void)open_source((output / "fake").string(), registry()); }),
                     "a run is replacing the export here"));
      } else {
        EXPECT_TRUE(found == old || found == made);
      }
      three_formats(4)(output, true);
      EXPECT_EQ(tree_of(output), made);
      EXPECT_EQ(std::distance(fs::directory_iterator(place.path()), {}), 1);
    }
  }
  testing::forbid_exchange(false);
  EXPECT_GT(renames, 10);
  EXPECT_GT(unfinished, 5);
}

class Source : public ::testing::Test {
 protected:
  Source() {
    fs::copy(testing::tiny_model("source-llama-bf16"), model_, fs::copy_options::recursive);
    options_ = options_for(folder_.path() / "out", false, "command");
    options_.model = model_.string();
  }
  ~Source() override {
    forget_lost_file();
    clear_interrupt();
  }

  // Does something in the middle of the run.
  class Meddler final : public Reporter {
   public:
    explicit Meddler(std::function<void()> action) : action_(std::move(action)) {}
    void block_done(const BlockProgress& progress) override {
      if (progress.block == 0) action_();
    }

   private:
    std::function<void()> action_;
  };

  std::string end_of_run(const std::function<void()>& action) {
    Meddler meddler(action);
    const std::string message = refusal(ErrorCode::input, [&] { (void)quantize(options_, registry(), meddler); });
    EXPECT_FALSE(fs::exists(options_.output_dir));
    EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), {}), 1) << "something is left";
    return message;
  }

  TemporaryFolder folder_;
  fs::path model_ = folder_.path() / "model";
  QuantizeOptions options_;
};

TEST_F(Source, OverwrittenReplacedOrGoneDuringTheRunIsRefusedAtTheEnd) {
  options_.model_free = false;
  const fs::path weights = model_ / "model.safetensors", config = model_ / "config.json";
  const std::string overwritten = end_of_run([&] {
    std::fstream file(weights, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(-2, std::ios::end);
    file.write("\1\2", 2);
  });
  EXPECT_TRUE(contains(overwritten, "model.safetensors") && contains(overwritten, "was written to")) << overwritten;
  const std::string replaced = end_of_run([&] {
    fs::copy(weights, model_ / "other");
    fs::rename(model_ / "other", weights);
  });
  EXPECT_TRUE(contains(replaced, "was replaced by another file")) << replaced;
  EXPECT_TRUE(contains(end_of_run([&] { std::ofstream(config, std::ios::app) << "\n"; }), "config.json"));
  EXPECT_TRUE(contains(end_of_run([&] { fs::remove(model_ / "tokenizer.json"); }), "is gone"));
}

TEST_F(Source, OverwrittenDuringRoundingInStripsOrConversionIsRefused) {
  const auto touch = [&] { fs::last_write_time(model_ / "model.safetensors", fs::file_time_type::clock::now()); };
  options_.model_free = true;
  (void)end_of_run(touch);

  class Toucher final : public Reporter {
   public:
    explicit Toucher(std::function<void()> action) : action_(std::move(action)) {}
    void step(std::string_view what) override {
      if (what == "writing") action_();
    }

   private:
    std::function<void()> action_;
  };
  fs::remove_all(model_);
  fs::copy(testing::tiny_model("auto_round-W4A16"), model_, fs::copy_options::recursive);
  ConvertOptions options;
  options.model = model_.string();
  options.formats = {"auto_gptq"};
  options.output_dir = folder_.path() / "out";
  Toucher toucher(touch);
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)convert(options, registry(), toucher); }), "was written"));
  EXPECT_FALSE(fs::exists(options.output_dir));
}

TEST_F(Source, CutShortDuringTheRunIsAnErrorThatNamesTheFile) {
  watch_mapped_files();  // another thread may be reading there
  options_.model_free = false;
  const std::string message = end_of_run([&] { fs::resize_file(model_ / "model.safetensors", 4096); });
  EXPECT_TRUE(contains(message, "model.safetensors")) << message;
  forget_lost_file();
  clear_interrupt();
}

// What the kernel answers with SIGBUS: pages that were mapped and are gone.
TEST_F(Source, ALostPageReadsAsZerosAndIsRemembered) {
  watch_mapped_files();
  const fs::path path = folder_.path() / "mapped";
  std::ofstream(path) << std::string(64 << 10, 'x');
  const MappedFile file(path);
  fs::resize_file(path, 8 << 10);
  EXPECT_EQ(file.text()[5000], 'x');
  EXPECT_TRUE(lost_file().empty());
  EXPECT_EQ(file.text()[40000], '\0');
  EXPECT_EQ(file.text()[50000], '\0');
  EXPECT_TRUE(contains(lost_file(), path.string()));
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { throw_if_interrupted(); }), "became shorter"));
  forget_lost_file();
  clear_interrupt();
  // The kernel itself reads from there when it is written out.
  fs::resize_file(path, 0);
  const MappedFile whole(model_ / "model.safetensors");
  const int64_t size = static_cast<int64_t>(whole.bytes().size());
  fs::resize_file(model_ / "model.safetensors", 4096);
  PartFile out(folder_.path() / "copy");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { out.write_at(0, whole.bytes().data(), size); }), "became"));
}

// A file of ours that is not looked after, and an access that is simply wrong, end the process as ever.
TEST_F(Source, OtherBusErrorsKillAsEver) {
  EXPECT_EXIT(
      {
        watch_mapped_files();
        ::raise(SIGBUS);
        ::raise(SIGBUS);
      },
      ::testing::KilledBySignal(SIGBUS), "");
}

}  // namespace
}  // namespace arkit
