#pragma once
// Plain data every part of arkit talks in: how a tensor is quantized, what a layer is, what a plan says, and Verdict,
// the answer to "can you?". No LibTorch here. Open sets (data types, formats, packings) are strings that anyone may
// extend; closed sets are enums.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/export.h>

namespace arkit {

// The answer to "can you?". A no always carries a reason a user can act on.
struct [[nodiscard]] Verdict {
  std::string why_not;
  explicit operator bool() const noexcept { return why_not.empty(); }
  static Verdict yes() { return {}; }
  static Verdict no(std::string why) { return {std::move(why)}; }
};

inline constexpr std::string_view kSearchRule = "search:";  // begins an observer that names a search

// How one tensor is quantized. bits >= 16 means "left in floating point".
struct TensorQuant {
  std::string data_type = "int";  // names the Scheme that understands the rest: int, mx_fp, nv_fp, fp, int_asym_dq ...
  int bits = 16;
  // >0: consecutive elements along in_features; -1: one group a row (activations: a token); 0: per tensor
  int64_t group_size = 128;
  int64_t block_rows = 0;  // >0: two-dimensional blocks of block_rows x group_size (FP8_BLOCK: 128 x 128)
  bool sym = true;
  bool dynamic = true;                  // activations only: scales computed at run time (true) or calibrated (false)
  std::string scale_dtype = "float16";  // dtype the scale is rounded to: float16, bfloat16, float32
  int super_bits = 0;                   // double quantization (GGUF K types): bits of the quantized scales; 0 = none
  int64_t super_group_size = 0;         // groups in one super-block
  // How a scale follows from the values it is for. Empty = the data type's own rule. Weights: "minmax" and "mse" are
  // compressed-tensors' observers, which compute in scale_dtype and give positive scales. Activations with static
  // scales: "minmax" = the moving average of the batches' ranges instead of their extremes. Activations of MX types:
  // "compressed-tensors" = exponents round up from a mantissa of 1.75, as its observer does. Weights of schemes that search
  // scales in several ways (SchemeTraits::scale_searches): kSearchRule and the name of one, but for the first.
  std::string observer = {};

  [[nodiscard]] bool quantized() const noexcept { return bits < 16; }
  bool operator==(const TensorQuant&) const = default;
};

// Weight and input activation of one layer. `act.bits` 16 = activations stay in floating point.
struct LayerQuant {
  TensorQuant weight;
  TensorQuant act{.data_type = "float"};
  std::string rotation;  // name of an online rotation of the input, empty = none

  [[nodiscard]] bool quantized() const noexcept { return weight.quantized() || act.quantized(); }
  bool operator==(const LayerQuant&) const = default;
};

// Static scales of what attention computes with (docs/spec/calibration.md 10): keys and values as the cache keeps them,
// queries where attention itself runs in few bits. bits 16 = stays in floating point. Weights are not touched by it.
struct AttentionQuant {
  TensorQuant kv{.data_type = "float"}, query{.data_type = "float"};
  bool kv_per_head = false, query_per_head = false;  // one scale a head instead of one a module
  // How the ranges of calibration batches become one: 0 = the extremes of all, c > 0 = moving averages of minimum and
  // maximum, range = range * (1 - c) + batch * c (llm-compressor's "minmax" observer).
  double averaging = 0.0;

  [[nodiscard]] bool quantized() const noexcept { return kv.quantized() || query.quantized(); }
  bool operator==(const AttentionQuant&) const = default;
};

// An attention module with keys and values, as AttentionQuant concerns it.
struct AttentionPlan {
  std::string name;    // module as in the checkpoint: "model.layers.0.self_attn"
  int64_t block = -1;  // index of its decoder block
  int64_t heads = 0, kv_heads = 0;
  int64_t key_dim = 0, value_dim = 0;  // of one head
};

// A named scheme users type ("W4A16"). A mixed preset (docs/spec/schemes.md 3) gives layers that are no routed experts
// a scheme of their own: "W4A16_MIXED" rounds experts to 4 bits and the rest to 8.
struct Preset {
  std::string name;
  std::string summary;
  LayerQuant quant;
  std::optional<LayerQuant> dense = std::nullopt;  // layers that are not LayerKind::expert
};

// conv1d: stored [in, out] (GPT-2); expert: one slice of a 3-D tensor; embedding: a table a recipe asks to quantize.
enum class LayerKind { linear, conv1d, expert, embedding };

// What a linear layer does in its model. qkv and gate_up: several in one; shared_gate: how much of the shared expert a
// token gets, whose layers are gate, up and down without an index; latent_*: of MLA.
// clang-format off
enum class LayerRole { other, query, key, value, qkv, output, gate, up, gate_up, down, router, shared_gate, state_in,
                       state_out, latent_down, latent_up, vision, projector, embedding, head };
// clang-format on

// One linear layer of a model and what is to happen to it.
struct LayerPlan {
  std::string name;  // as in the checkpoint, without ".weight": "model.layers.0.self_attn.q_proj"
  int64_t out_features = 0;
  int64_t in_features = 0;
  bool has_bias = false;
  LayerKind kind = LayerKind::linear;
  int64_t block = -1;  // index of its decoder block; -1 = outside blocks (lm_head)
  std::string
      fused_group;   // layers that serving engines fuse share this name ("model.layers.0.self_attn.qkv"); empty = none
  LayerQuant quant;  // quant.quantized() == false: stays 16-bit for `reason`
  std::string reason;       // why a layer stays 16-bit or differs from the global scheme; empty = the global scheme
  bool user_fixed = false;  // set by layer_config / ignore_layers
  LayerRole role = LayerRole::other;
  int64_t expert = -1;  // index of the routed expert it belongs to
  std::string experts;  // what all routed experts of its block share of their names ("model.layers.3.mlp.experts")

  [[nodiscard]] bool quantized() const noexcept { return quant.quantized(); }
};

// A layer_config key that is a pattern, kept for formats that record it (auto_round extra_config, gptq dynamic).
struct PatternRule {
  std::string pattern;  // as typed
  std::string regex;    // its standard regular expression (docs/spec/schemes.md 6)
  LayerQuant quant;
  bool ignore = false;  // came from ignore_layers
};

// Everything decided before any work starts.
struct QuantPlan {
  std::string model_type;
  std::string scheme_name;  // preset name or "custom"
  LayerQuant global;
  std::vector<LayerPlan> layers;         // every linear layer, in model order, quantized or not
  std::vector<PatternRule> rules;        // patterns of layer_config and ignore_layers, in the order given
  std::vector<std::string> block_lists;  // common prefixes of the decoder block lists: {"model.layers"}
  int64_t num_blocks = 0;
  bool tied_embeddings = false;
  // Of the whole model, as --rotation named it; empty = none. Layers say what they need at run time.
  std::string rotation;
  AttentionQuant attention;
  std::vector<AttentionPlan> attentions;  // modules it applies to; empty where attention.quantized() is false

  [[nodiscard]] ARKIT_EXPORT const LayerPlan* find(std::string_view layer_name) const;  // null = unknown
};

// A packed linear layer as a backend or a reader sees it.
struct LinearSpec {
  std::string name;
  // "auto_round:auto_gptq", "auto_round", "auto_round:auto_awq", "gptq", "awq" ...: layout of the tensors.
  std::string packing;
  int64_t out_features = 0;
  int64_t in_features = 0;
  bool has_bias = false;
  LayerQuant quant;
};

// An attention module of an export that has static scales.
struct AttentionSpec {
  std::string name;
  AttentionQuant quant;
  std::vector<std::string> tensors;  // full names of the tensors that hold its scales
};

}  // namespace arkit
