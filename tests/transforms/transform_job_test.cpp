// Scaled models through the jobs and through the program: quantize, verify, eval; and what plans are refused.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <arkit/json.h>

#include "cli/run_program.h"
#include "transforms_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::kModels;
using testing::Recorder;
using testing::refusal;
using testing::registry;

std::string bytes_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class TransformJob : public ::testing::Test {
 protected:
  TransformJob() {
    use_model("llama");
    options_.scheme = "W4A16";
    options_.overrides.group_size = 32;
    options_.algs = "awq";
    options_.dataset = "self";
    options_.tuning.nsamples = 4;
    options_.tuning.seqlen = 16;
    options_.output_dir = folder_.path() / "out";
    options_.force = true;
  }
  void use_model(const std::string& name) { options_.model = (kModels / name).string(); }
  json::Object run() { return quantize(options_, registry(), recorder_); }
  json::Object record() const { return json::read_file(options_.output_dir / "arkit-run.json").as_object(); }
  json::Array folds() const {
    const json::Object all = record();
    return all.at("transforms").as_array().at(0).as_object().at("folds").as_array();
  }
  // What verify says; a check that fails is a failure here.
  void expect_verified() {
    const json::Object report = verify({.directory = options_.output_dir}, registry(), recorder_);
    for (const json::Value& check : report.at("checks").as_array())
      EXPECT_TRUE(check.as_object().at("passed").as_bool() || check.as_object().contains("skipped"))
          << json::dump(check);
    EXPECT_TRUE(report.at("passed").as_bool());
  }
  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
};

TEST_F(TransformJob, EveryFamilyIsScaledRecordedAndVerified) {
  for (const char* model : {"llama", "mistral", "qwen2", "qwen3"}) {
    SCOPED_TRACE(model);
    use_model(model);
    const json::Object result = run();
    EXPECT_TRUE(contains(std::string(result.at("method").as_string()), "awq, "));
    EXPECT_GE(folds().size(), 4u);
    for (const json::Value& fold : folds()) {
      const json::Object& seen = fold.as_object();
      EXPECT_LT(seen.at("loss").as_double(), seen.at("loss_unscaled").as_double());
    }
    expect_verified();
  }
}

TEST_F(TransformJob, EveryFormatCarriesIt) {
  options_.formats = {"auto_round", "auto_gptq", "auto_awq", "llm_compressor", "fake", "mlx"};
  (void)run();
  const fs::path all = options_.output_dir;
  for (const fs::directory_entry& entry : fs::directory_iterator(all)) {
    SCOPED_TRACE(entry.path().filename().string());
    options_.output_dir = entry.path();
    expect_verified();
  }
}

TEST_F(TransformJob, TuningStartsFromScaledWeights) {
  options_.algs = "awq,signround";
  options_.tuning.iters = 3;
  const json::Object result = run();
  EXPECT_EQ(result.at("method").as_string(), "awq, SignRound");
  expect_verified();
}

TEST_F(TransformJob, TunedNormsAndBiasesStartFromScaledOnes) {
  use_model("qwen2");
  options_.algs = "awq,signround";
  options_.tuning.iters = 3;
  options_.tuning.enable_norm_bias_tuning = true;
  (void)run();
  expect_verified();
}

TEST_F(TransformJob, LayersIn16BitsTakeTheirPart) {
  use_model("qwen2");
  options_.ignore_layers = {"v_proj", "down_proj"};
  (void)run();
  const auto original = open_source(options_.model, registry());
  const auto exported = open_source(options_.output_dir.string(), registry());
  const std::string v = "model.layers.0.self_attn.v_proj.";
  for (const char* part : {"weight", "bias"})
    EXPECT_FALSE(exported->weights()
                     .load(v + part)
                     .to(at::kFloat)
                     .equal(original->weights().load(v + part).to(at::kBFloat16).to(at::kFloat)))
        << part;
  expect_verified();
}

TEST_F(TransformJob, FusedRotationsComeFirst) {
  options_.rotation = "inplace_hadamard";
  (void)run();
  EXPECT_GE(folds().size(), 4u);
  expect_verified();
}

TEST_F(TransformJob, FloatsAndRoundedActivationsAreSearchedAsTheyAre) {
  for (const char* scheme : {"MXFP4", "NVFP4", "FP8_DYNAMIC", "INT8_W8A8"}) {
    SCOPED_TRACE(scheme);
    options_.scheme = scheme;
    options_.overrides = {};
    options_.formats = {std::string(scheme).starts_with("INT8") || std::string(scheme).starts_with("FP8")
                            ? "llm_compressor"
                            : "auto_round"};
    (void)run();
    EXPECT_FALSE(record().at("transforms").as_array().empty());
    expect_verified();
  }
}

TEST_F(TransformJob, TheNumberOfThreadsChangesNothing) {
  const int before = at::get_num_threads();
  std::vector<std::string> files;
  options_.tuning.enable_deterministic_algorithms = true;
  for (const int threads : {1, 2, 3}) {
    at::set_num_threads(threads);
    (void)run();
    files.push_back(bytes_of(options_.output_dir / "model.safetensors"));
  }
  at::set_num_threads(before);
  EXPECT_FALSE(files[0].empty());
  EXPECT_TRUE(files[0] == files[1]);
  EXPECT_TRUE(files[0] == files[2]);
}

