// What a tuned export holds is what tuning found, and every option of tuning gets there. The samples are token ids in a
// file, which are used as they are: nothing but the option under test differs between two runs.
#include <algorithm>
#include <fstream>
#include <functional>
#include <map>

#include <ATen/ATen.h>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "quant/recipes.h"
#include "tuning/losses.h"
#include "tuning/process_block.h"
#include "tuning/tune_options.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::Recorder;
using testing::registry;

constexpr int64_t kSamples = 8, kLength = 16, kVocabulary = 250;

using Codes = std::map<std::string, QuantizedWeight>;

class TunedExport : public ::testing::Test {
 protected:
  TunedExport() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.scheme = "W2A16G32";
    options_.dataset = write_ids();
    options_.force = true;
    options_.output_dir = folder_.path() / "out";
    options_.tuning.iters = 12;
    options_.tuning.nsamples = kSamples;
    options_.tuning.seqlen = kLength;
    options_.tuning.batch_size = 3;
    options_.tuning.seed = 42;
    options_.tuning.amp_dtype = "float32";  // what a CPU without bf16 computes in
  }

  std::string write_ids() {
    at::manual_seed(11);
    ids_ = at::randint(3, kVocabulary, {kSamples, kLength}, at::kLong);
    std::string header = str(R"({"input_ids":{"dtype":"I64","shape":[)", kSamples, ",", kLength,
                             R"(],"data_offsets":[0,)", ids_.nbytes(), "]}}");
    header.resize((header.size() + 7) / 8 * 8, ' ');
    const uint64_t size = header.size();
    const fs::path path = folder_.path() / "ids.safetensors";
    std::ofstream file(path, std::ios::binary);
    file.write(reinterpret_cast<const char*>(&size), 8);
    file << header;
    file.write(static_cast<const char*>(ids_.const_data_ptr()), static_cast<std::streamsize>(ids_.nbytes()));
    return path.string();
  }

  Codes exported() {
    (void)quantize(options_, registry(), recorder_);
    const auto source = registry().reader("auto_round").open(options_.output_dir);
    Codes codes;
    for (const LinearSpec& layer : sdk::packed_layers(*source))
      codes[layer.name] = sdk::packed_of(*source).unpack(layer.name);
    EXPECT_EQ(codes.size(), 14U);
    return codes;
  }
  Codes exported(const std::function<void(TuningOptions&)>& change) {
    const TuningOptions before = options_.tuning;
    change(options_.tuning);
    Codes codes = exported();
    options_.tuning = before;
    return codes;
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
  at::Tensor ids_;
};

bool same(const QuantizedWeight& a, const QuantizedWeight& b) {
  return at::equal(a.codes, b.codes) && at::equal(a.scale.to(at::kFloat), b.scale.to(at::kFloat));
}

// Layers of one block ("model.layers.1.") that have other codes or scales.
int64_t different(const Codes& a, const Codes& b, std::string_view block = "") {
  return std::count_if(a.begin(), a.end(), [&](const auto& entry) {
    return entry.first.starts_with(block) && !same(entry.second, b.at(entry.first));
  });
}

// The same blocks tuned here, without the job: the parameters that were best, quantized, are what the files hold.
TEST_F(TunedExport, HoldsTheCodesOfTheBestParameters) {
  const Codes codes = exported();
  const auto source = open_hf_folder(options_.model);
  const auto model = registry().model("llama").open(*source, at::kFloat);
  const Scheme& scheme = registry().scheme("int");
  QuantPlan plan;
  plan.global.weight = {.data_type = "int", .bits = 2, .group_size = 32, .sym = true};
  for (LayerPlan layer : model->linears()) {
    if (layer.block >= 0) layer.quant = plan.global;
    plan.layers.push_back(std::move(layer));
  }
  ProcessOptions process;
  process.tune = {.iters = 12, .batch_size = 3};
  process.loss_mask = loss_mask(ids_, std::nullopt);  // what a sample's last token would predict is not known
  PythonRandom random(42);
  BlockProcessor processor(
      *model, plan, [&](std::string_view) -> const Scheme& { return scheme; }, process, recorder_, random);
  model->load_rest();
  BlockIo io{.full = model->embed(ids_).contiguous()};
  size_t tuned = 0, moved = 0;
  for (int64_t block = 0; block < model->num_blocks(); ++block) {
    const BlockResult result = processor.process(block, 1, io);
    EXPECT_GT(result.best_iter, 0);
    for (const QuantizedLayer& layer : result.layers) {
      EXPECT_TRUE(same(codes.at(layer.plan->name), layer.quantized)) << layer.plan->name;
      ++tuned;
      Linear* linear = nullptr;
      for (Linear* candidate : model->block_linears(block))
        if (candidate->name == layer.plan->name) linear = candidate;
      const QuantizedWeight rounded =
          scheme.quantize_rtn(linear->weight, layer.plan->quant.weight, RtnMode::plain, {}, 0, {});
      moved += same(layer.quantized, rounded) ? 0 : 1;
    }
  }
  EXPECT_EQ(tuned, 14U);
  EXPECT_EQ(moved, 14U) << "layers that differ from plain rounding";
}

// The source, the tuned export and the rounded one on the samples: what was tuned block by block shows at the end.
TEST_F(TunedExport, BeatsPlainRoundingOnTheModelsOutput) {
  const auto logits_of = [&](const std::string& model) {
    const fs::path file = folder_.path() / "logits.safetensors";
    ForwardOptions forward{.model = model, .input_ids = options_.dataset, .output = file};
    (void)arkit::forward(forward, registry(), recorder_);
    return open_safetensors(file)->load("logits").to(at::kFloat).clone();
  };
  const at::Tensor reference = logits_of(options_.model);
  const auto error = [&] {
    (void)quantize(options_, registry(), recorder_);
    return (logits_of(options_.output_dir.string()) - reference).square().mean().item<double>();
  };
  options_.tuning.batch_size = kSamples;
  options_.tuning.iters = 60;
  const double tuned = error();
  options_.recipe = "rtn";
  options_.tuning.iters.reset();
  const double rounded = error();
  EXPECT_LT(tuned, 0.8 * rounded);
}

