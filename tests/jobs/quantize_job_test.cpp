#include <algorithm>
#include <csignal>
#include <fstream>
#include <set>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/part_file.h>

#include "jobs/job_testing.h"
#include "small_disk.h"
#include "util/sha256.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;

class Quantize : public ::testing::Test {
 protected:
  Quantize() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.recipe = "rtn";
    options_.output_dir = folder_.path() / "out";
  }
  json::Object run() { return quantize(options_, registry(), recorder_); }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
};

std::set<std::string> names_in(const fs::path& folder) {
  std::set<std::string> names;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder))
    names.insert(entry.path().filename().string());
  return names;
}

// What made an export can be read from it: not in config.json, whose readers are strict, but beside it.
TEST_F(Quantize, RecordsTheDataItWasMadeWith) {
  options_.recipe = "default";
  options_.dataset = "self";
  options_.tuning.iters = 1;
  options_.tuning.nsamples = 3;
  options_.tuning.seqlen = 8;
  options_.tuning.seed = 7;
  (void)run();
  const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
  const json::Object& made = record.as_object().at("options").as_object();
  EXPECT_EQ(made.at("dataset").as_string(), "self");
  EXPECT_EQ(made.at("nsamples").to_number<int64_t>(), 3);
  EXPECT_EQ(made.at("seqlen").to_number<int64_t>(), 8);
  EXPECT_EQ(made.at("seed").to_number<int64_t>(), 7);
  EXPECT_FALSE(record.as_object().at("calibration").as_object().empty());
  const json::Value config = json::read_file(options_.output_dir / "config.json");
  EXPECT_FALSE(config.as_object().at("quantization_config").as_object().contains("dataset"));
}

TEST_F(Quantize, LeavesAnExportARecordAndACard) {
  const json::Object summary = run();
  EXPECT_EQ(summary.at("quantized_layers").as_int64(), 14);
  const std::set<std::string> names = names_in(options_.output_dir);
  for (const std::string name : {"config.json", "model.safetensors", "quantization_config.json", "tokenizer.json",
                                 "arkit-run.json", "README.md"})
    EXPECT_TRUE(names.contains(name)) << name;
  for (const std::string& name : names) EXPECT_FALSE(contains(name, ".part")) << name;
  const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
  const json::Array& layers = record.as_object().at("plan").as_object().at("layers").as_array();
  int with_error = 0;
  for (const json::Value& layer : layers)
    if (const json::Value* error = layer.as_object().if_contains("relative_error");
        error != nullptr && error->to_number<double>() > 0.01)
      ++with_error;
  // 4-bit RTN of Gaussian weights loses about a tenth; 0 would mean that nothing was quantized
  EXPECT_EQ(with_error, 14);
  EXPECT_EQ(recorder_.blocks.size(), 2U);
  const json::Array& sources = record.at("source").at("files").as_array();
  ASSERT_EQ(sources.size(), 1U);
  const fs::path weights = fs::path(options_.model) / "model.safetensors";
  EXPECT_EQ(sources[0].at("name").as_string(), "model.safetensors");
  EXPECT_EQ(sources[0].at("bytes").to_number<uint64_t>(), fs::file_size(weights));
  EXPECT_EQ(sources[0].at("sha256").as_string(), sha256_file(weights));
}

TEST_F(Quantize, OneFormatFillsTheFolderSeveralGetSubfolders) {
  options_.formats = {"auto_round", "auto_gptq", "fake", "auto_round"};
  (void)run();
  EXPECT_EQ(names_in(options_.output_dir), (std::set<std::string>{"auto_round", "auto_gptq", "fake"}));
  for (const std::string format : {"auto_round", "auto_gptq", "fake"})
    EXPECT_TRUE(fs::exists(options_.output_dir / format / "model.safetensors"));
}

TEST_F(Quantize, AUsedFolderNeedsForce) {
  (void)run();
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)run(); }), "--force"));
  options_.force = true;
  options_.scheme = "W8A16";
  (void)run();
  const json::Value config = json::read_file(options_.output_dir / "quantization_config.json");
  EXPECT_EQ(config.as_object().at("bits").as_int64(), 8);
}

