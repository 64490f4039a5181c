// What may not depend on the machine: samples a model writes itself, products under OpenMP's limits, deterministic
// runs.
#include <map>
#include <string>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "process.h"

namespace machine_test {
namespace {

using cli_test::contains;

TEST(CpuLimit, RefusesWhatItDoesNotKnow) {
  for (const Words& command : {Words{"list", "backends"}, Words{"inspect", source()}}) {
    const auto run = cli_test::run_arkit(command, {"ARKIT_CPU=pentium"});
    EXPECT_EQ(run.exit_code, 2) << run.err;
    EXPECT_TRUE(contains(run.err, "ARKIT_CPU: 'pentium' is unknown")) << run.err;
    for (const char* value : {"baseline", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "amx", "native"})
      EXPECT_TRUE(contains(run.err, value)) << value;
  }
}

// The report of arkit-run.json counts and hashes the samples.
std::string written_samples(const Folder& folder, const std::string& model, const Words& words,
                            const Words& environment) {
  Words command{source(model), "--dataset", "self", "--scheme", "FP8_STATIC", "--recipe", "rtn", "--model_free=false"};
  command.insert(command.end(), words.begin(), words.end());
  const auto run = quantize(folder, command, environment);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  if (run.exit_code != 0) return {};
  const arkit::json::Value record = arkit::json::read_file(folder / "out" / "arkit-run.json");
  return arkit::json::dump(record.as_object().at("calibration"));
}

TEST(SelfDataset, IsTheSameOnEveryMachine) {
  const Folder folder;
  for (const char* model : {"source-llama-bf16", "source-qwen3-bf16"}) {
    const std::string expected =
        written_samples(folder, model, {"--amp_dtype", "float32"}, {"OMP_NUM_THREADS=2", "ARKIT_CPU=native"});
    ASSERT_TRUE(contains(expected, "sha256")) << expected;
    for (const char* cpu : {"baseline", "avx2", "avx512"})
      for (const char* threads : {"1", "2"})
        EXPECT_EQ(written_samples(folder, model, {"--amp_dtype", "float32"},
                                  {std::string("OMP_NUM_THREADS=") + threads, std::string("ARKIT_CPU=") + cpu}),
                  expected)
            << model << ", " << cpu << ", " << threads << " threads";
    EXPECT_EQ(written_samples(folder, model, {"--amp_dtype", "bfloat16"}, {"OMP_NUM_THREADS=1"}), expected);
  }
}

struct TunedRun {
  const char* name;
  const char* model;
  Words words;
};

std::vector<TunedRun> runs() {
  return {{"tuned", "source-llama-bf16", {"--iters", "4"}},
          {"norms_and_biases",
           "source-llama-fp32",
           {"--iters", "4", "--group_size", "32", "--sym=false", "--enable_norm_bias_tuning", "--momentum", "0.9"}},
          {"static_activations", "source-llama-bf16", {"--scheme", "FP8_STATIC", "--iters", "4"}},
          {"nvfp4", "source-qwen3-bf16", {"--scheme", "NVFP4", "--iters", "4"}},
          {"kept_layers", "source-llama-bf16", {"--iters", "4", "--ignore_layers", "q_proj,down_proj"}},
          {"opt_rtn", "source-llama-bf16", {"--recipe", "opt-rtn"}},
          {"head", "source-llama-bf16", {"--iters", "3", "--quant_lm_head"}}};
}

Words command_of(const TunedRun& run, const char* amp_dtype) {
  // The last step's parameters and not the best ones, which may be those of plain rounding.
  Words words{source(run.model), "--dataset", calibration_texts(), "--amp_dtype", amp_dtype, "--not_use_best_mse"};
  words.insert(words.end(), run.words.begin(), run.words.end());
  return words;
}

std::string weights(const Folder& folder, const Words& words, const Words& environment) {
  const auto run = quantize(folder, words, environment);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  return bytes_of(folder / "out" / "model.safetensors");
}

TEST(Deterministic, AnyNumberOfThreadsGivesTheSameFile) {
  const Folder folder;
  for (const TunedRun& run : runs())
    for (const char* amp_dtype : {"float32", "bfloat16"}) {
      SCOPED_TRACE(std::string(run.name) + " in " + amp_dtype);
      Words words = command_of(run, amp_dtype);
      words.emplace_back("--enable_deterministic_algorithms");
      const std::string expected = weights(folder, words, {"OMP_NUM_THREADS=1"});
      ASSERT_FALSE(expected.empty());
      for (const char* threads : {"2", "5"})
        EXPECT_TRUE(weights(folder, words, {std::string("OMP_NUM_THREADS=") + threads}) == expected) << threads;
    }
}

// Fewer threads come than were asked for: one by the limit, an unknown number when they are dynamic.
TEST(OpenMp, FewerThreadsThanAskedForGiveTheSameFile) {
  const Folder folder;
  for (const TunedRun& run : {runs().front(), runs()[5]})
    for (const char* amp_dtype : {"float32", "bfloat16"}) {
      SCOPED_TRACE(std::string(run.name) + " in " + amp_dtype);
      Words words = command_of(run, amp_dtype);
      words.emplace_back("--enable_deterministic_algorithms");
      const std::string expected = weights(folder, words, {"OMP_NUM_THREADS=1"});
      for (const char* limit : {"OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true"})
        EXPECT_TRUE(weights(folder, words, {"OMP_NUM_THREADS=4", limit}) == expected) << limit;
    }
}

// Without the flag as well: what tuning reaches is not plain rounding, and losses are numbers.
TEST(OpenMp, TuningTunesUnderLimits) {
  const Folder folder;
  for (const char* limit : {"OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true"}) {
    (void)weights(folder, command_of(runs().front(), "bfloat16"), {"OMP_NUM_THREADS=4", limit});
    const arkit::json::Value record = arkit::json::read_file(folder / "out" / "arkit-run.json");
    for (const auto& block : record.as_object().at("blocks").as_array()) {
      EXPECT_TRUE(block.as_object().at("loss_before").is_number()) << limit;
      EXPECT_GT(block.as_object().at("loss_before").to_number<double>(), 0.0) << limit;
      EXPECT_GE(block.as_object().at("best_iter").to_number<int64_t>(), 0) << limit;
    }
  }
}

double perplexity(const Words& environment) {
  const auto run = cli_test::run_arkit(
      {"eval", "ppl", source(), "--text", calibration_texts(), "--seqlen", "32", "--dtype", "bfloat16", "--json"},
      environment);
  EXPECT_EQ(run.exit_code, 0) << run.err;
  if (run.exit_code != 0) return 0.0;
  return arkit::json::parse(run.out, "output").as_object().at("perplexity").to_number<double>();
}

TEST(OpenMp, EvaluationIsRightUnderLimits) {
  const double expected = perplexity({"OMP_NUM_THREADS=1"});
  for (const char* limit : {"OMP_THREAD_LIMIT=1", "OMP_DYNAMIC=true"})
    EXPECT_NEAR(perplexity({"OMP_NUM_THREADS=4", limit}), expected, 1e-2 * expected) << limit;
}

// The record says what computed the blocks and why.
TEST(AmpDtype, IsRecorded) {
  const Folder folder;
  const Words words{source(), "--dataset", calibration_texts(), "--recipe", "opt-rtn"};
  const auto compute = [&](const Words& more) {
    Words all = words;
    all.insert(all.end(), more.begin(), more.end());
    (void)weights(folder, all, {});
    return arkit::json::read_file(folder / "out" / "arkit-run.json").as_object().at("compute").as_object();
  };
  const arkit::json::Object given = compute({"--amp_dtype", "bfloat16"});
  EXPECT_EQ(given.at("dtype").as_string(), "bfloat16");
  EXPECT_EQ(given.at("chosen_by").as_string(), "amp_dtype");
  const arkit::json::Object measured = compute({});
  EXPECT_EQ(measured.at("chosen_by").as_string(), "measurement");
  const double float32 = measured.at("float32_gflops").to_number<double>();
  const double bfloat16 = measured.at("bfloat16_gflops").to_number<double>();
  EXPECT_GT(float32, 0.0);
  EXPECT_EQ(measured.at("dtype").as_string() == "bfloat16", bfloat16 > 1.15 * float32);
  const arkit::json::Object kept = compute({});
  EXPECT_EQ(kept.at("chosen_by").as_string(), "kept measurement");
  EXPECT_EQ(kept.at("float32_gflops"), measured.at("float32_gflops"));
}

}  // namespace
}  // namespace machine_test
