// AutoRound's command line, its environment and the names of its commands: what is taken, translated and refused, and
// that docs/COMMAND_LINE.md says the same.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoround_flags.h"
#include "called_as.h"
#include "command_line.h"
#include "environment.h"
#include "process_environment.h"
#include "run_program.h"
#include "temporary_folder.h"

using arkit::Error;
using arkit::ErrorCode;
using arkit::cli::autoround_flags;
using arkit::cli::AutoRoundFlag;
using arkit::cli::called_as;
using arkit::cli::parse_command_line;
using arkit::cli::ParsedCommand;
using arkit::cli::Request;
using arkit::testing::Environment;
using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

namespace {

namespace fs = std::filesystem;
using Words = std::vector<std::string>;

ParsedCommand quantize(Words words, const char* program = "arkit") {
  words.insert(words.begin(), {"quantize", "m"});
  return parse_command_line(words, called_as(program)).parsed;
}

std::string refusal(ErrorCode code, const Words& words, const char* program = "arkit") {
  try {
    (void)quantize(words, program);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return {};
}

std::string first_name(const AutoRoundFlag& flag) {
  return arkit::split(flag.names, ' ').front();
}

Words typed(const AutoRoundFlag& flag) {
  Words words{"--" + first_name(flag)};
  if (flag.value == AutoRoundFlag::Value::one)
    words.push_back(flag.only.empty() ? "1" : arkit::split(flag.only, ' ').front());
  return words;
}

std::string read(const fs::path& file) {
  std::ifstream in(file);
  return {std::istreambuf_iterator<char>(in), {}};
}

const fs::path kSource = fs::path(ARKIT_TEST_DATA) / "../..";

}  // namespace

// docs: spec of AutoRound 0.16.1's `quantize`, all of it.
TEST(AutoRound, EveryFlagOfItsIsAnOptionOrAnswered) {
  const char* const kAll =
      "model model_name model_name_or_path model_dtype platform num_hidden_layers debug_layer_num batch_size train_bs "
      "bs "
      "seqlen seq_len nsamples nsample device_map device devices dataset seed format formats max_shard_size algorithm "
      "algorithms alg algs alg_config alg_configs output_dir schemes avg_bits target_bits options option shared_layers "
      "ignore_scale_zp_bits low_gpu_mem_usage low_cpu_mem_usage disable_low_cpu_mem_usage enable_torch_compile "
      "disable_torch_compile disable_trust_remote_code layer_config static_kv_dtype static_kv_granularity "
      "static_attention_dtype static_attention_granularity tasks task eval_bs limit num_fewshot eval_gen_kwargs "
      "fewshot_as_multiturn eval_task_by_task eval_backend vllm_args eval_model_dtype add_bos_token disable_amp "
      "enable_deterministic_algorithms model_free disable_model_free mllm quant_nontext_module extra_data_dir template "
      "prompt_file prompt metrics metric image_save_dir guidance_scale calib_num_inference_steps num_inference_steps "
      "generator_seed diffusion_tuning_cache_size scheme bits bit group_size asym data_type dtype act_bits "
      "act_group_size act_asym act_data_type act_dtype disable_act_dynamic super_bits super_group_size scale_dtype "
      "ignore_layers fp_layers quant_lm_head to_quant_block_names disable_opt_rtn enable_opt_rtn enable_neuqi iters lr "
      "minmax_lr momentum nblocks enable_minmax_tuning disable_minmax_tuning enable_norm_bias_tuning "
      "gradient_accumulate_steps enable_alg_ext not_use_best_mse enable_quanted_input disable_quanted_input "
      "enable_adam "
      "adam enable_lfq awq_duo_scaling awq_n_grid awq_seqlen awq_smooth_batch_size awq_apply_clip awq_clip_as_init "
      "svdquant_rank enable_svdquant_smooth svdquant_smooth_num_grids svdquant_smooth_max_calibration_calls "
      "svdquant_residual_iters enable_svdquant_residual_early_stop svdquant_low_rank_dtype svdquant_target_modules "
      "svdquant_exclude_modules svdquant_model_adapter rotation_type rotation_backend rotation_block_size "
      "fuse_online_to_weight allow_online_rotation layerwise r1 r2 r3 r4 random_r1 random_r2 random_r3 random_r4 "
      "trainable_rotation trainable_smooth online_r1_rotation fuse_rmsnorm untie_embeddings rotation_size smooth_lr "
      "loss_type kl_top_k iter eval";
  const arkit::cli::Command& command = *arkit::cli::find_command("quantize");
  for (const std::string& name : arkit::split(kAll, ' ')) {
    const bool own = arkit::cli::find_option(command, name) != nullptr;
    const bool answered = std::any_of(autoround_flags().begin(), autoround_flags().end(), [&](const auto& flag) {
      const Words names = arkit::split(flag.names, ' ');
      return std::find(names.begin(), names.end(), name) != names.end();
    });
    EXPECT_NE(own, answered) << name;
  }
}

TEST(AutoRound, WhatIsAlwaysSoIsTakenWithALine) {
  const ParsedCommand plain = quantize({});
  size_t count = 0;
  for (const AutoRoundFlag& flag : autoround_flags()) {
    if (flag.kind != AutoRoundFlag::Kind::always) continue;
    ++count;
    const ParsedCommand parsed = quantize(typed(flag));
    EXPECT_EQ(parsed.values, plain.values) << flag.names;
    ASSERT_EQ(parsed.notes.size(), 1U) << flag.names;
    EXPECT_EQ(parsed.notes.front(), "--" + first_name(flag) + ": " + std::string(flag.says) + ", always");
    Words dashed = typed(flag);
    std::replace(dashed.front().begin() + 2, dashed.front().end(), '_', '-');
    EXPECT_EQ(quantize(dashed).notes, parsed.notes);
    if (flag.only.empty()) continue;
    const std::string said = refusal(ErrorCode::unsupported, {"--" + first_name(flag), "another"});
    EXPECT_TRUE(contains(said, std::string(flag.says))) << said;
  }
  EXPECT_GE(count, 8U);
  // The line is printed, and not with --quiet; the run itself ends for another reason.
  const Outcome run = run_arkit({"quantize", "/no/such/model", "--low_gpu_mem_usage"});
  EXPECT_TRUE(contains(run.err, "--low_gpu_mem_usage: one decoder block is in memory at a time, always\n")) << run.err;
  EXPECT_FALSE(contains(run_arkit({"quantize", "/no/such/model", "--low_gpu_mem_usage", "--quiet"}).err, "always"));
}

TEST(AutoRound, WhatCannotBeIsRefusedWithTheReason) {
  for (const AutoRoundFlag& flag : autoround_flags()) {
    if (flag.kind == AutoRoundFlag::Kind::absent) {
      const std::string said = refusal(ErrorCode::unsupported, typed(flag));
      EXPECT_EQ(said, "--" + first_name(flag) + ": " + std::string(flag.says) + "; leave it out");
    }
    const bool one = flag.value == AutoRoundFlag::Value::one;
    if (one) EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--" + first_name(flag)}), "needs a value"));
  }
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, {"--group_size", "128,128"}), "--scheme FP8_BLOCK"));
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, {"--group_size=128,128"}), "--scheme FP8_BLOCK"));
  const Outcome run = run_arkit({"m", "--eval", "--tasks", "lambada_openai", "--eval_bs", "16"});
  EXPECT_EQ(run.exit_code, 2) << "a model is named by a path that exists or after 'quantize'";
  EXPECT_EQ(run_arkit({"quantize", "m", "--vllm_args=tensor_parallel_size=2"}).exit_code, 2) << "no tasks, no vLLM";
}

