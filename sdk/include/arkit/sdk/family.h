#pragma once
// A model family as data (docs/FAMILIES.md): a TOML file says what the slots of a decoder block are called, which kinds
// they are of, which keys of config.json decide about them and what an absent key means. With a checkpoint it becomes a
// ModelLayout, which LlamaLikeModel runs.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>

namespace arkit::sdk {

// What a family fixes, or takes from config.json.
template <typename T>
struct Setting {
  std::string key;         // of config.json; empty = `value`, whatever is there
  std::optional<T> value;  // fixed, or what an absent key means; null in config.json always means that there is none
};

struct Family {
  std::string what;  // where it was read, for errors
  std::string name, summary;
  std::vector<std::string> model_types;
  // Flags of config.json that tell it from other families of its model_types; an absent one is false.
  std::map<std::string, bool, std::less<>> when;

  std::map<std::string, std::string, std::less<>> keys;  // spelling in config.json by the name used below

  // What absent keys mean.
  int64_t vocab_size = 32000, hidden_size = 4096, intermediate_size = 11008, num_hidden_layers = 32;
  int64_t num_attention_heads = 32, max_position_embeddings = 2048;
  std::optional<int64_t> num_key_value_heads;  // unset = as many as heads
  std::optional<int64_t> head_dim;             // unset = hidden_size / heads
  std::optional<int64_t> intermediate_factor;  // given: an absent intermediate_size is this many hidden_size
  double rms_norm_eps = 1e-6, rope_theta = 10000.0;
  std::string hidden_act = "silu";

  struct {
    std::string prefix = "model.";  // of the decoder; a checkpoint of the bare decoder lacks it
    std::string embedding = "embed_tokens", blocks = "layers", final_norm = "norm";
    std::string head = "lm_head";
    bool head_bias = false;
  } tensors;

  // Of a block; empty = none at this place.
  struct {
    std::string before_attention = "input_layernorm", after_attention;
    std::string before_mlp = "post_attention_layernorm", after_mlp;
    std::string kind = "rms";
    double offset = 0.0;
    bool wide = false, bias = false;  // see Norms
  } norms;

  struct {
    std::string module = "self_attn";
    std::string query = "q_proj", key = "k_proj", value = "v_proj";
    std::string qkv;                // given: one layer instead of the three
    bool rows_by_key_head = false;  // see Attention
    std::string output = "o_proj";
    int64_t kv_heads = 0;  // given: whatever config.json says
    Setting<bool> bias{{}, false}, output_bias{{}, false};
    std::string query_norm, key_norm;  // empty = none
    bool whole_heads = false;          // see Norms
    Setting<double> scale;             // of scores; unset = 1 / sqrt(width)
    Setting<double> scale_width;       // unset = head_dim
    Setting<double> softcap;
    bool partial_rope = false;     // does rope_type default honour partial_rotary_factor?
    Setting<double> rotary_share;  // what an absent partial_rotary_factor means; unset = 1
    bool neighbours = false;       // see Rope
    std::string rope_blocks;       // key of a list of 0 and 1, one a block: does it turn positions in? empty = all do
    Setting<int64_t> rope_skip_every;  // n: without that list every n-th block does not
    bool rope_windowed = false;        // only blocks with a window turn positions in
  } attention;

  // Blocks whose queries see the last keys only.
  struct {
    Setting<int64_t> size;         // unset = no block has a window
    Setting<bool> when{{}, true};  // whether the size counts at all
    Setting<int64_t> from_block;   // from which block on; layer_types of config.json wins
    Setting<int64_t> full_every;   // n: every n-th block sees everything; layer_types of config.json wins
    Setting<double> rope_theta;    // given: these blocks turn by it, unscaled, where rope_parameters does not say more
    bool plain_rope = false;       // these blocks turn unscaled, by the theta of all
  } window;

  Setting<bool> parallel{{}, false};  // see BlockLayout
  bool shared_norm = false;           // a parallel block has no norm before its mlp

  struct {
    std::string module = "mlp";
    std::string gate = "gate_proj";  // empty = not gated
    std::string up = "up_proj";
    std::string gate_up;  // given: one layer instead of the two
    std::string down = "down_proj";
    Setting<bool> bias{{}, false};
  } mlp;

  struct {
    Setting<double> embedding, residual, logits_factor, logits_divisor, logits_softcap;
    bool embedding_by_width = false;  // embedded tokens times sqrt(hidden_size)
  } scales;

  std::vector<std::string> ignored;      // see ModelLayout
  std::vector<std::string> unsupported;  // switches of config.json that must be absent, null or false
};

// Reads and checks the text of a family file; `what` names it. Throws ErrorCode::input with file, key and what was
// expected.
[[nodiscard]] Family parse_family(std::string_view toml, std::string what);

// The layout of a checkpoint of the family. Throws ErrorCode::input naming the key of config.json and the range of its
// values.
[[nodiscard]] ModelLayout family_layout(const Family& family, const ModelSource& source);

// Families as a ModelAdapter, the whole of a plugin whose families are data.
class FamilyAdapter : public ModelAdapter {
 public:
  FamilyAdapter(std::string name, std::string summary);
  // One family, whose name and summary become the adapter's.
  explicit FamilyAdapter(Family family);

  // Of two families with one model_type the earlier counts.
  void add(Family family);

  [[nodiscard]] const AdapterInfo& info() const noexcept override { return info_; }
  [[nodiscard]] Verdict matches(const json::Object& config) const override;
  [[nodiscard]] ModelLayout layout(const ModelSource& source) const override;
  [[nodiscard]] std::unique_ptr<Model> open(const ModelSource& source, at::ScalarType dtype) const override;

 protected:
  // The family of a model with this config.json; null = none.
  [[nodiscard]] const Family* find(const json::Object& config) const;

 private:
  std::string name_, summary_;
  std::vector<std::unique_ptr<const Family>> families_;  // addresses stay: info_ points into them
  std::vector<std::string_view> types_;
  AdapterInfo info_;
};

}  // namespace arkit::sdk
