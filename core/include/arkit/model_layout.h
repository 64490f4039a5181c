#pragma once
// What a model is, as plain data: geometry, names and roles, made from config.json and tensor headers. Plans, exporters,
// AutoScheme, transforms, runtimes and reports work from it; nobody opens a model to learn its shape, and nobody parses
// a layer's name. Formulas: docs/spec/decoder.md 1 to 4. No LibTorch here.

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>

namespace arkit {

// A rotary position embedding (docs/spec/decoder.md 4).
struct Rope {
  std::string type = "default";  // default, linear, dynamic, llama3, yarn, longrope, proportional
  double theta = 10000.0;
  double factor = 1.0;
  int64_t head_dim = 0;
  int64_t dim = 0;                     // channels that rotate; the rest of a head passes through
  int64_t max_positions = 0;           // max_position_embeddings
  int64_t original_max_positions = 0;  // llama3, yarn, longrope
  double partial_rotary_factor = 1.0;  // proportional reads it; `dim` has it applied for the other types
  bool neighbours = false;             // which channels turn together: 2i and 2i + 1, else i and i + dim / 2
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0, beta_slow = 1.0;              // yarn
  bool truncate = true;                                  // yarn
  std::optional<double> attention_factor, mscale, mscale_all_dim;
  std::vector<double> short_factor, long_factor;  // longrope, one per rotating pair
};

struct Attention {
  std::string module;  // "model.layers.3.self_attn"
  int64_t heads = 0, kv_heads = 0;
  int64_t key_dim = 0, value_dim = 0;  // of one head
  double scale = 1.0;                  // of the products of queries and keys
  double softcap = 0.0;                // c > 0: scores become c * tanh(score / c)
  int64_t window = 0;                  // keys a query sees, itself included; 0 = all before it
  int64_t rope = 0;                    // index into ModelLayout::ropes; -1 = positions are not turned in
  // Rows of a layer of role qkv: for each head of keys the queries that share it, the key, the value; else all queries,
  // all keys, all values.
  bool rows_by_key_head = false;
};

// Queries and keys through a small latent (DeepSeek's MLA).
struct LatentAttention {
  std::string module;
  int64_t heads = 0;
  int64_t query_rank = 0, kv_rank = 0;  // query_rank 0 = queries come straight from the input
  int64_t plain_dim = 0, rope_dim = 0, value_dim = 0;
  double scale = 1.0;
  int64_t rope = 0;
};

// A recurrence instead of attention (Mamba).
struct StateSpace {
  std::string module;
  int64_t width = 0;  // inner channels
  int64_t heads = 0, groups = 1;
  int64_t state_size = 0, conv_kernel = 0;
};

using Mixer = std::variant<std::monostate, Attention, LatentAttention, StateSpace>;

struct Dense {
  int64_t width = 0;
  std::string activation;  // silu, gelu, gelu_pytorch_tanh, gelu_new (the same), relu
  bool gated = true;       // down(act(gate(x)) * up(x)); otherwise down(act(up(x)))
};

// Each token goes through `top_k` of `count` experts, every one of them a Dense.
struct Experts {
  Dense expert;
  int64_t count = 0, top_k = 0;
  int64_t shared_width = 0;            // of the experts every token passes, side by side; 0 = none
  int64_t groups = 1, top_groups = 1;  // experts are chosen within the best groups
};

using FeedForward = std::variant<std::monostate, Dense, Experts>;

// Names of norm weights by place; empty = none there. `in` stands before a sublayer, `out` after it and before the
// residual sum.
struct Norms {
  std::string kind = "rms";  // rms, layer (mean taken off, divided by the standard deviation)
  bool bias = false;         // of kind layer: has each a ".bias" beside its ".weight"?
  double epsilon = 1e-6;
  double offset = 0.0;  // the factor is offset + weight (Gemma: 1)
  bool wide = false;    // is the factor applied before the result is rounded to the dtype (Gemma, OLMo 2), or after?
  std::string mixer_in, mixer_out, feed_forward_in, feed_forward_out;
  std::string query, key;
  bool whole_heads = false;  // query and key norms: over all heads at once instead of each head
};

struct BlockLayout {
  std::string name;  // "model.layers.3"
  Mixer mixer;
  FeedForward feed_forward;
  Norms norms;
  double residual_scale = 1.0;  // of what a sublayer adds to the hidden state
  // Both sublayers read the block's input, and what they add is added to it at once. Without a norm of its own
  // (feed_forward_in) the second reads what the first does.
  bool parallel = false;
  std::vector<LayerPlan> layers;  // every linear in module order, role filled, quant not; `reason` = why it must stay
                                  // in 16 bits unless the user names it
};

// Blocks with one prefix.
struct BlockList {
  std::string name;              // "model.layers"
  int64_t first = 0, count = 0;  // in ModelLayout::blocks
  int64_t hidden_size = 0;
  bool text = true;  // does it read the tokens? Others are towers for images, sounds
};

struct TokenInfo {
  int64_t vocab_size = 0, max_positions = 0;
  bool tied = false;             // embeddings and head are one matrix
  std::string embedding;         // tensor, also where a tied model stores the head alone
  std::string final_norm;        // tensor; empty = none
  double embedding_scale = 1.0;  // of embedded tokens, rounded to the dtype they have
  double logit_divisor = 1.0;    // logits are divided by it
  double logit_softcap = 0.0;    // c > 0: logits become c * tanh(logit / c), after that
};

struct ModelLayout {
  std::string model_type;
  std::vector<BlockList> lists;
  std::vector<BlockLayout> blocks;  // in the order they run
  std::vector<LayerPlan> outside;   // the head, projectors
  std::vector<Rope> ropes;
  TokenInfo tokens;
  // Does it name every tensor of its blocks? Then one that is stored and not named is an error, because whoever reads
  // the model would compute as if it were not there; `ignored` are names left out on purpose, '*' stands for any text.
  bool whole = false;
  std::vector<std::string> ignored;

  // All linears: those of blocks first, then those outside.
  [[nodiscard]] ARKIT_EXPORT std::vector<LayerPlan> linears() const;
};

}  // namespace arkit