TEST(AutoRound, FlagsCanBeTurnedOffAsThere) {
  EXPECT_EQ(quantize({"--no-quant_lm_head"}).values.at("quant_lm_head"), Words{"false"});
  EXPECT_EQ(quantize({"--no_enable_minmax_tuning"}).values.at("disable_minmax_tuning"), Words{"true"});
  EXPECT_EQ(quantize({"--no-enable_lfq"}).values, quantize({}).values) << "what is off may be absent";
  EXPECT_EQ(quantize({"--no_score_cache"}).values.at("no_score_cache"), Words{"true"}) << "an option's own name";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--no_iters"}), "unknown option")) << "not a flag";
}

// Of two rotations none is left out silently.
TEST(AutoRound, ARotationAmongTheAlgorithmsIsTheOnlyOne) {
  const std::string model = std::string(ARKIT_TEST_DATA) + "/golden/source-llama-bf16";
  const auto plan = [&](const Words& more) {
    Words words{"quantize", model, "--dry-run", "--json", "--scheme", "MXFP4"};
    words.insert(words.end(), more.begin(), more.end());
    return run_arkit(words);
  };
  for (const Words& two : {Words{"--algs", "quarot,signround", "--rotation", "hadamard"},
                           Words{"--algs", "random_hadamard,rtn", "--rotation", "quarot"},
                           Words{"--algs", "quarot,rtn", "--rotation", R"({"hadamard_type": "hadamard"})"},
                           Words{"--algs", "random_hadamard,rtn", "--r4"}}) {
    const Outcome refused = plan(two);
    EXPECT_EQ(refused.exit_code, 2) << two.at(1);
    EXPECT_TRUE(contains(refused.err, "are two rotations")) << refused.err;
  }
  const Outcome named = plan({"--algs", "random_hadamard,rtn", "--rotation_block_size", "32"});
  ASSERT_EQ(named.exit_code, 0) << named.err;
  EXPECT_TRUE(contains(named.out, R"(\"block_size\": 32)")) << named.out;
  EXPECT_TRUE(contains(named.out, R"(\"algorithm\": \"random_hadamard\")")) << named.out;
  EXPECT_EQ(plan({"--algs", "quarot,rtn", "--rotation", "quarot"}).exit_code, 0);
  EXPECT_EQ(plan({"--algs", "quarot,rtn", "--r4", "--rotation_size", "32"}).exit_code, 0);
}

