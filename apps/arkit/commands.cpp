#include "commands.h"

#include <array>

#include <arkit/str.h>

namespace arkit::cli {
namespace {

constexpr std::string_view kScheme = "Scheme";
constexpr std::string_view kMix = "AutoScheme: the best mix of schemes for a budget (docs/AUTOSCHEME.md)";
constexpr std::string_view kTuning = "Tuning (unset = the recipe's value)";
constexpr std::string_view kData = "Calibration data";
constexpr std::string_view kLayers = "Layers";
constexpr std::string_view kOutput = "Output";
constexpr std::string_view kRun = "Run";
constexpr std::string_view kCommon = "Common";

constexpr Option kCommonOptions[] = {
    {"plugin", Type::path, kCommon, "PATH", "", "load a plugin file or a folder of plugins; may be repeated"},
    {"json", Type::flag, kCommon, "", "", "print the result as JSON on stdout; everything else goes to stderr"},
    {"quiet", Type::flag, kCommon, "", "", "only warnings and errors on stderr", "q"},
    {"verbose", Type::flag, kCommon, "", "", "more detail, and the origin of errors", "v"},
    {"help", Type::flag, kCommon, "", "", "this text", "h"},
};

constexpr Option kQuantize[] = {
    {"model", Type::text, kRun, "MODEL", "", "the model, instead of the positional argument",
     "model_name model_name_or_path"},
    {"scheme", Type::text, kScheme, "S", "W4A16", "named scheme ('arkit list schemes'); the options below override it"},
    {"bits", Type::number, kScheme, "N", "", "bits of a weight; with --options the budget, as --avg_bits", "bit"},
    {"group_size", Type::integer, kScheme, "N", "",
     "weights that share a scale; -1 = one group a row, 0 = one a tensor"},
    {"sym", Type::flag, kScheme, "", "", "symmetric weights", "", "asym"},
    {"asym", Type::flag, kScheme, "", "", "asymmetric weights (with zero points)", "", "sym"},
    {"data_type", Type::text, kScheme, "T", "", "number format of weights: int, mx_fp, nv_fp ...", "dtype"},
    {"scale_dtype", Type::text, kScheme, "T", "", "type scales are rounded to", "", "",
     "float16 fp16 bfloat16 bf16 float32 fp32"},
    {"act_bits", Type::integer, kScheme, "N", "", "bits of an activation; 16 = not quantized"},
    {"act_group_size", Type::integer, kScheme, "N", "", "activations that share a scale; -1 = one group a token"},
    {"act_data_type", Type::text, kScheme, "T", "", "number format of activations", "act_dtype"},
    {"act_sym", Type::flag, kScheme, "", "", "symmetric activations", "", "act_asym"},
    {"act_asym", Type::flag, kScheme, "", "", "asymmetric activations", "", "act_sym"},
    {"act_dynamic", Type::flag, kScheme, "", "", "activation scales computed at run time", "", "disable_act_dynamic"},
    {"disable_act_dynamic", Type::flag, kScheme, "", "", "static activation scales, calibrated", "", "act_dynamic"},

    {"options", Type::text, kMix, "A,B", "",
     "schemes to choose from for every layer: names, or fields as in {scheme:W4A16,group_size:32}", "option schemes"},
    {"avg_bits", Type::list, kMix, "X[,Y]", "", "budget in bits a weight, scales included", "target_bits",
     "target_size"},
    {"target_size", Type::bytes, kMix, "SIZE", "", "budget in bytes of the whole export: 3GiB, 900MB or bytes", "",
     "avg_bits"},
    {"bits_accounting", Type::text, kMix, "A", "exact",
     "how bits are counted: exact = bytes of the first format, autoround = AutoRound's formula", "", "",
     "exact autoround"},
    {"ignore_scale_zp_bits", Type::flag, kMix, "", "", "count the codes alone, as AutoRound's flag of this name"},
    {"shared_layers", Type::text, kMix, "A,B", "",
     "layers that get one scheme together, by name, part or regular expression; may be repeated"},
    {"no_share_fused", Type::flag, kMix, "", "",
     "let layers that serving engines fuse (q/k/v, gate/up, experts) get different schemes"},
    {"score", Type::text, kMix, "S", "default",
     "how losses are predicted; tuned = layers are tuned where a choice is close, compat = AutoRound's weight-only "
     "score",
     "", "", "default tuned compat"},
    {"score_nsamples", Type::integer, kMix, "N", "(16)", "samples of scoring"},
    {"score_seqlen", Type::integer, kMix, "N", "(256)", "tokens of each"},
    {"score_batch_size", Type::integer, kMix, "N", "(1)", "samples of one backward pass"},
    {"score_cache", Type::path, kMix, "DIR", "",
     "where scores are kept, under a hash of weights, samples and options; unset = the user's cache folder"},
    {"no_score_cache", Type::flag, kMix, "", "", "score anew and keep nothing"},
    {"refine_seconds", Type::number, kMix, "S", "0",
     "time for exchanges on the measured divergence after the program; 0 = none"},
    {"svg", Type::path, kMix, "FILE", "", "draw loss over size, and bits of every layer"},
    {"save_layer_config", Type::path, kMix, "FILE", "", "write the mix as a TOML file for --layer_config"},

    {"recipe", Type::text, kTuning, "R", "default",
     "a name for a set of tuning defaults ('arkit list recipes'): default, best, light, opt-rtn, rtn"},
    {"recipe_file", Type::path, kTuning, "FILE", "",
     "an llm-compressor recipe (YAML or JSON), which states schemes, layers and tuning and writes files as "
     "llm-compressor does; options of tuning win over it. Options of arkit in a file: --config"},
    {"iters", Type::integer, kTuning, "N", "(200)", "tuning steps a block; 0 = rounding without tuning"},
    {"lr", Type::number, kTuning, "X", "(1 / iters)", "learning rate of the rounding offsets"},
    {"minmax_lr", Type::number, kTuning, "X", "(lr)", "learning rate of the clipping scales"},
    {"momentum", Type::number, kTuning, "X", "0", "momentum of sign descent"},
    {"batch_size", Type::integer, kTuning, "N", "(8)", "samples a step", "bs train_bs"},
    {"gradient_accumulate_steps", Type::integer, kTuning, "N", "1", "batches a step"},
    {"nblocks", Type::integer, kTuning, "N", "1", "decoder blocks tuned together"},
    {"dynamic_max_gap", Type::integer, kTuning, "N", "-1",
     "stop a block after N steps without a better loss; -1 = never"},
    {"disable_minmax_tuning", Type::flag, kTuning, "", "", "do not tune the clipping scales", "",
     "enable_minmax_tuning"},
    {"enable_minmax_tuning", Type::flag, kTuning, "", "", "tune the clipping scales (the default)", "",
     "disable_minmax_tuning"},
    {"disable_quanted_input", Type::flag, kTuning, "", "", "tune on the original model's activations", "",
     "enable_quanted_input"},
    {"enable_quanted_input", Type::flag, kTuning, "", "",
     "tune on activations of the quantized blocks before (the default)", "", "disable_quanted_input"},
    {"enable_norm_bias_tuning", Type::flag, kTuning, "", "", "also tune norm weights and biases"},
    {"not_use_best_mse", Type::flag, kTuning, "", "",
     "keep the last step's parameters, not the best ones (recipe best does so for 2 and 3 bits)", "", "use_best_mse"},
    {"use_best_mse", Type::flag, kTuning, "", "",
     "keep the parameters of the batch with the smallest loss (the default)", "", "not_use_best_mse"},
    {"enable_alg_ext", Type::flag, kTuning, "", "",
     "SignRoundV2: initial scale search and a wider clamp (recipe best does so for 2 and 3 bits)", "",
     "disable_alg_ext"},
    {"disable_alg_ext", Type::flag, kTuning, "", "", "start from the range of the weights (the default)", "",
     "enable_alg_ext"},
    {"enable_adam", Type::flag, kTuning, "", "", "Adam instead of sign descent", "adam"},
    {"enable_neuqi", Type::flag, kTuning, "", "",
     "search scale and zero point of integer weights together (NeUQI); tuning then moves codes only"},
    {"disable_opt_rtn", Type::flag, kTuning, "", "", "plain rounding where nothing is tuned", "", "enable_opt_rtn"},
    {"enable_opt_rtn", Type::flag, kTuning, "", "", "search scales where nothing is tuned", "", "disable_opt_rtn"},
    {"amp_dtype", Type::text, kTuning, "T", "auto",
     "compute type of block forwards; auto = the one this machine multiplies faster (measured once)", "", "",
     "auto bfloat16 float32"},
    {"enable_deterministic_algorithms", Type::flag, kTuning, "", "",
     "fixed order of all sums: the same files for any number of threads"},
    {"seed", Type::integer, kTuning, "N", "42", "seed of sample order and sampling"},

    {"dataset", Type::text, kData, "D", "",
     "names or files, comma separated, or 'self': the model writes its own samples"},
    {"nsamples", Type::integer, kData, "N", "(128)", "calibration samples", "nsample"},
    {"seqlen", Type::integer, kData, "N", "(2048)", "tokens a sample", "seq_len"},

    {"layer_config", Type::text, kLayers, "JSON|FILE", "",
     "per-layer schemes by name, part of a name or regular expression"},
    {"ignore_layers", Type::list, kLayers, "A,B", "",
     "layers that stay in 16 bits, by name, part or regular expression", "fp_layers"},
    {"model_free", Type::flag, kLayers, "", "",
     "round tensor by tensor without knowing the architecture (by itself where iters is 0 and nothing is searched)", "",
     "disable_model_free"},
    {"disable_model_free", Type::flag, kLayers, "", "", "always go through the model family's plugin", "",
     "model_free"},
    {"quant_lm_head", Type::flag, kLayers, "", "", "quantize lm_head too"},
    {"rotation", Type::text, kLayers, "R|JSON", "",
     "rotate before anything is measured: default, hadamard, random_hadamard, quarot, inplace_hadamard, ... "
     "(docs/ROTATIONS.md)"},
    {"algs", Type::text, kTuning, "A,B", "",
     "what is done to weights, in order: transforms ('arkit list transforms'), then signround or rtn: awq,signround; "
     "awq alone rounds. A transform takes its settings as JSON: awq{\"n_grid\": 40}",
     "algorithm algorithms alg alg_config alg_configs"},
    {"to_quant_block_names", Type::list, kLayers, "A,B", "",
     "only these block lists (model.layers) or blocks (model.layers.3); others stay in 16 bits"},
    {"static_kv_dtype", Type::text, kLayers, "T", "",
     "calibrated scales for keys and values in the cache: fp8 or nvfp4"},
    {"static_kv_granularity", Type::text, kLayers, "G", "tensor", "one such scale a module or a head", "", "",
     "tensor head"},
    {"static_attention_dtype", Type::text, kLayers, "T", "",
     "calibrated scales for queries, keys and values: attention itself in fp8"},
    {"static_attention_granularity", Type::text, kLayers, "G", "tensor", "one such scale a module or a head", "", "",
     "tensor head"},
    {"num_hidden_layers", Type::integer, kLayers, "N", "", "use a model cut to its first N blocks", "debug_layer_num"},
    {"on_indivisible", Type::text, kLayers, "P", "", "what to do with a layer the group size does not divide", "", "",
     "error skip pad"},
    {"allow_unmatched", Type::flag, kLayers, "", "", "a layer pattern that matches nothing is a warning, not an error"},

    {"format", Type::list, kOutput, "F[,F2]", "auto_round", "formats to write ('arkit list formats')", "formats"},
    {"runtime", Type::text, kOutput, "R", "",
     "refuse what this serving engine would not load ('arkit list runtimes'), or a rule file"},
    {"output_dir", Type::path, kOutput, "DIR", "(<model>-<scheme>)",
     "where to write; several formats get a subfolder each", "o"},
    {"max_shard_size", Type::bytes, kOutput, "SIZE", "5GB",
     "largest weight file: 5GB, 200MB, 64KB or bytes (1GB = 1000^3)"},
    {"force", Type::flag, kOutput, "", "",
     "replace the export in the output folder, all of it and nothing else, when the new one is complete"},

    {"config", Type::path, kRun, "FILE", "",
     "read options of this command from a TOML file first (an llm-compressor recipe: --recipe_file)"},
    {"save_config", Type::path, kRun, "FILE", "",
     "write every option as this run uses it into a TOML file for --config, before the run"},
    {"dry_run", Type::flag, kRun, "", "", "print the plan, its size and memory; write nothing"},
    {"device_map", Type::text, kRun, "D", "cpu", "device to tune on", "device devices"},
};

// The options of `quantize` with these names, as a table of another command.
template <size_t N>
constexpr std::array<Option, N> picked(const std::string_view (&names)[N]) {
  std::array<Option, N> options{};
  for (size_t i = 0; i < N; ++i)
    for (const Option& option : kQuantize)
      if (option.name == names[i]) options[i] = option;
  return options;
}

constexpr std::string_view kAutoSchemeNames[] = {"model",
                                                 "options",
                                                 "bits",
                                                 "avg_bits",
                                                 "target_size",
                                                 "bits_accounting",
                                                 "ignore_scale_zp_bits",
                                                 "shared_layers",
                                                 "no_share_fused",
                                                 "score",
                                                 "score_nsamples",
                                                 "score_seqlen",
                                                 "score_batch_size",
                                                 "score_cache",
                                                 "no_score_cache",
                                                 "refine_seconds",
                                                 "svg",
                                                 "save_layer_config",
                                                 "group_size",
                                                 "sym",
                                                 "asym",
                                                 "data_type",
                                                 "scale_dtype",
                                                 "act_bits",
                                                 "act_group_size",
                                                 "act_data_type",
                                                 "act_sym",
                                                 "act_asym",
                                                 "act_dynamic",
                                                 "disable_act_dynamic",
                                                 "amp_dtype",
                                                 "seed",
                                                 "dataset",
                                                 "nsamples",
                                                 "seqlen",
                                                 "batch_size",
                                                 "layer_config",
                                                 "ignore_layers",
                                                 "quant_lm_head",
                                                 "rotation",
                                                 "to_quant_block_names",
                                                 "num_hidden_layers",
                                                 "on_indivisible",
                                                 "allow_unmatched",
                                                 "format",
                                                 "runtime",
                                                 "max_shard_size",
                                                 "config",
                                                 "save_config",
                                                 "device_map"};
constexpr auto kAutoScheme = picked(kAutoSchemeNames);

constexpr Option kEvalPpl[] = {
    {"text", Type::path, kRun, "FILE", "", "text to measure", "", "ids"},
    {"ids", Type::path, kRun, "FILE", "", "safetensors file of token ids to measure", "", "text"},
    {"against", Type::text, kRun, "MODEL", "", "reference model: adds KL divergence and top-1 agreement"},
    {"seqlen", Type::integer, kRun, "N", "512", "tokens a window", "seq_len"},
    {"max_windows", Type::integer, kRun, "N", "", "measure only the first N windows"},
    {"batch_size", Type::integer, kRun, "N", "4", "windows computed together", "bs"},
    {"dtype", Type::text, kRun, "T", "float32", "compute type", "", "", "auto float32 bfloat16"},
    {"backend", Type::text, kRun, "B", "", "backend for packed layers; unset = the best available"},
    {"resident", Type::text, kRun, "R", "auto",
     "blocks in memory at once; auto keeps all where they are needed again and fit", "", "", "auto all one"},
};

constexpr Option kEvalLambada[] = {
    {"file", Type::path, kRun, "FILE", "", "JSON lines with a \"text\" each whose last word is asked for"},
    {"limit", Type::integer, kRun, "N", "", "only the first N texts"},
    {"batch_size", Type::integer, kRun, "N", "8", "texts computed together", "bs"},
    {"dtype", Type::text, kRun, "T", "float32", "compute type", "", "", "auto float32 bfloat16"},
    {"backend", Type::text, kRun, "B", "", "backend for packed layers; unset = the best available"},
    {"resident", Type::text, kRun, "R", "auto",
     "blocks in memory at once; auto keeps all where they are needed again and fit", "", "", "auto all one"},
};

constexpr Option kGenerate[] = {
    {"prompt", Type::path, kRun, "TEXT", "", "text to continue; may be repeated"},
    {"max_new_tokens", Type::integer, kRun, "N", "64", "tokens to write at most"},
    {"temperature", Type::number, kRun, "X", "0", "sampling temperature; 0 = greedy"},
    {"top_p", Type::number, kRun, "X", "1", "sample from the smallest set of tokens with this probability"},
    {"top_k", Type::integer, kRun, "N", "0", "sample from the N likeliest tokens; 0 = off"},
    {"seed", Type::integer, kRun, "N", "42", "seed of sampling"},
    {"chat", Type::flag, kRun, "", "", "wrap each prompt in the model's chat template"},
    {"dtype", Type::text, kRun, "T", "auto", "compute type", "", "", "auto float32 bfloat16"},
    {"backend", Type::text, kRun, "B", "", "backend for packed layers; unset = the best available"},
};

constexpr Option kForward[] = {
    {"input_ids", Type::path, kRun, "FILE", "", "safetensors file with input_ids [B,S] (attention_mask, position_ids)"},
    {"output", Type::path, kRun, "FILE", "", "safetensors file to write the logits to", "o"},
    {"dtype", Type::text, kRun, "T", "float32", "compute type", "", "", "auto float32 bfloat16"},
    {"backend", Type::text, kRun, "B", "", "backend for packed layers; unset = the best available"},
    {"resident", Type::text, kRun, "R", "auto",
     "blocks in memory at once; auto keeps all where they are needed again and fit", "", "", "auto all one"},
};

constexpr Option kTokenize[] = {
    {"text_file", Type::path, kRun, "FILE", "", "text to tokenize"},
};

constexpr Option kVerify[] = {
    {"against", Type::text, kRun, "SRC", "(from arkit-run.json)", "source model to compare with"},
    {"resident", Type::text, kRun, "R", "auto",
     "blocks in memory at once; auto keeps all where they are needed again and fit", "", "", "auto all one"},
};

constexpr Option kConvert[] = {
    {"format", Type::list, kOutput, "F[,F2]", "", "formats to write ('arkit list formats')", "formats"},
    {"output_dir", Type::path, kOutput, "DIR", "(<export>-<format>)",
     "where to write; several formats get a subfolder each", "o"},
    {"allow_rounding", Type::flag, kOutput, "", "",
     "scales and offsets the format cannot hold exactly are rounded to float16, by at most 0.05 %; codes and zero "
     "points "
     "never change"},
    {"max_shard_size", Type::bytes, kOutput, "SIZE", "5GB",
     "largest weight file: 5GB, 200MB, 64KB or bytes (1GB = 1000^3)"},
    {"force", Type::flag, kOutput, "", "",
     "replace the export in the output folder, all of it and nothing else, when the new one is complete"},
    {"dry_run", Type::flag, kRun, "", "", "try every layer and print the plan and its size; write nothing"},
};

constexpr Option kDiff[] = {
    {"text", Type::path, kRun, "FILE", "", "also compare logits on this text", "", "ids"},
    {"ids", Type::path, kRun, "FILE", "", "also compare logits on the token ids of this safetensors file", "", "text"},
    {"seqlen", Type::integer, kRun, "N", "512", "tokens a window of the text", "seq_len"},
    {"max_windows", Type::integer, kRun, "N", "", "compare only the first N windows"},
    {"batch_size", Type::integer, kRun, "N", "4", "windows computed together", "bs"},
    {"dtype", Type::text, kRun, "T", "float32", "compute type", "", "", "auto float32 bfloat16"},
    {"backend", Type::text, kRun, "B", "", "backend for packed layers; unset = the best available"},
    {"exit_code", Type::flag, kRun, "", "", "exit with 6 when weights, tensors or configuration differ"},
    {"resident", Type::text, kRun, "R", "auto",
     "blocks in memory at once; auto keeps all where they are needed again and fit", "", "", "auto all one"},
};

constexpr Option kPluginInspect[] = {
    {"symbols", Type::flag, kRun, "", "", "also print the exported symbols"},
};

constexpr Command kCommands[] = {
    {"quantize", "MODEL", "quantize a model and write it in one or several formats", kQuantize,
     "arkit quantize meta-llama/Llama-3.2-1B --scheme W4A16 --output_dir llama-w4\n"
     "arkit quantize ./model --bits 3 --group_size 64 --asym --recipe best --format auto_gptq\n"
     "arkit quantize ./model --options MXFP4,MXFP8 --avg_bits 4.5 --format llm_compressor\n"
     "arkit quantize ./model --dataset self --iters 50 --dry-run"},
    {"autoscheme", "MODEL", "find the best mix of schemes for budgets, without quantizing", kAutoScheme,
     "arkit autoscheme ./llama --options W2A16,W4A16,W8A16 --avg_bits 3,4,5 --dataset self --svg mix.svg\n"
     "arkit autoscheme ./llama --options MXFP4,MXFP8 --target-size 3GiB --save-layer-config mix.toml"},
    {"list",
     "WHAT",
     "plugins, schemes, formats, runtimes, backends, models, transforms, recipes or datasets",
     {},
     "arkit list formats\narkit list plugins --json"},
    {"inspect",
     "MODEL",
     "tensors, schemes, sizes and bits per weight of a model or file",
     {},
     "arkit inspect ./llama-w4 --json"},
    {"eval ppl", "MODEL", "perplexity on a text", kEvalPpl,
     "arkit eval ppl ./llama-w4 --text wiki.txt --seqlen 512 --against ./llama"},
    {"eval lambada", "MODEL", "accuracy and perplexity of the last word of each text", kEvalLambada,
     "arkit eval lambada ./llama-w4 --file lambada_test.jsonl --limit 500"},
    {"generate", "MODEL", "continue a text", kGenerate,
     "arkit generate ./llama-w4 --prompt 'The capital of France is'"},
    {"forward", "MODEL", "logits of given token ids", kForward,
     "arkit forward ./model --input_ids ids.safetensors --output logits.safetensors"},
    {"tokenize", "MODEL", "token ids of a text", kTokenize, "arkit tokenize ./model --text-file a.txt --json"},
    {"verify", "DIR", "reopen an export and compare it with its source", kVerify,
     "arkit verify ./llama-w4 --against ./llama"},
    {"convert", "DIR", "write an export in another format without rounding it again", kConvert,
     "arkit convert ./llama-w4 --format auto_gptq -o llama-w4-gptq\n"
     "arkit convert ./gptq-from-elsewhere --format auto_round,llm_compressor"},
    {"diff", "A B", "compare two exports, or an export and a model", kDiff,
     "arkit diff ./llama-w4 ./llama-w4-gptq --exit-code\n"
     "arkit diff ./llama ./llama-w4 --text wiki.txt --json"},
    {"plugin inspect", "FILE", "describe a plugin file, also a refused one, without running it", kPluginInspect,
     "arkit plugin inspect ./libarkit_scheme_nf4.so"},
    {"plugin new",
     "KIND NAME [DIR]",
     "write a project for a new scheme, exporter, backend, model or transform plugin",
     {},
     "arkit plugin new scheme nf4\narkit plugin new exporter my_format ./my_format"},
    {"help", "[COMMAND]", "this overview, or the help of a command", {}, "arkit help quantize"},
};

}  // namespace

std::span<const Command> commands() {
  return kCommands;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : kCommands)
    if (command.name == name) return &command;
  return nullptr;
}

std::span<const Option> common_options() {
  return kCommonOptions;
}

const Option* find_option(const Command& command, std::string_view name) {
  for (const std::span<const Option> options : {command.options, common_options()})
    for (const Option& option : options) {
      if (option.name == name) return &option;
      for (const std::string& alias : split(option.aliases, ' '))
        if (alias == name) return &option;
    }
  return nullptr;
}

std::vector<std::string> option_names(const Command& command) {
  std::vector<std::string> names;
  for (const std::span<const Option> options : {command.options, common_options()})
    for (const Option& option : options) names.emplace_back(option.name);
  return names;
}

bool has_fixed_default(const Option& option) {
  return !option.default_value.empty() && option.default_value.front() != '(';
}

}  // namespace arkit::cli