struct Change {
  const char* name;
  std::function<void(TuningOptions&)> apply;
};

TEST_F(TunedExport, EveryTuningOptionReachesTheLoop) {
  const Codes base = exported();
  ASSERT_EQ(different(base, exported()), 0) << "two equal runs differ: nothing below means anything";
  const Change changes[] = {
      {"iters", [](TuningOptions& t) { t.iters = 4; }},
      {"lr", [](TuningOptions& t) { t.lr = 0.02; }},
      {"minmax_lr", [](TuningOptions& t) { t.minmax_lr = 0.02; }},
      {"momentum", [](TuningOptions& t) { t.momentum = 0.9; }},
      {"nsamples", [](TuningOptions& t) { t.nsamples = 5; }},
      {"seqlen", [](TuningOptions& t) { t.seqlen = 12; }},
      {"batch_size", [](TuningOptions& t) { t.batch_size = 5; }},
      {"gradient_accumulate_steps", [](TuningOptions& t) { t.gradient_accumulate_steps = 2; }},
      {"nblocks", [](TuningOptions& t) { t.nblocks = 2; }},
      {"dynamic_max_gap", [](TuningOptions& t) { t.dynamic_max_gap = 1; }},
      {"enable_minmax_tuning", [](TuningOptions& t) { t.enable_minmax_tuning = false; }},
      {"enable_norm_bias_tuning", [](TuningOptions& t) { t.enable_norm_bias_tuning = true; }},
      {"not_use_best_mse", [](TuningOptions& t) { t.not_use_best_mse = true; }},
      {"enable_alg_ext", [](TuningOptions& t) { t.enable_alg_ext = true; }},
      {"enable_adam", [](TuningOptions& t) { t.enable_adam = true; }},
      {"seed", [](TuningOptions& t) { t.seed = 7; }},
  };
  for (const Change& change : changes) EXPECT_GT(different(base, exported(change.apply)), 0) << change.name;
}

// `best` decides two flags and the number of blocks for two bits, says so in the record, and lets the user decide otherwise.
TEST_F(TunedExport, RecipeBestTunesTwoBitsItsOwnWay) {
  options_.recipe = "best";
  const auto recorded = [this](const char* name) {
    const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
    return record.at("options").at(name).as_bool();
  };
  const Codes best = exported();
  EXPECT_TRUE(recorded("enable_alg_ext") && recorded("not_use_best_mse"));
  EXPECT_EQ(json::read_file(options_.output_dir / "arkit-run.json").at("options").at("nblocks").as_int64(), 2);
  const Codes plain = exported([](TuningOptions& t) {
    t.enable_alg_ext = t.not_use_best_mse = false;
    t.nblocks = 1;
  });
  EXPECT_FALSE(recorded("enable_alg_ext") || recorded("not_use_best_mse"));
  EXPECT_EQ(different(best, plain), 14);
  options_.recipe = "default";
  EXPECT_EQ(different(plain, exported()), 0);
  EXPECT_EQ(different(best, exported([](TuningOptions& t) {
                        t.enable_alg_ext = t.not_use_best_mse = true;
                        t.nblocks = 2;
                      })),
            0);
}

// The first block has no predecessor whose error it could see.
TEST_F(TunedExport, QuantizedInputsReachTheSecondBlockOnly) {
  const Codes base = exported();
  const Codes plain = exported([](TuningOptions& t) { t.enable_quanted_input = false; });
  EXPECT_EQ(different(base, plain, "model.layers.0."), 0);
  EXPECT_GT(different(base, plain, "model.layers.1."), 0);
}

TEST(TuneOptions, TakeEveryFieldOverFromTheRun) {
  ResolvedTuning run;
  run.iters = 11;
  run.batch_size = 3;
  run.lr = 0.25;
  run.minmax_lr = 0.125;
  run.options.gradient_accumulate_steps = 5;
  run.options.dynamic_max_gap = 6;
  run.options.momentum = 0.5;
  run.options.enable_minmax_tuning = false;
  run.options.enable_norm_bias_tuning = true;
  run.enable_alg_ext = true;
  run.options.enable_adam = true;
  run.not_use_best_mse = true;
  const TuneOptions tune = tune_options(run);
  EXPECT_EQ(tune.iters, 11);
  EXPECT_EQ(tune.batch_size, 3);
  EXPECT_EQ(tune.lr, 0.25);
  EXPECT_EQ(tune.minmax_lr, 0.125);
  EXPECT_EQ(tune.gradient_accumulate_steps, 5);
  EXPECT_EQ(tune.dynamic_max_gap, 6);
  EXPECT_EQ(tune.momentum, 0.5);
  EXPECT_FALSE(tune.enable_minmax_tuning);
  EXPECT_TRUE(tune.enable_norm_bias_tuning);
  EXPECT_TRUE(tune.enable_alg_ext);
  EXPECT_TRUE(tune.enable_adam);
  EXPECT_TRUE(tune.not_use_best_mse);
  // 0 = the rule decides.
  run.lr = run.minmax_lr = 0.0;
  EXPECT_FALSE(tune_options(run).lr || tune_options(run).minmax_lr);
}

}  // namespace
}  // namespace arkit
