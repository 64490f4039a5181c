#pragma once
// What each command of `arkit` does, as one function from named options to a result. `apps` fills the options from the
// command line and prints the result; nothing here touches a terminal. All functions throw arkit::Error.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arkit/engine/open_source.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

// Options of SignRound as users type them; unset = the recipe's value, then the default in brackets
// (docs/spec/schemes.md 9).
struct TuningOptions {
  std::optional<int64_t> iters;         // [200]; 0 = RTN / OPT-RTN
  std::optional<double> lr, minmax_lr;  // [1 / iters]
  double momentum = 0.0;
  std::optional<int64_t> nsamples, seqlen, batch_size;  // [128, 2048, 8]
  int64_t gradient_accumulate_steps = 1;
  // Unset = 1, but 2 for 2 and 3 bits in the recipe `best` (decide_for_bits, quant/recipes.h).
  std::optional<int64_t> nblocks;
  int64_t dynamic_max_gap = -1;
  bool enable_minmax_tuning = true;
  bool enable_quanted_input = true;
  bool enable_norm_bias_tuning = false;
  // Unset = false, but for 2 and 3 bits in the recipe `best` (decide_for_bits, quant/recipes.h).
  std::optional<bool> not_use_best_mse, enable_alg_ext;
  bool enable_adam = false;
  bool enable_neuqi = false;            // searched grids of integer weights, frozen while tuning (docs/spec/rtn.md 6)
  std::optional<bool> disable_opt_rtn;  // unset = decided by the scheme (docs/spec/rtn.md 2)
  bool enable_deterministic_algorithms = false;
  int64_t seed = 42;
  // Compute dtype of block forwards: auto (bf16 where the CPU has it), bfloat16, float32.
  std::string amp_dtype = "auto";
};

// Fields of the scheme that override the preset; unset = the preset's.
struct SchemeOverrides {
  std::optional<int> bits, act_bits;
  std::optional<int64_t> group_size, act_group_size;
  std::optional<bool> sym, act_sym, act_dynamic;
  std::optional<std::string> data_type, act_data_type, scale_dtype;
};

// Static scales of attention (docs/spec/calibration.md 10); an empty type = none.
struct AttentionOptions {
  std::string kv_dtype, attention_dtype;  // fp8; nvfp4 for kv_dtype only. attention_dtype asks for kv_dtype too
  std::string kv_granularity = "tensor", attention_granularity = "tensor";  // or "head"
  double averaging = 0.0;                                                   // see AttentionQuant
};

// The best mix of schemes for a budget (docs/spec/auto-scheme.md 1). No options = off.
struct AutoSchemeOptions {
  std::vector<std::string> options;       // preset names; SchemeOverrides (bits apart) apply to each
  std::vector<double> avg_bits;           // budgets in bits a weight; `quantize` takes one
  std::optional<int64_t> target_size;     // or the bytes of everything the export writes
  std::string bits_accounting = "exact";  // the first format's bytes; "autoround": docs/spec/auto-scheme.md 4
  bool ignore_scale_zp_bits = false;      // with "autoround": count the codes alone
  std::string score = "default";          // "compat" = AutoRound 0.16.1's, docs/spec/auto-scheme.md 5
  std::vector<std::vector<std::string>> shared_layers;  // names, patterns or parts of names, docs/spec/auto-scheme.md 8
  bool share_fused_layers = true;                       // groups of the model family: q/k/v, gate/up, experts
  std::optional<int64_t> nsamples, seqlen, batch_size;  // of scoring [16, 256 (128 for experts), 1]
  double refine_seconds = 0.0;      // time for exchanges on the measured loss after the program; 0 = none
  std::filesystem::path cache_dir;  // empty = "$XDG_CACHE_HOME/arkit/autoscheme"
  bool use_cache = true;
  std::filesystem::path svg, save_layer_config;  // files to write; empty = none
};