TEST(AutoRound, EvalMeasuresAndQuantizesNothing) {
  const auto parse = [](const Words& words, const char* program = "arkit") {
    return parse_command_line(words, called_as(program)).parsed;
  };
  for (const ParsedCommand& parsed :
       {quantize({"--eval", "--tasks", "a,b", "--eval_bs", "16"}), parse({"--model=m", "--eval", "--task", "a", "b"}),
        parse({"m", "--tasks", "a,b", "--eval=true"}, "auto-round"), parse({"eval", "--model", "m", "--tasks", "a,b"}),
        parse({"eval", "m", "--tasks", "a,b"}, "auto-round"), parse({"eval", "lm", "m", "--tasks", "a,b", "--mllm"})}) {
    EXPECT_EQ(parsed.command, "eval lm");
    EXPECT_EQ(parsed.positionals, Words{"m"});
    EXPECT_EQ(parsed.values.at("tasks"), (Words{"a", "b"}));
    EXPECT_FALSE(parsed.values.contains("output_dir"));
  }
  EXPECT_EQ(quantize({"--eval=false"}).command, "quantize");
  EXPECT_EQ(quantize({"--tasks"}).values.at("tasks").size(), 13U) << "AutoRound's";
  EXPECT_EQ(quantize({"--tasks", "--iters", "5"}).values.at("tasks").size(), 13U);
  EXPECT_EQ(parse({"eval", "lm", "m", "--batch_size", "3"}).values.at("eval_bs"), Words{"3"});
  EXPECT_EQ(quantize({"--eval_bs", "3", "--bs", "4", "--tasks", "a"}).values.at("batch_size"), Words{"4"});
  EXPECT_THROW((void)quantize({"--eval", "--bits", "4"}), Error) << "bits of what";
}

TEST(AutoRound, FlagsUnderAnotherNameBecomeTheOption) {
  EXPECT_EQ(quantize({"--disable_amp"}).values.at("amp_dtype"), Words{"float32"});
  EXPECT_EQ(quantize({"--rotation_type", "quarot_hadamard", "--rotation_block_size=32", "--no_allow_online_rotation"})
                .values.at("rotation"),
            Words{R"({"allow_online_rotation": false, "block_size": 32, "hadamard_type": "quarot_hadamard"})"});
  EXPECT_EQ(quantize({"--r4", "--no_r1", "--rotation_size", "64"}).values.at("rotation"),
            Words{R"({"algorithm": "quarot", "r1": false, "r4": true, "rotation_size": 64})"});
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--rotation", "quarot", "--r4"}), "leave the options of single"));
  EXPECT_EQ(quantize({"--algorithm", "awq,rtn", "--awq-n-grid", "8", "--awq_duo_scaling", "both"}).values.at("algs"),
            Words{R"(awq{"duo_scaling": "both", "n_grid": 8},rtn)"});
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--awq_n_grid", "8"}), "add --algs awq"));
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--algs", "awq{}", "--awq_n_grid", "8"}), "already"));
}