TEST_F(TransformJob, SettingsReachTheSearch) {
  options_.algs = R"(awq{"n_grid": 3, "duo_scaling": false})";
  (void)run();
  for (const json::Value& fold : folds()) {
    EXPECT_FALSE(fold.as_object().at("duo").as_bool());
    const double exponent = fold.as_object().at("exponent").as_double();
    EXPECT_TRUE(exponent == 0.5 || exponent == 1.0) << exponent;
  }
}

TEST_F(TransformJob, DryRunSaysWhatWillBeDone) {
  options_.dry_run = true;
  const json::Object plan = run();
  EXPECT_EQ(plan.at("method").as_string(), "awq, OPT-RTN");
  EXPECT_EQ(plan.at("transforms").as_array().at(0).as_object().at("places").to_number<int64_t>(), 8);
}

TEST_F(TransformJob, VerifyNoticesAnotherScale) {
  (void)run();
  json::Object changed = record();
  json::Object& fold = changed["transforms"].get_array()[0].get_object()["folds"].get_array()[0].get_object();
  std::string scales(fold["scales"].get_string());
  scales.replace(0, 4, "4120");  // 10
  fold["scales"] = scales;
  std::ofstream(options_.output_dir / "arkit-run.json") << json::dump(changed);
  EXPECT_FALSE(verify({.directory = options_.output_dir}, registry(), recorder_).at("passed").as_bool());
}

TEST_F(TransformJob, TakesTheUsualSamplesWhereTheRecipeNeedsNone) {
  options_.tuning.nsamples.reset();
  options_.recipe = "rtn";
  (void)run();
  EXPECT_EQ(record().at("options").at("nsamples").to_number<int64_t>(), 128);
  EXPECT_EQ(record().at("calibration").at("samples").to_number<int64_t>(), 128);
}

TEST_F(TransformJob, RefusesPlansItHasNoPartIn) {
  const auto refused = [&](ErrorCode code, const QuantizeOptions& options) {
    return refusal(code, [&] { (void)quantize(options, registry(), recorder_); });
  };
  QuantizeOptions options = options_;
  options.rotation = "hadamard";  // turns every input at run time
  EXPECT_TRUE(contains(refused(ErrorCode::unsupported, options), "turned at run time"));
  options = options_;
  options.model_free = true;
  EXPECT_TRUE(contains(refused(ErrorCode::usage, options), "model_free"));
  options = options_;
  options.tuning.nblocks = 2;
  options.tuning.iters = 0;
  recorder_.warnings.clear();
  EXPECT_TRUE(contains(refused(ErrorCode::usage, options), "nblocks"));
  EXPECT_EQ(recorder_.warnings, std::vector<std::string>()) << "it is refused, so it needs no other answer";
  options = options_;
  options.tuning.iters = 10;
  EXPECT_TRUE(contains(refused(ErrorCode::usage, options), "iters is 10"));
  options = options_;
  options.dataset.clear();
  EXPECT_TRUE(contains(refused(ErrorCode::usage, options), "dataset"));
}

// The real program, each command in a process of its own.
TEST_F(TransformJob, TheProgramDoesTheSame) {
  const std::string out = options_.output_dir.string(), text = (folder_.path() / "text.txt").string();
  std::ofstream file(text);
  for (int line = 0; line < 60; ++line) file << "The quick brown fox number " << line << " jumps over the lazy dog.\n";
  file.close();
  const std::string model = ARKIT_TEST_DATA "/golden/source-llama-bf16";
  const auto done = [](const std::vector<std::string>& arguments) {
    const cli_test::Outcome outcome = cli_test::run_arkit(arguments);
    EXPECT_EQ(outcome.exit_code, 0) << arguments.front() << ": " << outcome.err << outcome.out;
    return outcome.exit_code == 0 ? json::parse(outcome.out, "stdout").as_object() : json::Object();
  };
  const json::Object made = done({"quantize", model, "--group_size", "32", "--algs", "awq", "--dataset", "self",
                                  "--nsamples", "4", "--seqlen", "16", "--output_dir", out, "--json"});
  EXPECT_EQ(made.at("method").as_string(), "awq, OPT-RTN");
  EXPECT_TRUE(done({"verify", out, "--json"}).at("passed").as_bool());
  EXPECT_TRUE(done({"verify", out, "--against", model, "--json"}).at("passed").as_bool());
  const double perplexity = done({"eval", "ppl", out, "--text", text, "--seqlen", "32", "--max_windows", "4", "--json"})
                                .at("perplexity")
                                .as_double();
  EXPECT_GT(perplexity, 1.0);
  const std::string converted = (folder_.path() / "converted").string();
  (void)done({"convert", out, "--format", "auto_gptq", "--output_dir", converted, "--json"});
  EXPECT_TRUE(done({"verify", converted, "--against", model, "--json"}).at("passed").as_bool());
}

}  // namespace
}  // namespace arkit