struct QuantizeOptions {
  std::string model;   // folder, .gguf file or hub id
  std::string scheme;  // empty = the one a format stands for (Exporter::implied_scheme), else W4A16
  SchemeOverrides overrides;
  std::vector<std::string> formats{"auto_round"};
  std::filesystem::path output_dir;  // empty = "<model name>-<scheme>" in the working directory
  std::string recipe = "default";
  // An llm-compressor recipe, which states scheme, layers and tuning; empty = none. Options set in `tuning` win over
  // it; `scheme`, `overrides`, `layer_config` and the like must be left alone. `formats` may then be empty.
  std::filesystem::path recipe_file;
  TuningOptions tuning;
  std::string dataset;  // docs/spec/calibration.md 1, or "self"; empty = none given
  // Of hub data sets by id, where `dataset` names no revision: the commits of a run that is repeated.
  std::map<std::string, std::string> data_commits;
  std::string layer_config;  // JSON text or relaxed form, or a file name (.json, .toml)
  std::vector<std::string> ignore_layers;
  std::vector<std::string> to_quant_block_names;  // block lists to quantize ("model.layers"); empty = all
  bool quant_lm_head = false;
  AutoSchemeOptions auto_scheme;  // with options, `scheme` is only the name of what the mix starts from
  std::string rotation;           // docs/spec/rotations.md 1; empty = none
  // What is done to weights, in order: transforms, then signround or rtn ("awq,signround"); a transform may bring its
  // settings as JSON. Empty = tuning as `tuning` says.
  std::string algs;
  AttentionOptions attention;
  // Serving engine whose rules are errors before anything starts: a name of 'arkit list runtimes' or a rule file; empty
  // = the rules of all engines together are warnings.
  std::string runtime;
  // Rounding from tensor names and shapes alone, without a model family and its forward pass; unset = wherever the
  // method allows it (iters 0, no scale search, no static activations).
  std::optional<bool> model_free;
  std::optional<int64_t> num_hidden_layers;  // quantize a model cut to its first N blocks
  std::string on_indivisible;                // "", "error", "skip", "pad": "" = AutoRound's behaviour with a warning
  int64_t max_shard_bytes = int64_t{5} * 1000 * 1000 * 1000;
  std::string device_map = "cpu";
  bool dry_run = false;
  bool low_disk = false;  // a model of a hub is downloaded shard by shard, and each is deleted after use (docs/HUB.md)
  bool force = false;
  bool allow_unmatched = false;  // an unmatched layer_config / ignore_layers pattern is only a warning
  std::string command_line;      // recorded in the model card
};

struct EvalOptions {
  std::string model;
  std::filesystem::path text_file, ids_file;  // exactly one
  std::string against;  // optional reference model: adds KL(reference || model) and top-1 agreement
  int64_t seqlen = 512;
  std::optional<int64_t> max_windows;
  int64_t batch_size = 4;
  std::string dtype = "float32";
  std::string backend;                   // empty = best available
  std::string device;                    // "cpu", "cuda:1"; empty = the best one
  std::string compute = "auto";          // "float", "int8": of backends that round activations (docs/BACKENDS.md)
  std::filesystem::path prepared_cache;  // folder for layers made ready, so that the next run need not; empty = none
  // Blocks run whole, as `generate` runs them, with keys and values of this type; empty = layer by layer, without a cache.
  std::string kv_cache_dtype;
  int64_t head_bits = 16;  // with kv_cache_dtype: as of GenerateOptions
};

// Distance of a model from a reference, token by token: KL(reference || model).
struct DivergenceOptions {
  std::string model;
  std::string reference;                      // folder, .gguf file or hub id
  std::filesystem::path text_file, ids_file;  // one of them, or prompts
  int64_t seqlen = 512;
  std::optional<int64_t> max_windows;
  // Not the tokens of the text are what both are asked about, but those the reference itself writes (greedily) behind
  // each window, or behind each of `prompts`.
  bool along_generation = false;
  std::vector<std::string> prompts;
  int64_t max_new_tokens = 64;  // written behind each
  int64_t batch_size = 4;
  std::string dtype = "float32";
  std::string backend;                   // empty = best available
  std::string device;                    // "cpu", "cuda:1"; empty = the best one
  std::string compute = "auto";          // as of EvalOptions
  std::filesystem::path prepared_cache;  // folder for layers made ready, so that the next run need not; empty = none
};

struct LastWordOptions {
  std::string model;
  std::filesystem::path file;    // JSON lines with a "text" each, LAMBADA's form
  std::optional<int64_t> limit;  // the first N texts; unset = all
  int64_t batch_size = 8;
  std::string dtype = "float32";
  std::string backend;                   // empty = best available
  std::string device;                    // "cpu", "cuda:1"; empty = the best one
  std::string compute = "auto";          // "float", "int8": of backends that round activations (docs/BACKENDS.md)
  std::filesystem::path prepared_cache;  // folder for layers made ready, so that the next run need not; empty = none
};

// SamplingOptions (sampling.h) as users ask for them. Unset = as they are by themselves, or with model_defaults as
// generation_config.json of the model says.
struct SamplingWishes {
  std::optional<double> temperature, top_p;
  std::optional<int64_t> top_k;
  std::optional<double> min_p, repetition_penalty, frequency_penalty, presence_penalty;
  std::vector<std::string> logit_bias;  // "ID:BIAS" each
  int64_t seed = 42;
};