TEST(AutoRound, ListsAreFoundUnderItsWords) {
  const auto listed = [](const Words& words) { return parse_command_line(words).parsed.positionals.front(); };
  EXPECT_EQ(listed({"list", "format"}), "formats");
  EXPECT_EQ(listed({"list", "Scheme"}), "schemes");
  EXPECT_EQ(listed({"--list", "format"}), "formats");
  EXPECT_EQ(listed({"list", "algs"}), "transforms");
  EXPECT_EQ(listed({"list", "formatz"}), "formatz") << "for the list to say what there is";
  for (const std::string& what : arkit::split(arkit::cli::find_command("list")->choices, ' '))
    EXPECT_EQ(listed({"list", what.substr(0, what.size() - 1)}), what);
}

TEST(AutoRound, VariablesHoldWhereNothingIsTyped) {
  {
    const Environment layers("AR_DEBUG_LAYER_NUM", "2");
    EXPECT_EQ(quantize({}).values.at("num_hidden_layers"), Words{"2"});
    EXPECT_EQ(quantize({"--num_hidden_layers", "3"}).values.at("num_hidden_layers"), Words{"3"});
    EXPECT_EQ(quantize({}).notes, Words{"AR_DEBUG_LAYER_NUM: --num_hidden_layers 2"});
    EXPECT_FALSE(parse_command_line({"inspect", "m"}).parsed.values.contains("num_hidden_layers"));
  }
  {
    const Environment layers("AR_DEBUG_LAYER_NUM", "few");
    EXPECT_TRUE(contains(refusal(ErrorCode::usage, {}), "AR_DEBUG_LAYER_NUM: 'few' is not a whole number"));
  }
  {
    const Environment samples("AR_AUTO_SCHEME_NSAMPLES", "5"), space("AR_WORK_SPACE", "/w");
    const Words mix{"--options", "W2A16,W4A16", "--avg_bits", "3"};
    EXPECT_EQ(quantize(mix).values.at("score_nsamples"), Words{"5"});
    EXPECT_EQ(quantize(mix).values.at("score_cache"), Words{"/w/autoscheme"});
    EXPECT_FALSE(quantize({}).values.contains("score_nsamples")) << "nothing is mixed";
    const Environment cache("AR_AUTO_SCHEME_CACHE", "/c");
    EXPECT_EQ(quantize(mix).values.at("score_cache"), Words{"/c"});
  }
  {
    const Environment level("AR_LOG_LEVEL", "Debug");
    EXPECT_EQ(parse_command_line({"list", "formats"}).parsed.values.at("verbose"), Words{"true"});
    EXPECT_FALSE(quantize({"--quiet"}).values.contains("verbose"));
  }
  for (const char* loud : {"WARNING", "critical"}) {
    const Environment level("AR_LOG_LEVEL", loud);
    EXPECT_EQ(quantize({}).values.at("quiet"), Words{"true"});
  }
  {
    const Environment level("AR_LOG_LEVEL", "loud");
    EXPECT_TRUE(contains(refusal(ErrorCode::usage, {}), "AR_LOG_LEVEL: 'loud' is not one of TRACE"));
  }
}

TEST(AutoRound, VariablesThatWouldChangeResultsAreAnswered) {
  size_t count = 0;
  for (const arkit::cli::Variable& variable : arkit::cli::variables()) {
    if (variable.kind != arkit::cli::Variable::Kind::ignored) continue;
    ++count;
    const std::string name(variable.name);
    const Environment set(name, "0.75");
    EXPECT_EQ(quantize({}).notes, Words{name + " has no effect: " + std::string(variable.says)});
    for (const std::string& usual : arkit::split(variable.usual, ' ')) {
      const Environment nothing(name, usual);
      EXPECT_EQ(quantize({}).notes, Words{}) << name;
    }
  }
  EXPECT_GE(count, 8U);
}

