// No option is ignored in silence: for every one, a command line in which it could do nothing, and what is said then.
#include <algorithm>
#include <functional>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "options_testing.h"
#include "recipe_file.h"

namespace options_test {
namespace {

namespace fs = std::filesystem;
using arkit::Error;
using arkit::ErrorCode;
using arkit::QuantizeOptions;
using arkit::cli::find_command;
using arkit::cli::Option;
using arkit::testing::contains;
using arkit::testing::Recorder;
using arkit::testing::registry;
using arkit::testing::TemporaryFolder;
using arkit::testing::tiny_model;

enum class Answer { warning, usage, unsupported, input };

struct Row {
  Words words;  // the option at issue first
  Answer answer;
  std::string says;
  std::string model = "source-llama-bf16";
};

const Words kRtn{"--recipe", "rtn"};
const Words kOptRtn{"--recipe", "opt-rtn", "--dataset", "self"};
const Words kTuned{"--iters", "2", "--nsamples", "2", "--seqlen", "8", "--dataset", "self"};
const Words kMix{
    "--options", "W2A16G32,W4A16",   "--avg_bits", "4",  "--dataset", "self", "--score_nsamples", "2", "--score_seqlen",
    "8",         "--no_score_cache", "--recipe",   "rtn"};

// Everything that is said.
class Listener final : public arkit::Reporter {
 public:
  void warn(std::string_view message) override { said.emplace_back(message); }
  void info(std::string_view message) override { said.emplace_back(message); }
  std::vector<std::string> said;
};

std::string first_option(const Row& row) {
  const std::string word = row.words.front().substr(2);
  return word.substr(0, word.find('='));
}

std::vector<Row> rows() {
  const std::string untuned = "nothing is tuned (iters 0)", unsampled = "plain rounding needs no samples",
                    acts = "activations stay in 16 bits", mix = "AutoScheme needs schemes to choose from";
  return {
      // The scheme.
      {{"--bits", "9"}, Answer::unsupported, "no layer would be quantized"},
      {{"--bits", "9", "--model_free"}, Answer::unsupported, "no layer would be quantized"},
      {{"--bits", "1"}, Answer::unsupported, "no layer would be quantized"},
      {{"--bits", "0"}, Answer::usage, "out of range"},
      {{"--bits", "20"}, Answer::usage, "out of range"},
      {{"--group_size", "0"}, Answer::unsupported, "no layer would be quantized"},
      {{"--group_size", "0", "--disable_model_free"}, Answer::unsupported, "no layer would be quantized"},
      {{"--group_size", "-2"}, Answer::usage, "out of range"},
      {{"--group_size", "32", "--bits", "16"}, Answer::warning, "weights stay in 16 bits: --group_size"},
      {{"--sym", "--scheme", "BF16"}, Answer::warning, "weights stay in 16 bits: --sym"},
      {{"--asym", "--scheme", "BF16"}, Answer::warning, "weights stay in 16 bits: --asym"},
      {{"--asym", "--scheme", "MXFP4", "--format", "fake"}, Answer::unsupported, "sym"},
      {{"--asym", "--scheme", "NVFP4", "--format", "fake"}, Answer::unsupported, "sym"},
      {{"--asym", "--scheme", "FP8_BLOCK", "--format", "fake"}, Answer::unsupported, "sym"},
      {{"--scale_dtype", "fp32", "--scheme", "MXFP4"}, Answer::warning, "--scale_dtype"},
      {{"--scale_search", "auto_round"}, Answer::usage, "'int' finds scales in one way alone"},
      {{"--scale_search", "ggml", "--scheme", "BF16"}, Answer::warning, "weights stay in 16 bits: --scale_search"},
      {{"--imatrix", "m.imatrix"}, Answer::usage, "--imatrix says how much inputs count, and "},
      {{"--save_imatrix", "nowhere/m.dat"}, Answer::usage, "is no file in a folder that exists"},
      {{"--act_group_size", "32"}, Answer::usage, acts},
      {{"--act_data_type", "int"}, Answer::usage, acts},
      {{"--act_sym"}, Answer::usage, acts},
      {{"--act_asym"}, Answer::usage, acts},
      {{"--act_dynamic"}, Answer::usage, acts},
      {{"--disable_act_dynamic"}, Answer::usage, acts},
      {{"--act_bits", "99"}, Answer::usage, "out of range"},
      {{"--data_type", "no_such"}, Answer::unsupported, "no_such"},
      {{"--scheme", "W4A16", "--recipe_file", "none.yaml"}, Answer::input, "none.yaml"},

      // The mix, without schemes to choose from and within one.
      {{"--avg_bits", "4"}, Answer::usage, mix},
      {{"--target_size", "3GiB"}, Answer::usage, mix},
      {{"--bits_accounting", "autoround"}, Answer::usage, mix},
      {{"--ignore_scale_zp_bits"}, Answer::usage, mix},
      {{"--shared_layers", "q_proj,k_proj"}, Answer::usage, mix},
      {{"--no_share_fused"}, Answer::usage, mix},
      {{"--score", "tuned"}, Answer::usage, mix},
      {{"--score_nsamples", "4"}, Answer::usage, mix},
      {{"--score_seqlen", "4"}, Answer::usage, mix},
      {{"--score_batch_size", "4"}, Answer::usage, mix},
      {{"--score_cache", "/tmp/x"}, Answer::usage, mix},
      {{"--no_score_cache"}, Answer::usage, mix},
      {{"--refine_seconds", "1"}, Answer::usage, mix},
      {{"--svg", "a.svg"}, Answer::usage, mix},
      {{"--save_layer_config", "a.toml"}, Answer::usage, mix},
      {{"--options", "W4A16,W8A16"}, Answer::usage, "needs a budget"},
      {Words{"--refine_seconds", "-1"} + kMix, Answer::usage, "out of range"},
      {Words{"--score_cache", "/tmp/x"} + kMix, Answer::usage, "leave one of them out"},
      {{"--ignore_scale_zp_bits", "--options", "W2A16,W4A16", "--target_size", "1GB"}, Answer::usage, "exactly"},
      {{"--ignore_scale_zp_bits", "--bits_accounting", "exact", "--options", "W2A16,W4A16", "--avg_bits", "3"},
       Answer::usage,
       "leave one out"},
      {Words{"--act_sym"} + kMix, Answer::usage, acts},
      {Words{"--ignore_layers", "layers"} + kMix, Answer::usage, "no layer is left"},
      {Words{"--score", "tuned"} + kMix, Answer::usage, "nothing is tuned"},

      // Tuning, where nothing is tuned.
      {Words{"--lr", "0.1"} + kRtn, Answer::warning, untuned + ": --lr"},
      {Words{"--minmax_lr", "0.1"} + kRtn, Answer::warning, untuned + ": --minmax_lr"},
      {Words{"--momentum", "0.1"} + kRtn, Answer::warning, untuned + ": --momentum"},
      {Words{"--gradient_accumulate_steps", "2"} + kRtn, Answer::warning, "--gradient_accumulate_steps"},
      {Words{"--nblocks", "2"} + kOptRtn, Answer::warning, untuned + ": --nblocks"},
      {Words{"--dynamic_max_gap", "2"} + kRtn, Answer::warning, untuned + ": --dynamic_max_gap"},
      {Words{"--disable_minmax_tuning"} + kRtn, Answer::warning, untuned + ": --disable_minmax_tuning"},
      {Words{"--enable_minmax_tuning=false"} + kRtn, Answer::warning, untuned + ": --disable_minmax_tuning"},
      {Words{"--disable_quanted_input"} + kRtn, Answer::warning, untuned + ": --disable_quanted_input"},
      {Words{"--enable_quanted_input=false"} + kRtn, Answer::warning, untuned + ": --disable_quanted_input"},
      {Words{"--enable_norm_bias_tuning"} + kRtn, Answer::warning, untuned},
      {Words{"--not_use_best_mse"} + kRtn, Answer::warning, untuned},
      {Words{"--use_best_mse"} + kRtn, Answer::warning, untuned + ": --use_best_mse"},
      {Words{"--enable_alg_ext"} + kOptRtn, Answer::warning, untuned},
      {Words{"--disable_alg_ext"} + kRtn, Answer::warning, untuned + ": --disable_alg_ext"},
      {Words{"--enable_adam"} + kRtn, Answer::warning, untuned},
      {Words{"--enable_neuqi"} + kRtn, Answer::usage, "leave one of them out"},
      {{"--iters", "-1"}, Answer::usage, "out of range"},
      {Words{"--iters", "5", "--model_free"}, Answer::usage, "--iters 0"},
      // ... and where something else takes their place.
      {Words{"--momentum", "-0.5"} + kTuned, Answer::usage, "out of range"},
      {Words{"--momentum", "1"} + kTuned, Answer::usage, "out of range"},
      {Words{"--momentum", "0.5", "--enable_adam"} + kTuned, Answer::usage, "leave one of them out"},
      {Words{"--lr", "0"} + kTuned, Answer::usage, "out of range"},
      {Words{"--lr", "-1"} + kTuned, Answer::usage, "out of range"},
      {Words{"--minmax_lr", "0"} + kTuned, Answer::usage, "out of range"},
      {Words{"--minmax_lr", "0.1", "--disable_minmax_tuning"} + kTuned, Answer::usage, "leave one of them out"},
      {Words{"--minmax_lr", "0.1", "--enable_neuqi"} + kTuned, Answer::usage, "leave one of them out"},
      {Words{"--dynamic_max_gap", "0"} + kTuned, Answer::usage, "out of range"},
      {Words{"--dynamic_max_gap", "3", "--not_use_best_mse"} + kTuned, Answer::usage, "leave one of them out"},
      {Words{"--gradient_accumulate_steps", "0"} + kTuned, Answer::usage, "out of range"},
      {Words{"--nblocks", "0"} + kTuned, Answer::usage, "out of range"},
      {Words{"--disable_opt_rtn"} + kTuned, Answer::warning, "every layer is tuned: --disable_opt_rtn"},
      {Words{"--enable_opt_rtn"} + kTuned, Answer::warning, "every layer is tuned: --enable_opt_rtn"},
      {{"--enable_opt_rtn", "--iters", "0", "--asym"}, Answer::warning, "nothing to search"},
      {{"--recipe", "opt-rtn", "--asym"}, Answer::warning, "nothing to search"},
      {{"--recipe", "best", "--model_free"}, Answer::usage, "leave model_free out"},
      {{"--enable_opt_rtn", "--model_free"}, Answer::usage, "leave it"},
      {{"--seed", "7"}, Answer::warning, unsampled + ": --seed"},
      {{"--seed", "-7"}, Answer::usage, "out of range"},
      {{"--amp_dtype", "float16"}, Answer::usage, "not one of"},

      // Samples, where none is needed.
      {{"--dataset", "self"}, Answer::warning, unsampled + ": --dataset"},
      {{"--nsamples", "7"}, Answer::warning, unsampled + ": --nsamples"},
      {{"--seqlen", "7"}, Answer::warning, unsampled + ": --seqlen"},
      {{"--batch_size", "7", "--nsamples", "9"}, Answer::warning, "--batch_size"},
      {{"--nsamples", "0"}, Answer::usage, "out of range"},
      {{"--seqlen", "0"}, Answer::usage, "out of range"},
      {{"--batch_size", "0"}, Answer::usage, "out of range"},

      // Layers.
      {{"--layer_config", "{k_proj:{act_sym:true}}"}, Answer::usage, acts},
      {{"--options", "{scheme:W4A16,act_dynamic:true},W8A16", "--avg_bits", "5"}, Answer::usage, acts},
      {{"--layer_config", "{k_proj:{super_bits:6}}"}, Answer::usage, "super_bits"},
      {{"--layer_config", "{layers:{bits:16}}"}, Answer::usage, "no layer would be quantized"},
      {{"--layer_config", "{layers:{bits:16}}", "--disable_model_free"}, Answer::usage, "no layer would be quantized"},
      {{"--layer_config", "{no_such:{bits:8}}"}, Answer::usage, "matches no layer"},
      {{"--ignore_layers", "layers"}, Answer::usage, "no layer would be quantized"},
      {{"--ignore_layers", "layers", "--model_free"}, Answer::usage, "no layer would be quantized"},
      {{"--ignore_layers", "no_such"}, Answer::usage, "matches no layer"},
      {{"--to_quant_block_names", "no_such"}, Answer::usage, "matches no layer"},
      {{"--to_quant_block_names", "no_such", "--allow_unmatched"}, Answer::usage, "no layer would be quantized"},
      {{"--allow_unmatched", "--ignore_layers", "no_such"}, Answer::warning, "matches no layer"},
      {{"--quant_lm_head"}, Answer::warning, "quant_lm_head is ignored", "source-qwen3-bf16"},
      {{"--quant_lm_head", "--model_free"}, Answer::warning, "quant_lm_head is ignored", "source-qwen3-bf16"},
      {{"--quant_lm_head", "--disable_model_free"}, Answer::warning, "quant_lm_head is ignored", "source-qwen3-bf16"},
      {{"--quant_lm_head", "--ignore_layers", "lm_head"}, Answer::warning, "quant_lm_head is ignored"},
      {{"--static_kv_granularity", "head"}, Answer::usage, "--static_kv_dtype"},
      {{"--static_attention_granularity", "head"}, Answer::usage, "--static_attention_dtype"},
      {{"--static_kv_dtype", "fp8", "--model_free"}, Answer::usage, "model_free"},
      {{"--static_attention_dtype", "fp8", "--model_free"}, Answer::usage, "model_free"},
      {{"--static_kv_dtype", "int3"}, Answer::usage, "unknown"},
      {{"--num_hidden_layers", "0"}, Answer::usage, "out of range"},
      {{"--num_hidden_layers", "9"}, Answer::usage, "out of range"},
      {{"--rotation", "no_such"}, Answer::usage, "no_such"},
      {Words{"--algs", "rtn"} + kTuned, Answer::usage, "which tunes nothing"},

      // What the format has not.
      {{"--type_rules", "auto_round"}, Answer::usage, "no format of this run has this option"},
      {{"--tensor_type", "a=q4_k"}, Answer::usage, "no format of this run has this option"},
      {{"--tensor_type_file", "a.txt"}, Answer::usage, "no format of this run has this option"},
      {{"--output_tensor_type", "q4_k"}, Answer::usage, "no format of this run has this option"},
      {{"--token_embedding_type", "q4_k"}, Answer::usage, "no format of this run has this option"},
      {{"--split_max_size", "1GB"}, Answer::usage, "no format of this run has this option"},
      {{"--format_option", "colour=blue"}, Answer::usage, "--colour: no format of this run has this option"},

      // The run.
      {{"--device_map", "cuda:0"}, Answer::unsupported, "device_map"},
      {{"--device_map", "0,1"}, Answer::unsupported, "device_map"},
      {{"--format", "no_such"}, Answer::unsupported, "no_such"},
      {{"--runtime", "no_such"}, Answer::unsupported, "no_such"},
  };
}

// Options that no combination leaves idle: a path, a limit, a policy for what may happen, or one that another test has.
const std::set<std::string> kActs{"model",
                                  "output_dir",
                                  "max_shard_size",
                                  "force",
                                  "dry_run",
                                  "low_disk",
                                  "model_free",
                                  "recipe_file",
                                  "disable_model_free",
                                  "on_indivisible",
                                  "enable_minmax_tuning",
                                  "enable_quanted_input",  // the defaults
                                  "enable_deterministic_algorithms"};

class Effects : public ::testing::Test {
 protected:
  // The message of the refusal with its code, or all warnings.
  void expect(const std::string& command, const Row& row) {
    const std::string what = command + " " + ::testing::PrintToString(row.words);
    Listener recorder;
    std::string said;
    Answer answer = Answer::warning;
    try {
      QuantizeOptions options = options_of(command, Words{tiny_model(row.model)} + row.words);
      options.output_dir = folder_.path() / "out";
      options.dry_run = true;
      if (command == "autoscheme")
        (void)arkit::autoscheme(options, registry(), recorder);
      else
        (void)arkit::quantize(options, registry(), recorder);
      for (const std::string& warning : recorder.said) said += warning + "\n";
    } catch (const Error& error) {
      said = error.what();
      answer = error.code() == ErrorCode::usage         ? Answer::usage
               : error.code() == ErrorCode::unsupported ? Answer::unsupported
                                                        : Answer::input;
    }
    EXPECT_EQ(static_cast<int>(answer), static_cast<int>(row.answer)) << what << ": " << said;
    EXPECT_TRUE(contains(said, row.says)) << what << ": " << said;
    EXPECT_FALSE(fs::exists(folder_.path() / "out")) << what;
  }
  TemporaryFolder folder_;
};

bool says(const Row& row, const std::string& option) {
  return std::find(row.words.begin(), row.words.end(), "--" + option) != row.words.end();
}

// description_test.cpp has those that are found idle by their description.
TEST_F(Effects, EveryOtherOptionHasARow) {
  std::set<std::string> tried = kActs;
  for (const Row& row : rows()) tried.insert(first_option(row));
  for (const Option& option : find_command("quantize")->options)
    if (!arkit::cli::is_kept_out_of_recipes(option) && option.row.needs == arkit::OptionNeeds::nothing)
      EXPECT_TRUE(tried.contains(std::string(option.name))) << option.name;
}

TEST_F(Effects, NoOptionIsIgnoredInSilence) {
  for (Row row : rows()) {
    const bool has_recipe =
        says(row, "recipe") || says(row, "iters") || says(row, "model_free") || says(row, "recipe_file");
    if (!has_recipe) row.words = row.words + kRtn;
    expect("quantize", row);
  }
}

// Scripts say "0" or "auto"; there is one device.
TEST_F(Effects, TheOnlyDeviceIsNamed) {
  for (const char* device : {"0", "auto", "cpu"}) {
    Listener listener;
    QuantizeOptions options = options_of("quantize", Words{"m", "--device_map", device});
    options.model = tiny_model("source-llama-bf16");
    options.recipe = "rtn";
    options.dry_run = true;
    (void)quantize(options, registry(), listener);
    const std::string line = "--device_map " + std::string(device) + ": quantization runs on the CPU in this version";
    const bool said = std::find(listener.said.begin(), listener.said.end(), line) != listener.said.end();
    EXPECT_EQ(said, device != std::string("cpu"));
  }
}

TEST_F(Effects, OfAutoschemeNeither) {
  const Words mix{"--options", "W2A16G32,W4A16", "--avg_bits", "4"};
  for (const Row& row : std::vector<Row>{
           {Words{"--device_map", "cuda"} + mix, Answer::unsupported, "device_map"},
           {Words{"--refine_seconds", "-3"} + mix, Answer::usage, "out of range"},
           {Words{"--nsamples", "3", "--score_nsamples", "4"} + mix, Answer::usage, "give one"},
           {Words{"--seqlen", "3", "--score_seqlen", "4"} + mix, Answer::usage, "give one"},
           {Words{"--batch_size", "3", "--score_batch_size", "4"} + mix, Answer::usage, "give one"},
           {Words{"--nsamples", "0"} + mix, Answer::usage, "at least one sample"},
           {Words{"--seed", "-1"} + mix, Answer::usage, "out of range"},
           {Words{"--score_cache", "/tmp/x", "--no_score_cache"} + mix, Answer::usage, "leave one of them out"},
           {Words{"--act_dynamic"} + mix, Answer::usage, "activations stay in 16 bits"},
           {Words{"--ignore_layers", "layers"} + mix, Answer::usage, "no layer is left"},
           {Words{"--svg", "a.svg"}, Answer::usage, "schemes to choose from"},
           {Words{"--save_layer_config", "a.toml", "--options", "W2A16G32,W4A16", "--avg_bits", "3,4"}, Answer::usage,
            "one budget"},
       })
    expect("autoscheme", row);
}

// What is quiet when all is well: warnings above are no noise.
TEST_F(Effects, OptionsThatActAreNotMentioned) {
  for (const Words& words :
       {kRtn, kRtn + Words{"--bits", "8", "--act_bits", "8", "--act_asym", "--format", "fake"}, kOptRtn,
        kTuned + Words{"--lr", "0.1", "--minmax_lr", "0.2", "--momentum", "0.5", "--dynamic_max_gap", "3"},
        kRtn + Words{"--quant_lm_head"}, kTuned + Words{"--quant_lm_head", "--disable_opt_rtn"},
        kRtn + Words{"--scale_dtype", "fp32"}}) {
    Listener recorder;
    QuantizeOptions options = options_of("quantize", Words{tiny_model("source-llama-bf16")} + words);
    options.output_dir = folder_.path() / "out";
    options.dry_run = true;
    (void)arkit::quantize(options, registry(), recorder);
    for (const std::string& warning : recorder.said)
      EXPECT_FALSE(contains(warning, "no effect") || contains(warning, "ignored")) << warning;
  }
}

TEST_F(Effects, SixteenBitsAreAllowedWhereTheyAreAskedFor) {
  for (const Words& words : {Words{"--scheme", "BF16"}, Words{"--bits", "16"}}) {
    Recorder recorder;
    QuantizeOptions options = options_of("quantize", Words{tiny_model("source-llama-bf16")} + kRtn + words);
    options.output_dir = folder_.path() / ("out" + words.back());
    EXPECT_EQ(arkit::quantize(options, registry(), recorder).at("quantized_layers").to_number<int64_t>(), 0);
  }
}

TEST_F(Effects, AFalseFlagOfAFileIsAsymmetricInTheExport) {
  const fs::path config = write_text(folder_.path() / "o.toml", "sym = false\n");
  Recorder recorder;
  QuantizeOptions options = options_of(
      "quantize", Words{tiny_model("source-llama-bf16"), "--config", config.string(), "--group_size", "32"} + kRtn);
  options.output_dir = folder_.path() / "out";
  (void)arkit::quantize(options, registry(), recorder);
  const arkit::json::Value written = arkit::json::read_file(options.output_dir / "config.json");
  EXPECT_EQ(written.at("quantization_config").at("sym").as_bool(), false);
  const arkit::json::Value record = arkit::json::read_file(options.output_dir / "arkit-run.json");
  EXPECT_EQ(record.at("options").at("sym").as_bool(), false);
  EXPECT_EQ(record.at("options").at("allow_unmatched").as_bool(), false);
  EXPECT_EQ(record.at("options").at("model_free").as_bool(), true);  // decided by arkit, and said
}

std::string title(const Words& words) {
  Recorder recorder;
  QuantizeOptions options = options_of("quantize", Words{tiny_model("source-llama-bf16")} + kRtn + words);
  options.dry_run = true;
  return std::string(arkit::quantize(options, registry(), recorder).at("scheme").as_string());
}

TEST_F(Effects, APlanIsCalledByWhatItDoes) {
  EXPECT_EQ(title({}), "W4A16");
  EXPECT_EQ(title({"--group_size", "32"}), "W4A16");
  EXPECT_EQ(title({"--bits", "8"}), "W8A16");
  EXPECT_EQ(title({"--bits", "3"}), "W3A16");
  EXPECT_EQ(title({"--bits", "2", "--group_size", "64"}), "W2A16G64");
  EXPECT_EQ(title({"--scheme", "W2A16G32", "--group_size", "64"}), "W2A16G64");
  EXPECT_EQ(title({"--scheme", "W8A16", "--bits", "5", "--group_size", "32", "--format", "fake"}), "W5A16G32");
}

// The other commands.
TEST(OtherCommands, SayWhatWouldDoNothing) {
  using arkit::testing::refusal;
  const std::string model = tiny_model("source-llama-bf16");
  for (const auto& [change, says] : std::vector<std::pair<std::function<void(arkit::GenerateOptions&)>, std::string>>{
           {[](arkit::GenerateOptions& o) { o.sampling.top_k = 5; }, "top_k"},
           {[](arkit::GenerateOptions& o) { o.sampling.top_p = 0.5; }, "top_p"},
           {[](arkit::GenerateOptions& o) { o.sampling.min_p = 0.5; }, "min_p"}}) {
    Recorder recorder;
    arkit::GenerateOptions options{.model = model, .prompts = {"a"}};
    change(options);
    EXPECT_TRUE(
        contains(refusal(ErrorCode::usage, [&] { (void)arkit::generate(options, registry(), recorder); }), says));
  }
  Recorder recorder;
  const arkit::GenerateOptions seeded{
      .model = model, .prompts = {"a"}, .max_new_tokens = 1, .sampling = {.seed = 7}, .backend = "torch"};
  (void)arkit::generate(seeded, registry(), recorder);
  ASSERT_EQ(recorder.warnings.size(), 2U);
  EXPECT_TRUE(contains(recorder.warnings[0], "--seed has no effect"));
  EXPECT_TRUE(contains(recorder.warnings[1], "--backend has no effect"));

  for (const auto& [change, says] : std::vector<std::pair<std::function<void(arkit::DiffOptions&)>, std::string>>{
           {[](arkit::DiffOptions& o) { o.seqlen = 5; }, "--seqlen"},
           {[](arkit::DiffOptions& o) { o.max_windows = 5; }, "--max_windows"},
           {[](arkit::DiffOptions& o) { o.batch_size = 5; }, "--batch_size"},
           {[](arkit::DiffOptions& o) { o.dtype = "bfloat16"; }, "--dtype"},
           {[](arkit::DiffOptions& o) { o.backend = "torch"; }, "--backend"}}) {
    arkit::DiffOptions options{.a = model, .b = model};
    change(options);
    EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)arkit::diff(options, registry(), recorder); }), says));
  }
}