TEST_F(Quantize, ForceRemovesShardsTheNewExportDoesNotHave) {
  options_.max_shard_bytes = 100000;
  (void)run();
  EXPECT_TRUE(fs::exists(options_.output_dir / "model.safetensors.index.json"));
  options_.force = true;
  options_.max_shard_bytes = int64_t{1} << 30;
  (void)run();
  EXPECT_FALSE(fs::exists(options_.output_dir / "model.safetensors.index.json"));
  for (const std::string& name : names_in(options_.output_dir)) EXPECT_FALSE(name.starts_with("model-")) << name;
}

TEST_F(Quantize, DryRunWritesNothingAndTellsTheSize) {
  options_.dry_run = true;
  const json::Object plan = run();
  EXPECT_FALSE(fs::exists(options_.output_dir));
  const int64_t planned = plan.at("outputs").as_array().at(0).as_object().at("bytes").as_int64();
  options_.dry_run = false;
  const json::Object done = run();
  int64_t weights = 0, texts = 0, files = 0;  // texts: of the source
  for (const auto& entry : fs::directory_iterator(options_.output_dir)) {
    const auto bytes = static_cast<int64_t>(entry.file_size());
    const std::string name = entry.path().filename().string();
    const bool own = name == "README.md" || name == "arkit-run.json" || name.ends_with("config.json");
    ++files;
    weights += bytes;
    if (!own && !name.ends_with(".safetensors")) texts += bytes;
  }
  const json::Object& output = done.at("outputs").as_array().at(0).as_object();
  EXPECT_EQ(output.at("bytes").to_number<int64_t>(), weights) << "all of the folder";
  EXPECT_EQ(output.at("files").to_number<int64_t>(), files);
  const auto safetensors = static_cast<int64_t>(fs::file_size(options_.output_dir / "model.safetensors"));
  EXPECT_GT(texts, 1000) << "a tokenizer";
  uint64_t header = 0;
  std::ifstream(options_.output_dir / "model.safetensors", std::ios::binary)
      .read(reinterpret_cast<char*>(&header), sizeof(header));
  // The header and the texts that a run writes itself are not planned.
  const int64_t tensors = safetensors - static_cast<int64_t>(header) - 8;
  EXPECT_NEAR(static_cast<double>(planned), static_cast<double>(tensors + texts), 2048);
}

TEST_F(Quantize, FewerBlocksOnRequest) {
  options_.num_hidden_layers = 1;
  (void)run();
  EXPECT_EQ(json::read_file(options_.output_dir / "config.json").as_object().at("num_hidden_layers").as_int64(), 1);
  options_.num_hidden_layers = 3;
  options_.force = true;
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "num_hidden_layers 3"));
}

TEST_F(Quantize, TuningNeedsDataAndSaysSo) {
  options_.recipe = "default";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "--dataset self"));
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// W4A16 asymmetric has nothing to search: data is asked for when layer_config gives one layer a scheme that has.
TEST_F(Quantize, OneLayerThatIsSearchedNeedsData) {
  options_.recipe = "opt-rtn";
  options_.overrides.sym = false;
  EXPECT_EQ(run().at("method").as_string(), "RTN");
  options_.force = true;
  options_.layer_config = R"({"model.layers.1.mlp.down_proj": {"sym": true}})";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "--dataset self"));
  options_.dataset = "self";
  options_.tuning.nsamples = 4;
  options_.tuning.seqlen = 16;
  EXPECT_EQ(run().at("method").as_string(), "OPT-RTN");
}

TEST_F(Quantize, StaticActivationsNeedDataDynamicOnesDoNot) {
  options_.formats = {"fake"};
  options_.scheme = "INT8";
  EXPECT_EQ(run().at("method").as_string(), "RTN");
  options_.force = true;
  options_.overrides.act_dynamic = false;
  options_.overrides.act_group_size = 0;
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)run(); }), "--dataset self"));
  options_.dataset = "self";
  options_.tuning.nsamples = 2;
  options_.tuning.seqlen = 16;
  EXPECT_EQ(run().at("method").as_string(), "RTN");
}

TEST_F(Quantize, TunesOnItsOwnSamplesAndBeatsRoundingInEveryBlock) {
  options_.recipe = "default";
  options_.scheme = "W2A16G32";
  options_.dataset = "self";
  options_.tuning.iters = 20;
  options_.tuning.nsamples = 8;
  options_.tuning.seqlen = 32;
  options_.tuning.batch_size = 8;  // the whole set every iteration: the loss cannot rise by chance
  (void)run();
  ASSERT_EQ(recorder_.blocks.size(), 2U);
  for (const BlockProgress& block : recorder_.blocks) EXPECT_LT(block.loss_after, block.loss_before);
}