TEST(AutoRound, ThreadsComeFromItsVariable) {
  const Outcome run = run_arkit({"list", "backends", "--json"}, {"AR_OMP_NUM_THREADS=many"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(contains(run.err, "AR_OMP_NUM_THREADS: 'many' is not a number of threads")) << run.err;
  ::unsetenv("OMP_NUM_THREADS");
  const Environment threads("AR_OMP_NUM_THREADS", "3");
  arkit::cli::apply_thread_count();
  EXPECT_STREQ(std::getenv("OMP_NUM_THREADS"), "3");
  const Environment fewer("AR_OMP_NUM_THREADS", "1");
  arkit::cli::apply_thread_count();
  EXPECT_STREQ(std::getenv("OMP_NUM_THREADS"), "3") << "which wins";
  ::unsetenv("OMP_NUM_THREADS");
}

TEST(AutoRound, NamesOfItsCommandsAreRecipes) {
  EXPECT_EQ(called_as("/usr/bin/auto_round_best").recipe, "best");
  EXPECT_EQ(called_as("arkit-light").recipe, "light");
  EXPECT_EQ(called_as("something").name, "arkit");
  EXPECT_EQ(quantize({}, "arkit-best").values.at("recipe"), Words{"best"});
  EXPECT_FALSE(quantize({}, "arkit-best").values.contains("output_dir"));
  EXPECT_EQ(quantize({}, "auto-round").values.at("output_dir"), Words{"tmp_autoround"});
  EXPECT_EQ(quantize({"-o", "x"}, "auto-round").values.at("output_dir"), Words{"x"});
  EXPECT_FALSE(quantize({}, "auto-round").values.contains("recipe"));
  EXPECT_EQ(quantize({"--recipe", "best"}, "arkit-best").values.at("recipe"), Words{"best"});
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, {"--recipe", "light"}, "arkit-best"),
                       "--recipe 'light' contradicts arkit-best, which is recipe 'best'"));
  // `auto-round Qwen/Qwen3-0.6B` quantizes, whether or not there is such a folder.
  const Request request = parse_command_line({"Qwen/Qwen3-0.6B", "--iters", "5"}, called_as("auto-round"));
  EXPECT_EQ(request.parsed.command, "quantize");
  EXPECT_EQ(request.parsed.positionals, Words{"Qwen/Qwen3-0.6B"});
  EXPECT_EQ(request.parsed.command_line, "auto-round Qwen/Qwen3-0.6B --iters 5");
  EXPECT_EQ(parse_command_line({"list", "format"}, called_as("auto-round")).parsed.command, "list");
  EXPECT_THROW((void)parse_command_line({"Qwen/Qwen3-0.6B"}), Error);
}

TEST(AutoRound, AliasesAreInstalledAndWork) {
  const TemporaryFolder temporary;
  const fs::path& folder = temporary.path();
  fs::create_directories(folder / "bin");
  fs::copy_file(ARKIT_BINARY, folder / "bin/arkit");
  const std::string script = (kSource / "tools/aliases.sh").string();
  ASSERT_EQ(cli_test::program({script, folder.string()}).exit_code, 0);
  ASSERT_EQ(cli_test::program({script, folder.string()}).exit_code, 0) << "again";
  for (const arkit::cli::CalledAs& one : called_as()) {
    std::string name(one.name);
    EXPECT_TRUE(fs::exists(folder / "bin" / name)) << name;
    std::replace(name.begin(), name.end(), '-', '_');
    EXPECT_EQ(fs::exists(folder / "bin" / name), !name.starts_with("arkit_")) << name;
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder / "bin"), {}), 13);
  // The name reaches the front, which answers without libraries.
  const Outcome run = cli_test::program({(folder / "bin/arkit-best").string(), "quantize", "m", "--recipe", "rtn"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_TRUE(contains(run.err, "contradicts arkit-best")) << run.err;
  EXPECT_EQ(cli_test::program({(folder / "bin/auto-round").string(), "--version"}).exit_code, 0);
  fs::remove(folder / "bin/auto-round");
  std::ofstream(folder / "bin/auto-round") << "the reference\n";
  const Outcome other = cli_test::program({script, folder.string()});
  EXPECT_EQ(other.exit_code, 3);
  EXPECT_TRUE(contains(other.err, "is another program and stays")) << other.err;
  EXPECT_EQ(read(folder / "bin/auto-round"), "the reference\n");
}

TEST(AutoRound, TheDocumentationSaysTheSame) {
  const std::string document = read(kSource / "docs/COMMAND_LINE.md");
  for (const AutoRoundFlag& flag : autoround_flags()) {
    for (const std::string& name : arkit::split(flag.names, ' '))
      EXPECT_TRUE(contains(document, "`--" + name + "`")) << name;
    const bool quoted = flag.kind == AutoRoundFlag::Kind::always || flag.kind == AutoRoundFlag::Kind::absent;
    if (quoted) EXPECT_TRUE(contains(document, std::string(flag.says))) << flag.says;
  }
  for (const arkit::cli::Variable& variable : arkit::cli::variables()) {
    EXPECT_TRUE(contains(document, "| `" + std::string(variable.name) + "` | ")) << variable.name;
    EXPECT_TRUE(contains(document, std::string(variable.says))) << variable.says;
  }
  for (const arkit::cli::CalledAs& one : called_as())
    EXPECT_TRUE(contains(document, "`" + std::string(one.name) + "`")) << one.name;
}