TEST(Plan, ATypoIsNamedWhereNoPluginKnowsTheFamily) {
  const TemporaryFolder folder;
  fs::copy(tiny_model("source-llama-bf16"), folder.path() / "m", fs::copy_options::recursive);
  arkit::json::Value config = arkit::json::read_file(folder.path() / "m/config.json");
  config.as_object()["model_type"] = "never_heard_of";
  write_text(folder.path() / "m/config.json", arkit::json::dump(config));
  const auto run = [&](const Words& words) {
    Recorder recorder;
    QuantizeOptions options = options_of("quantize", Words{(folder.path() / "m").string()} + kRtn + words);
    options.dry_run = true;
    (void)arkit::quantize(options, registry(), recorder);
  };
  run({});
  EXPECT_TRUE(contains(arkit::testing::refusal(ErrorCode::usage,
                                               [&] {
                                                 run({"--ignore_layers", "q_porj"});
                                               }),
                       "'q_porj' matches no layer"));
}

TEST(Progress, CountsDecoderBlocksWhereverTheModelIsCut) {
  for (const bool model_free : {false, true}) {
    const TemporaryFolder folder;
    Recorder recorder;
    QuantizeOptions options = options_of("quantize", Words{tiny_model("source-llama-bf16")} + kRtn);
    options.model_free = model_free;
    options.output_dir = folder.path() / "out";
    (void)arkit::quantize(options, registry(), recorder);
    ASSERT_EQ(recorder.blocks.size(), 2U) << model_free;
    for (int64_t i = 0; i < 2; ++i) {
      EXPECT_EQ(recorder.blocks[static_cast<size_t>(i)].block, i);
      EXPECT_EQ(recorder.blocks[static_cast<size_t>(i)].num_blocks, 2);
    }
    const arkit::json::Value record = arkit::json::read_file(options.output_dir / "arkit-run.json");
    std::set<int64_t> blocks;
    for (const auto& block : record.at("blocks").as_array()) blocks.insert(block.at("block").to_number<int64_t>());
    EXPECT_EQ(blocks, (std::set<int64_t>{0, 1})) << model_free;
  }
}

}  // namespace
}  // namespace options_test