TEST_F(Quantize, InterruptedRunsLeaveNothing) {
  request_interrupt();
  EXPECT_TRUE(contains(refusal(ErrorCode::interrupted, [&] { (void)run(); }), "interrupted"));
  clear_interrupt();
  EXPECT_TRUE(fs::is_empty(folder_.path()));
}

// kill -9 while the blocks are written: the next run removes what lies there, says so, and goes on without --force.
TEST_F(Quantize, AKilledRunDoesNotBlockTheNext) {
  class Killer final : public Reporter {
    void block_done(const BlockProgress&) override { ::kill(::getpid(), SIGKILL); }
  };
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    at::set_num_threads(1);  // a forked process has none of the threads of its parent
    Killer killer;
    (void)quantize(options_, registry(), killer);
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_TRUE(fs::exists(folder_.path() / ".out.arkit-part/new/model.safetensors.part"));
  EXPECT_FALSE(fs::exists(options_.output_dir));
  (void)run();
  EXPECT_EQ(std::count_if(recorder_.warnings.begin(), recorder_.warnings.end(),
                          [](const std::string& w) { return contains(w, "an earlier run was killed here"); }),
            1);
  EXPECT_TRUE(fs::exists(options_.output_dir / "arkit-run.json"));
  EXPECT_EQ(names_in(folder_.path()), std::set<std::string>{"out"});
  for (const std::string& name : names_in(options_.output_dir)) {
    EXPECT_FALSE(contains(name, ".part")) << name;
    EXPECT_FALSE(contains(name, ".lock")) << name;
  }
}

TEST_F(Quantize, AFolderAnotherRunWritesIntoIsRefused) {
  fs::create_directories(options_.output_dir);
  const FolderLock other(options_.output_dir);
  for (const bool force : {false, true}) {
    options_.force = force;
    EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)run(); }), "another run is writing"));
  }
}

TEST_F(Quantize, ADiskTooSmallIsFoundBeforeAnyWork) {
  fs::create_directories(options_.output_dir);
  const testing::SmallDisk disk(options_.output_dir, 64 << 10);
  const std::string message = refusal(ErrorCode::resource, [&] { (void)run(); });
  EXPECT_TRUE(contains(message, disk.mounted() ? options_.output_dir.string() : ".out.arkit-part")) << message;
  EXPECT_TRUE(recorder_.blocks.empty());
  EXPECT_TRUE(fs::is_empty(options_.output_dir));
}

// A copy of the source with one weight replaced by NaN.
TEST_F(Quantize, NaNWeightsAreNamed) {
  const fs::path broken = folder_.path() / "broken";
  fs::copy(options_.model, broken, fs::copy_options::recursive);
  const fs::path file = broken / "model.safetensors";
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  uint64_t header_size = 0;
  stream.read(reinterpret_cast<char*>(&header_size), 8);
  std::string header(header_size, ' ');
  stream.read(header.data(), static_cast<std::streamsize>(header_size));
  const json::Value parsed = json::parse(header, "header");
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const int64_t begin = parsed.as_object().at(name).as_object().at("data_offsets").as_array().at(0).as_int64();
  stream.seekp(static_cast<std::streamoff>(8 + header_size) + begin + 10);
  const uint16_t nan_bf16 = 0x7FC0;
  stream.write(reinterpret_cast<const char*>(&nan_bf16), 2);
  stream.close();
  options_.model = broken.string();
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [&] { (void)run(); }), name));
  EXPECT_EQ(names_in(folder_.path()), std::set<std::string>{"broken"});
}

TEST_F(Quantize, RefusesAnExportAsSource) {
  (void)run();
  options_.model = options_.output_dir.string();
  options_.output_dir = folder_.path() / "again";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(); }), "already quantized"));
}

TEST_F(Quantize, UnknownNamesAreSuggestedBeforeAnyWork) {
  options_.formats = {"auto_gqtq"};
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(); }), "did you mean 'auto_gptq'"));
  options_.formats = {"auto_awq"};
  options_.scheme = "W3A16";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(); }), "cannot store layer"));
  options_.model = "no/such-model";
  (void)refusal(ErrorCode::input, [&] { (void)run(); });
}

}  // namespace
}  // namespace arkit
