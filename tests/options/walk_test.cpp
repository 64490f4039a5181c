// Options of quantize and autoscheme with values that real runs take: what is typed reaches the struct the engine
// reads, the record and --save_config, which gives the same run again; a flag and its negation are opposites wherever
// they are written. description_test.cpp walks every option there is; what is special about one stands here.
#include <functional>

#include <gtest/gtest.h>

#include <arkit/engine/resolved_options.h>

#include "options_testing.h"
#include "recipe_file.h"
#include "save_config.h"

namespace options_test {
namespace {

using arkit::ErrorCode;
using arkit::QuantizeOptions;
using arkit::cli::Command;
using arkit::cli::find_command;
using arkit::cli::find_option;
using arkit::cli::Option;
using arkit::cli::Type;
using arkit::testing::refusal;
using arkit::testing::TemporaryFolder;
using Options = const QuantizeOptions&;

// `before` and `after` differ in the option; `is` tells them apart in the struct.
struct Case {
  std::string name;
  Words before, after;
  std::function<bool(Options)> is;
};

const Words kMix{"m", "--options", "W2A16,W4A16", "--avg_bits", "3"};

Case plain(const std::string& name, const std::string& value, std::function<bool(Options)> is) {
  return {name, {"m"}, {"m", "--" + name, value}, std::move(is)};
}
Case flag(const std::string& name, std::function<bool(Options)> is) {
  return {name, {"m"}, {"m", "--" + name}, std::move(is)};
}
Case undone(const std::string& name, const std::string& by, std::function<bool(Options)> is) {
  return {name, {"m", "--" + by}, {"m", "--" + name}, std::move(is)};
}
Case mix(const std::string& name, const std::string& value, std::function<bool(Options)> is) {
  return {name, kMix, kMix + (value.empty() ? Words{"--" + name} : Words{"--" + name, value}), std::move(is)};
}

std::vector<Case> cases() {
  using Texts = std::vector<std::string>;
  return {
      {"model", {"--model", "m"}, {"--model", "other"}, [](Options o) { return o.model == "other"; }},
      plain("scheme", "W8A16", [](Options o) { return o.scheme == "W8A16"; }),
      plain("bits", "3", [](Options o) { return o.overrides.bits == 3; }),
      plain("group_size", "-1", [](Options o) { return o.overrides.group_size == -1; }),
      undone("sym", "asym", [](Options o) { return o.overrides.sym == true; }),
      flag("asym", [](Options o) { return o.overrides.sym == false; }),
      plain("data_type", "mx_fp", [](Options o) { return o.overrides.data_type == "mx_fp"; }),
      plain("scale_dtype", "bf16", [](Options o) { return o.overrides.scale_dtype == "bfloat16"; }),
      {"scale_search",
       {"m", "--scheme", "GGUF:Q4_K"},
       {"m", "--scheme", "GGUF:Q4_K", "--scale_search", "auto_round"},
       [](Options o) { return o.overrides.scale_search == "auto_round"; }},
      plain("act_bits", "8", [](Options o) { return o.overrides.act_bits == 8; }),
      plain("act_group_size", "64", [](Options o) { return o.overrides.act_group_size == 64; }),
      plain("act_data_type", "fp8", [](Options o) { return o.overrides.act_data_type == "fp8"; }),
      flag("act_sym", [](Options o) { return o.overrides.act_sym == true; }),
      flag("act_asym", [](Options o) { return o.overrides.act_sym == false; }),
      flag("act_dynamic", [](Options o) { return o.overrides.act_dynamic == true; }),
      flag("disable_act_dynamic", [](Options o) { return o.overrides.act_dynamic == false; }),

      {"options",
       kMix,
       {"m", "--options", "W4A16,W8A16", "--avg_bits", "3"},
       [](Options o) { return o.auto_scheme.options == Texts{"W4A16,W8A16"}; }},
      {"avg_bits",
       kMix,
       {"m", "--options", "W2A16,W4A16", "--avg_bits", "3.5"},
       [](Options o) { return o.auto_scheme.avg_bits == std::vector<double>{3.5}; }},
      {"target_size",
       kMix,
       {"m", "--options", "W2A16,W4A16", "--target_size", "3GiB"},
       [](Options o) { return o.auto_scheme.target_size == int64_t{3} << 30 && o.auto_scheme.avg_bits.empty(); }},
      mix("bits_accounting", "autoround", [](Options o) { return o.auto_scheme.bits_accounting == "autoround"; }),
      mix("ignore_scale_zp_bits", "", [](Options o) { return o.auto_scheme.ignore_scale_zp_bits; }),
      mix("shared_layers", "q_proj,k_proj",
          [](Options o) {
            return o.auto_scheme.shared_layers == std::vector<Texts>{{"q_proj", "k_proj"}};
          }),
      mix("no_share_fused", "", [](Options o) { return !o.auto_scheme.share_fused_layers; }),
      mix("score", "compat", [](Options o) { return o.auto_scheme.score == "compat"; }),
      mix("score_nsamples", "5", [](Options o) { return o.auto_scheme.nsamples == 5; }),
      mix("score_seqlen", "33", [](Options o) { return o.auto_scheme.seqlen == 33; }),
      mix("score_batch_size", "3", [](Options o) { return o.auto_scheme.batch_size == 3; }),
      mix("score_cache", "/c", [](Options o) { return o.auto_scheme.cache_dir == "/c"; }),
      mix("no_score_cache", "", [](Options o) { return !o.auto_scheme.use_cache; }),
      mix("refine_seconds", "1.5", [](Options o) { return o.auto_scheme.refine_seconds == 1.5; }),
      mix("svg", "p.svg", [](Options o) { return o.auto_scheme.svg == "p.svg"; }),
      mix("save_layer_config", "l.toml", [](Options o) { return o.auto_scheme.save_layer_config == "l.toml"; }),

      plain("recipe", "best", [](Options o) { return o.recipe == "best"; }),
      plain("recipe_file", "r.yaml", [](Options o) { return o.recipe_file == "r.yaml" && o.formats.empty(); }),
      plain("iters", "7", [](Options o) { return o.tuning.iters == 7; }),
      plain("lr", "0.25", [](Options o) { return o.tuning.lr == 0.25; }),
      plain("minmax_lr", "4e-05", [](Options o) { return o.tuning.minmax_lr == 4e-5; }),
      plain("momentum", "0.5", [](Options o) { return o.tuning.momentum == 0.5; }),
      plain("batch_size", "3", [](Options o) { return o.tuning.batch_size == 3; }),
      plain("gradient_accumulate_steps", "2", [](Options o) { return o.tuning.gradient_accumulate_steps == 2; }),
      plain("nblocks", "2", [](Options o) { return o.tuning.nblocks == 2; }),
      plain("dynamic_max_gap", "9", [](Options o) { return o.tuning.dynamic_max_gap == 9; }),
      flag("disable_minmax_tuning", [](Options o) { return !o.tuning.enable_minmax_tuning; }),
      undone("enable_minmax_tuning", "disable_minmax_tuning", [](Options o) { return o.tuning.enable_minmax_tuning; }),
      flag("disable_quanted_input", [](Options o) { return !o.tuning.enable_quanted_input; }),
      undone("enable_quanted_input", "disable_quanted_input", [](Options o) { return o.tuning.enable_quanted_input; }),
      flag("enable_norm_bias_tuning", [](Options o) { return o.tuning.enable_norm_bias_tuning; }),
      flag("not_use_best_mse", [](Options o) { return o.tuning.not_use_best_mse == true; }),
      undone("use_best_mse", "not_use_best_mse", [](Options o) { return o.tuning.not_use_best_mse == false; }),
      flag("enable_alg_ext", [](Options o) { return o.tuning.enable_alg_ext == true; }),
      undone("disable_alg_ext", "enable_alg_ext", [](Options o) { return o.tuning.enable_alg_ext == false; }),
      flag("enable_adam", [](Options o) { return o.tuning.enable_adam; }),
      flag("enable_neuqi", [](Options o) { return o.tuning.enable_neuqi; }),
      flag("disable_opt_rtn", [](Options o) { return o.tuning.disable_opt_rtn == true; }),
      flag("enable_opt_rtn", [](Options o) { return o.tuning.disable_opt_rtn == false; }),
      plain("amp_dtype", "float32", [](Options o) { return o.tuning.amp_dtype == "float32"; }),
      flag("enable_deterministic_algorithms", [](Options o) { return o.tuning.enable_deterministic_algorithms; }),
      plain("seed", "7", [](Options o) { return o.tuning.seed == 7; }),

      plain("dataset", "a \"quoted\" name", [](Options o) { return o.dataset == "a \"quoted\" name"; }),
      plain("nsamples", "64", [](Options o) { return o.tuning.nsamples == 64; }),
      plain("seqlen", "100", [](Options o) { return o.tuning.seqlen == 100; }),

      plain("layer_config", "{k_proj:{bits:8}}", [](Options o) { return o.layer_config == "{k_proj:{bits:8}}"; }),
      plain("ignore_layers", "a,b",
            [](Options o) {
              return o.ignore_layers == Texts{"a", "b"};
            }),
      flag("model_free", [](Options o) { return o.model_free == true; }),
      flag("disable_model_free", [](Options o) { return o.model_free == false; }),
      flag("quant_lm_head", [](Options o) { return o.quant_lm_head; }),
      plain("algs", "awq,signround", [](Options o) { return o.algs == "awq,signround"; }),
      plain("rotation", "hadamard", [](Options o) { return o.rotation == "hadamard"; }),
      plain("to_quant_block_names", "model.layers", [](Options o) { return o.to_quant_block_names.size() == 1; }),
      plain("static_kv_dtype", "fp8", [](Options o) { return o.attention.kv_dtype == "fp8"; }),
      {"static_kv_granularity",
       {"m", "--static_kv_dtype", "fp8"},
       {"m", "--static_kv_dtype", "fp8", "--static_kv_granularity", "head"},
       [](Options o) { return o.attention.kv_granularity == "head"; }},
      plain("static_attention_dtype", "fp8", [](Options o) { return o.attention.attention_dtype == "fp8"; }),
      {"static_attention_granularity",
       {"m", "--static_attention_dtype", "fp8"},
       {"m", "--static_attention_dtype", "fp8", "--static_attention_granularity", "head"},
       [](Options o) { return o.attention.attention_granularity == "head"; }},
      plain("num_hidden_layers", "1", [](Options o) { return o.num_hidden_layers == 1; }),
      plain("on_indivisible", "skip", [](Options o) { return o.on_indivisible == "skip"; }),
      flag("allow_unmatched", [](Options o) { return o.allow_unmatched; }),

      plain("format", "auto_gptq,fake",
            [](Options o) {
              return o.formats == Texts{"auto_gptq", "fake"};
            }),
      plain("runtime", "vllm", [](Options o) { return o.runtime == "vllm"; }),
      plain("output_dir", "out", [](Options o) { return o.output_dir == "out"; }),
      plain("max_shard_size", "1.5KiB", [](Options o) { return o.max_shard_bytes == 1536; }),
      plain("type_rules", "auto_round", [](Options o) { return o.format_options.type_rules == "auto_round"; }),
      plain("tensor_type", "a,b=q4_k", [](Options o) { return o.format_options.tensor_type == Texts{"a,b=q4_k"}; }),
      plain("tensor_type_file", "t.txt", [](Options o) { return o.format_options.tensor_type_file == "t.txt"; }),
      plain("output_tensor_type", "q8_0", [](Options o) { return o.format_options.output_tensor_type == "q8_0"; }),
      plain("token_embedding_type", "q4_0", [](Options o) { return o.format_options.token_embedding_type == "q4_0"; }),
      plain("split_max_size", "2GB", [](Options o) { return o.format_options.split_max_size == 2'000'000'000; }),
      plain("format_option", "a=b", [](Options o) { return o.format_options.format_option == Texts{"a=b"}; }),
      flag("force", [](Options o) { return o.force; }),
      flag("dry_run", [](Options o) { return o.dry_run; }),
      flag("low_disk", [](Options o) { return o.low_disk; }),
      plain("device_map", "auto", [](Options o) { return o.device_map == "auto"; }),
  };
}

// Options of one call: where options come from and go to, what is printed.
bool is_of_one_call(const Option& option) {
  return arkit::cli::is_kept_out_of_recipes(option);
}

// The name the record has for an option: that of a pair's first flag.
std::string key_of(const std::string& name, const arkit::json::Object& resolved) {
  if (resolved.contains(name)) return name;
  const Option* option = find_option(*find_command("quantize"), name);
  return std::string(option->excludes);
}

arkit::json::Object recorded(Options options) {
  return arkit::resolved_options(options, arkit::testing::registry());
}

arkit::json::Object resolved(const std::string& command, Options options) {
  return command == "autoscheme" ? arkit::cli::resolved_autoscheme(options, arkit::testing::registry())
                                 : recorded(options);
}

std::string text(const arkit::json::Value& value) {
  return arkit::json::dump(value);
}

QuantizeOptions saved_and_read(const std::string& command, Options options) {
  const TemporaryFolder folder;
  const auto file =
      write_text(folder.path() / "o.toml", arkit::cli::recipe_text(*find_command(command), resolved(command, options)));
  return options_of(command, {"--config", file.string()});
}

TEST(EveryOption, ReachesTheStructTheEngineReads) {
  for (const Case& one : cases()) {
    EXPECT_FALSE(one.is(options_of("quantize", one.before))) << one.name;
    EXPECT_TRUE(one.is(options_of("quantize", one.after))) << one.name;
  }
}

TEST(EveryOption, IsInTheRecord) {
  const arkit::json::Object usual = recorded(options_of("quantize", {"m"}));
  for (const Option& option : find_command("quantize")->options)
    if (!is_of_one_call(option)) EXPECT_TRUE(usual.contains(key_of(std::string(option.name), usual))) << option.name;
  for (const Case& one : cases()) {
    const arkit::json::Object before = recorded(options_of("quantize", one.before));
    const arkit::json::Object after = recorded(options_of("quantize", one.after));
    const std::string key = key_of(one.name, after);
    EXPECT_NE(text(before.at(key)), text(after.at(key))) << one.name;
  }
}

TEST(EveryOption, IsSavedAndGivesTheSameRunAgain) {
  for (const Case& one : cases()) {
    const QuantizeOptions options = options_of("quantize", one.after);
    const QuantizeOptions again = saved_and_read("quantize", options);
    if (find_option(*find_command("quantize"), one.name)->row.unsaved) {
      EXPECT_FALSE(one.is(again)) << one.name << ": a file that was saved by a dry run runs";
      continue;
    }
    EXPECT_EQ(text(recorded(again)), text(recorded(options))) << one.name;
    EXPECT_TRUE(one.is(again)) << one.name;
  }
}

TEST(EveryOption, OfAutoschemeIsSavedToo) {
  const Command& command = *find_command("autoscheme");
  for (const Case& one : cases()) {
    if (find_option(command, one.name) == nullptr || one.name == "bits" || one.name == "model") continue;
    if (one.name == "scale_search") continue;  // of a scheme, and here are options
    const bool has_mix = one.before == kMix;
    const QuantizeOptions options =
        options_of("autoscheme", has_mix ? one.after : kMix + Words(one.after.begin() + 1, one.after.end()));
    EXPECT_NE(text(resolved("autoscheme", options)), text(resolved("autoscheme", options_of("autoscheme", kMix))))
        << one.name;
    EXPECT_EQ(text(resolved("autoscheme", saved_and_read("autoscheme", options))),
              text(resolved("autoscheme", options)))
        << one.name;
  }
}

TEST(EveryOption, SavedFilesHoldTheValuesOfTheRecipe) {
  const std::string text = arkit::cli::recipe_text(*find_command("quantize"), recorded(options_of("quantize", {"m"})));
  for (const char* line :
       {"\niters = 200\n", "\nlr = 0.005\n", "\nminmax_lr = 0.005\n", "\nnsamples = 128\n", "\nseqlen = 2048\n",
        "\nbatch_size = 8\n", "\nenable_minmax_tuning = true\n", "\nenable_quanted_input = true\n",
        "\nrecipe = 'default'\n", "\nbits = 4\n", "\ngroup_size = 128\n", "\nsym = true\n", "\nact_bits = 16\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
  const std::string rtn =
      arkit::cli::recipe_text(*find_command("quantize"), recorded(options_of("quantize", {"m", "--recipe", "rtn"})));
  EXPECT_NE(rtn.find("\ndisable_opt_rtn = true\n"), std::string::npos) << rtn;
  EXPECT_EQ(rtn.find("\nlr ="), std::string::npos) << rtn;  // nothing is tuned
  const std::string best = arkit::cli::recipe_text(
      *find_command("quantize"),
      resolved("quantize", options_of("quantize", {"m", "--recipe", "best", "--scheme", "W2A16"})));
  for (const char* line : {"\nenable_alg_ext = true\n", "\nnot_use_best_mse = true\n", "\nnblocks = 2\n"})
    EXPECT_NE(best.find(line), std::string::npos) << line << best;
}

TEST(EveryOption, ABudgetTypedAsBitsIsSavedAsABudget) {
  const QuantizeOptions options = options_of("quantize", {"m", "--options", "W2A16,W4A16", "--bits", "3.5"});
  EXPECT_EQ(options.auto_scheme.avg_bits, std::vector<double>{3.5});
  EXPECT_EQ(saved_and_read("quantize", options).auto_scheme.avg_bits, std::vector<double>{3.5});
}

// Both names of a pair, true and false, on the command line and in a file.
TEST(FlagPairs, MeanOppositeThingsWhereverTheyAreWritten) {
  int pairs = 0;
  const Command& command = *find_command("quantize");
  for (const Option& option : command.options) {
    const Option* other = option.excludes.empty() ? nullptr : find_option(command, option.excludes);
    if (option.type != Type::flag || other == nullptr || other->type != Type::flag || is_of_one_call(option)) continue;
    ++pairs;
    const std::string yes(option.name), no(option.excludes);
    const auto line = [&](const Words& words) { return text(recorded(options_of("quantize", Words{"m"} + words))); };
    const auto file = [&](const std::string& content) {
      const TemporaryFolder folder;
      return line({"--config", write_text(folder.path() / "o.toml", content).string()});
    };
    const std::string on = line({"--" + yes}), off = line({"--" + no});
    EXPECT_NE(on, off) << yes;
    EXPECT_EQ(line({"--" + yes + "=true"}), on) << yes;
    EXPECT_EQ(line({"--" + no + "=false"}), on) << yes;
    EXPECT_EQ(line({"--" + yes + "=false"}), off) << yes;
    EXPECT_EQ(line({"--" + yes, "--" + no + "=false"}), on) << yes;
    EXPECT_EQ(file(yes + " = true"), on) << yes;
    EXPECT_EQ(file(no + " = false"), on) << yes;
    EXPECT_EQ(file(yes + " = false"), off) << yes;
    EXPECT_EQ(file(no + " = true"), off) << yes;
    EXPECT_EQ(file(yes + " = false\n" + no + " = true"), off) << yes;
    for (const Words& both : {Words{"--" + yes, "--" + no}, Words{"--" + yes + "=false", "--" + no + "=false"}})
      EXPECT_NE(refusal(ErrorCode::usage, [&] { (void)line(both); }).find("contradict each other"), std::string::npos);
    EXPECT_NE(refusal(ErrorCode::usage, [&] { (void)file(yes + " = true\n" + no + " = true"); }).find("contradict"),
              std::string::npos);
    // What is typed overrules the file, under whichever name.
    const TemporaryFolder folder;
    const std::string config = write_text(folder.path() / "o.toml", no + " = true").string();
    EXPECT_EQ(line({"--config", config, "--" + yes}), on) << yes;
    EXPECT_EQ(line({"--config", config, "--" + no + "=false"}), on) << yes;
  }
  EXPECT_EQ(pairs, 18);  // both directions of nine
}

TEST(SingleFlags, FalseIsTheOppositeOfTrueAndOverrulesAFile) {
  int flags = 0;
  const Command& command = *find_command("quantize");
  for (const Option& option : command.options) {
    if (option.type != Type::flag || is_of_one_call(option) ||
        (!option.excludes.empty() && find_option(command, option.excludes)->type == Type::flag))
      continue;
    ++flags;
    const std::string name(option.name);
    const Words base = option.group.starts_with("AutoScheme") ? kMix : Words{"m"};
    const auto line = [&](const Words& words) { return text(recorded(options_of("quantize", base + words))); };
    const TemporaryFolder folder;
    const std::string config = write_text(folder.path() / "o.toml", name + " = true").string();
    EXPECT_NE(line({"--" + name}), line({})) << name;
    EXPECT_EQ(line({"--" + name + "=false"}), line({})) << name;
    EXPECT_EQ(line({"--config", config}), line({"--" + name})) << name;
    EXPECT_EQ(line({"--config", config, "--" + name + "=false"}), line({})) << name;
  }
  EXPECT_GE(flags, 11);
}

TEST(SingleFlags, CommonOnesCanBeFalseToo) {
  const arkit::cli::ParsedCommand parsed =
      arkit::cli::parse_command_line({"quantize", "m", "--json=false", "--verbose"}).parsed;
  EXPECT_FALSE(arkit::cli::Arguments(parsed).flag("json"));
  EXPECT_TRUE(arkit::cli::Arguments(parsed).flag("verbose"));
}

// A saved file states what its scheme and its recipe stand for; another one typed does not meet the old values.
TEST(SavedFiles, AreOverruledWithWhatTheirNamesStandFor) {
  const TemporaryFolder folder;
  const auto file =
      write_text(folder.path() / "o.toml",
                 arkit::cli::recipe_text(*find_command("quantize"), recorded(options_of("quantize", {"m"}))));
  const auto again = [&](const Words& words) {
    return options_of("quantize", Words{"--config", file.string()} + words);
  };
  EXPECT_EQ(again({}).overrides.bits, 4);
  EXPECT_EQ(again({"--scheme", "W8A16"}).overrides.bits, std::nullopt);
  EXPECT_EQ(again({"--scheme", "W4A16"}).overrides.bits, 4);
  EXPECT_EQ(again({"--bits", "3"}).overrides.bits, 3);
  EXPECT_EQ(again({"--recipe", "best"}).tuning.iters, std::nullopt);
  EXPECT_EQ(again({"--iters", "9"}).tuning.iters, 9);
  EXPECT_EQ(again({"--model_free"}).tuning.iters, std::nullopt);
  EXPECT_EQ(again({"--disable_minmax_tuning"}).tuning.minmax_lr, std::nullopt);
  EXPECT_EQ(again({"--options", "W2A16,W8A16", "--avg_bits", "4"}).overrides.bits, std::nullopt);
  EXPECT_TRUE(again({"--recipe_file", "r.yaml"}).formats.empty());
  // A file that names no scheme keeps its fields.
  const auto fields = write_text(folder.path() / "f.toml", "bits = 3\n");
  EXPECT_EQ(options_of("quantize", {"m", "--config", fields.string(), "--scheme", "W8A16"}).overrides.bits, 3);
}

TEST(CommandLine, NamesTheModelOnce) {
  EXPECT_EQ(options_of("quantize", {"m", "--model", "m"}).model, "m");
  EXPECT_NE(refusal(ErrorCode::usage,
                    [] {
                      (void)options_of("quantize", {"a", "--model", "b"});
                    })
                .find("given twice"),
            std::string::npos);
}

}  // namespace
}  // namespace options_test