struct GenerateOptions {
  std::string model;
  std::vector<std::string> prompts;
  int64_t max_new_tokens = 64;
  SamplingWishes sampling;
  bool model_defaults = false;
  std::vector<std::string> stop;               // texts that end an output and are no part of it
  std::filesystem::path json_schema, grammar;  // files of what outputs may be (docs/GRAMMARS.md); at most one
  bool chat = false;                           // wrap each prompt in the model's chat template
  std::string dtype = "auto", backend, device, compute = "auto";
  std::filesystem::path prepared_cache;
  int64_t head_bits = 8;  // of a head that is stored in 16 bits, while a backend runs whole blocks: 6, 8 or 16
  std::string kv_cache_dtype = "auto";  // of keys and values: "float32", "bfloat16", "int8"
};

struct ChatOptions {
  std::string model;
  std::string system;              // the first system message; empty = what the chat template does without one
  int64_t max_new_tokens = 1024;   // of an answer
  int64_t context_tokens = 16384;  // of the whole conversation; cut to the model's positions
  SamplingWishes sampling;
  bool model_defaults = true;
  std::vector<std::string> stop;
  std::filesystem::path json_schema, grammar;  // of each answer, as of GenerateOptions
  std::string dtype = "auto", backend, device, compute = "auto";
  std::filesystem::path prepared_cache;
  int64_t head_bits = 8;  // these two as of GenerateOptions
  std::string kv_cache_dtype = "auto";
};

struct ForwardOptions {
  std::string model;
  std::filesystem::path input_ids, output;  // safetensors: input_ids [B,S] (and attention_mask, position_ids) -> logits
  std::string dtype = "float32", backend, device, compute = "auto";
  std::filesystem::path prepared_cache;
};

struct VerifyOptions {
  std::filesystem::path directory;
  std::string against;  // source model; empty = the one arkit-run.json names, if it is still there
};

struct ConvertOptions {
  std::string model;                 // folder of an export
  std::vector<std::string> formats;  // at least one
  std::filesystem::path output_dir;  // empty = "<folder>-<format>" in the working directory
  // Scales and offsets the format cannot store exactly are rounded to its type instead of being refused; codes and zero
  // points never change.
  bool allow_rounding = false;
  int64_t max_shard_bytes = int64_t{5} * 1000 * 1000 * 1000;
  bool dry_run = false;
  bool force = false;
  std::string command_line;  // recorded in the model card
};

struct DiffOptions {
  std::string a, b;                           // exports or models
  std::filesystem::path text_file, ids_file;  // at most one: also compare logits on it
  int64_t seqlen = 512;
  std::optional<int64_t> max_windows;
  int64_t batch_size = 4;
  std::string dtype = "float32";
  std::string backend;                   // empty = best available
  std::string device;                    // "cpu", "cuda:1"; empty = the best one
  std::string compute = "auto";          // "float", "int8": of backends that round activations (docs/BACKENDS.md)
  std::filesystem::path prepared_cache;  // folder for layers made ready, so that the next run need not; empty = none
};

// Each returns what --json prints; the human form is made from it. schema_version is set by the command.
[[nodiscard]] ARKIT_EXPORT json::Object quantize(const QuantizeOptions&, const Registry&, Reporter&);
// Scores, allocates and reports; writes nothing but what AutoSchemeOptions names. Takes what quantize takes.
[[nodiscard]] ARKIT_EXPORT json::Object autoscheme(const QuantizeOptions&, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object evaluate_perplexity(const EvalOptions&, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object evaluate_divergence(const DivergenceOptions&, const Registry&, Reporter&);
// LAMBADA's question: how likely is the last word of each text, and is it what greedy decoding writes?
[[nodiscard]] ARKIT_EXPORT json::Object evaluate_last_words(const LastWordOptions&, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object generate(const GenerateOptions&, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object forward(const ForwardOptions&, const Registry&, Reporter&);
// "passed": false when a check failed; the command then exits 6.
[[nodiscard]] ARKIT_EXPORT json::Object verify(const VerifyOptions&, const Registry&, Reporter&);
// Writes an export in other formats without rounding anything again, reopens what it wrote and compares it layer by
// layer. Throws ErrorCode::unsupported, before anything is written, when a format cannot hold a layer exactly.
[[nodiscard]] ARKIT_EXPORT json::Object convert(const ConvertOptions&, const Registry&, Reporter&);
// "equal": whether weights, tensors and configuration are the same, in whatever format.
[[nodiscard]] ARKIT_EXPORT json::Object diff(const DiffOptions&, const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object inspect_model(const std::string& model_or_file, const Registry&);
[[nodiscard]] ARKIT_EXPORT json::Object tokenize(const std::string& model, const std::filesystem::path& text_file,
                                                 const Registry&);

// Lists for `arkit list`: schemes, formats (the format x scheme matrix from supports()), backends, models, recipes,
// datasets, runtimes, transforms, plugins.
[[nodiscard]] ARKIT_EXPORT json::Object list_things(const std::string& what, const Registry&);

}  // namespace arkit
