// A first family file from what can be seen from outside. Guesses, and called so: nothing else is made from these names.
#include <arkit/sdk/family_draft.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>

#include <arkit/error.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/nn.h>
#include <arkit/sdk/rope.h>
#include <arkit/str.h>

#include "family_limits.h"

namespace arkit::sdk {
namespace {

using Names = std::initializer_list<std::string_view>;
constexpr std::string_view kWeight = ".weight", kBias = ".bias";

// What else families call the keys of kFamilyKeys.
struct Alias {
  std::string_view key, spelled;
};
constexpr Alias kAliases[] = {
    {"hidden_size", "n_embd"},
    {"hidden_size", "d_model"},
    {"hidden_size", "dim"},
    {"num_hidden_layers", "n_layer"},
    {"num_hidden_layers", "n_layers"},
    {"num_hidden_layers", "num_layers"},
    {"num_attention_heads", "n_head"},
    {"num_attention_heads", "n_heads"},
    {"num_attention_heads", "num_heads"},
    {"num_key_value_heads", "n_kv_heads"},
    {"num_key_value_heads", "num_kv_heads"},
    {"intermediate_size", "ffn_dim"},
    {"intermediate_size", "n_inner"},
    {"intermediate_size", "ffn_hidden_size"},
    {"max_position_embeddings", "n_positions"},
    {"max_position_embeddings", "max_seq_len"},
    {"max_position_embeddings", "max_sequence_length"},
    {"rms_norm_eps", "norm_eps"},
    {"rms_norm_eps", "norm_epsilon"},
    {"rms_norm_eps", "layer_norm_eps"},
    {"rms_norm_eps", "layer_norm_epsilon"},
    {"hidden_act", "hidden_activation"},
    {"hidden_act", "activation_function"},
    {"head_dim", "attention_head_dim"},
    {"head_dim", "kv_channels"},
};

// Keys that change no number of a forward pass, or that every family reads alike.
constexpr std::string_view kInert[] = {"architectures",
                                       "auto_map",
                                       "dtype",
                                       "torch_dtype",
                                       "transformers_version",
                                       "initializer_range",
                                       "use_cache",
                                       "model_type",
                                       "tie_word_embeddings",
                                       "rope_theta",
                                       "rope_scaling",
                                       "rope_parameters",
                                       "layer_types",
                                       "quantization_config",
                                       "id2label",
                                       "label2id",
                                       "is_encoder_decoder",
                                       "return_dict",
                                       "_name_or_path",
                                       "pretraining_tp",
                                       "original_max_position_embeddings",
                                       "partial_rotary_factor",
                                       "chunk_size_feed_forward"};
constexpr std::string_view kInertEndings[] = {"_token_id", "_dropout", "_pdrop", "_attn_implementation"};
constexpr std::string_view kInertBeginnings[] = {"output_", "_"};

// A switch of config.json and the line it becomes.
struct Switch {
  std::string_view key, section, line;  // %: the key
};
constexpr Switch kSwitches[] = {
    {"attention_multiplier", "attention", "scale = \"%\""},
    {"query_pre_attn_scalar", "attention", "scale_width = \"%\""},
    {"attn_logit_softcapping", "attention", "softcap = \"%\""},
    {"sliding_window", "window", "size = \"%\""},
    {"use_sliding_window", "window", "when = \"%\""},
    {"max_window_layers", "window", "from_block = \"%\""},
    {"sliding_window_pattern", "window", "full_every = \"%\""},
    {"embedding_multiplier", "scales", "embedding = \"%\""},
    {"residual_multiplier", "scales", "residual = \"%\""},
    {"logits_scaling", "scales", "logits_divisor = \"%\""},
    {"final_logit_softcapping", "scales", "logits_softcap = \"%\""},
    {"logit_scale", "scales", "logits_factor = \"%\""},
    {"rope_local_base_freq", "window", "rope_theta = \"%\""},
    {"no_rope_layers", "attention", "rope_blocks = \"%\""},
    {"no_rope_layer_interval", "attention", "rope_skip_every = \"%\""},
    {"use_parallel_residual", "block", "parallel = \"%\""},
};

// In the order of a family file.
constexpr std::string_view kSections[] = {"keys", "tensors", "norms", "attention", "window", "mlp", "scales", "block"};

class Draft {
 public:
  Draft(const json::Object& config, std::span<const TensorInfo> tensors) : config_(config) {
    type_ = json::get_string(config, "model_type", "config.json").value_or("");
    if (type_.empty()) throw_input("config.json: 'model_type' is missing; a family is known by it");
    for (const TensorInfo& tensor : tensors) shapes_.emplace(tensor.name, tensor.shape);
  }

  FamilyDraft make() {
    read_keys();
    read_switches();
    if (shapes_.empty()) {
      open("no checkpoint was given: names of tensors, places of norms and biases are as in llama");
      biases_by_config();
    } else {
      read_tensors();
    }
    open(
        "names do not show how norms are computed: [norms] rounding and offset are as in llama (weight * rounded x), "
        "which is wrong for families like Gemma; compare logits before you trust them");
    open(
        "names do not show which channels of a head turn together: [attention] rope_pairs is as in llama (halves), "
        "which "
        "is wrong for families like Cohere and GLM");
    read_rest_of_config();
    return {text(), std::move(open_)};
  }

 private:
  bool has(std::string_view key) const { return config_.contains(key); }
  void open(std::string sentence) { open_.push_back(std::move(sentence)); }
  void line(std::string_view section, std::string text) { lines_[std::string(section)].push_back(std::move(text)); }
  void name(std::string_view section, std::string_view slot, std::string_view is, std::string_view usual) {
    if (is != usual) line(section, str(slot, " = \"", is, "\""));
  }
  void understood(std::string_view key) { understood_.emplace(key); }

  std::optional<int64_t> number(std::string_view key) const {
    const auto found = spelled_.find(key);
    const json::Value* value = json::find(config_, found == spelled_.end() ? key : std::string_view(found->second));
    return value != nullptr && value->is_int64() ? std::optional<int64_t>(value->get_int64()) : std::nullopt;
  }

  void read_keys() {
    for (const std::string_view key : kFamilyKeys) {
      understood(key);
      if (has(key)) continue;
      const auto* alias = std::find_if(std::begin(kAliases), std::end(kAliases),
                                       [&](const Alias& a) { return a.key == key && has(a.spelled); });
      if (alias != std::end(kAliases)) {
        spelled_.emplace(key, alias->spelled);
        understood(alias->spelled);
        line("keys", str(key, " = \"", alias->spelled, "\""));
      } else if (key != "head_dim" && key != "num_key_value_heads") {
        open(str("config.json has no '", key,
                 "' and no key that looks like it; its absence means llama's default "
                 "unless [defaults] or [keys] say otherwise"));
      }
    }
    const auto act = spelled_.find("hidden_act");
    const json::Value* given = json::find(config_, act == spelled_.end() ? "hidden_act" : act->second);
    if (given != nullptr && (!given->is_string() || !find_activation(given->get_string())))
      open(str("activation ", printable(json::dump(*given)), " is none that a family file can name; known are ",
               kActivations));
  }

  void read_switches() {
    for (const Switch& s : kSwitches) {
      if (!has(s.key)) continue;
      understood(s.key);
      std::string text(s.line);
      line(s.section, text.replace(text.find('%'), 1, s.key));
    }
    // No key says it; those that have this one (Gemma's kin) do it in code.
    if (has("query_pre_attn_scalar") && !has("embedding_multiplier")) {
      line("scales", "embedding = \"sqrt(hidden_size)\"");
      open(
          "'query_pre_attn_scalar' is a key of families like Gemma, which multiply embeddings by sqrt(hidden_size) and "
          "say so nowhere: [scales] embedding is taken to be that; leave it out if yours does not");
    }
    if (has("use_sliding_window") && !has("sliding_window")) open("'use_sliding_window' stands without a size");
    const json::Object* rope = counting_rope(config_);
    const json::Value* partial = rope == nullptr ? nullptr : json::find(*rope, "partial_rotary_factor");
    if (partial == nullptr) partial = json::find(config_, "partial_rotary_factor");
    if (partial != nullptr && *partial != json::Value(1.0) && *partial != json::Value(1))
      line("attention", "partial_rope = true");
  }

  // A flag of config.json that `stored` does not contradict, else what is stored.
  std::string bias_line(Names flags, std::optional<bool> stored) {
    for (const std::string_view flag : flags) {
      if (!has(flag)) continue;
      understood(flag);
      const json::Value* value = json::find(config_, flag);
      const bool says = value != nullptr && value->is_bool() && value->get_bool();
      if (!stored || *stored == says) return str("\"", flag, "\"");
    }
    return stored.value_or(false) ? "true" : "";
  }
  void biases(std::optional<bool> qkv, std::optional<bool> output, std::optional<bool> mlp) {
    if (const auto b = bias_line({"attention_bias", "qkv_bias", "use_qkv_bias", "use_bias"}, qkv); !b.empty())
      line("attention", str("bias = ", b));
    if (const auto b = bias_line({"attention_bias", "attention_out_bias", "use_bias"}, output); !b.empty())
      line("attention", str("output_bias = ", b));
    if (const auto b = bias_line({"mlp_bias", "use_bias"}, mlp); !b.empty()) line("mlp", str("bias = ", b));
  }
  void biases_by_config() { biases(std::nullopt, std::nullopt, std::nullopt); }

  // The list of blocks with most tensors of those that read text; empty = none.
  std::string find_blocks() const {
    std::map<std::string, int> sizes;
    for (const auto& [name, shape] : shapes_)
      if (const auto place = model_free::block_place(name); place && !model_free::is_other_sense(name))
        ++sizes[place->list];
    const auto largest =
        std::max_element(sizes.begin(), sizes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
    return largest == sizes.end() ? "" : largest->first;
  }

  // Takes the module of block 0 whose last component is one of `names`: "self_attn.q_proj"; empty = none.
  std::string take(Names names) {
    for (const std::string_view wanted : names)
      for (const auto& [module, shape] : block_)
        if (model_free::last_component(module) == wanted && !taken_.contains(module)) {
          taken_.insert(module);
          return module;
        }
    return {};
  }
  bool biased(const std::string& module) const { return biased_.contains(module); }
  static std::string_view last(std::string_view module) { return model_free::last_component(module); }
  static std::string_view parent(std::string_view module) {
    const size_t dot = module.rfind('.');
    return dot == std::string_view::npos ? std::string_view() : module.substr(0, dot);
  }

  void read_tensors() {
    const std::string list = find_blocks();
    if (list.empty()) {
      open("no tensor is named like a decoder block's ('model.layers.0. ...'); names are as in llama");
      return;
    }
    const std::string_view blocks = last(list), prefix = std::string_view(list).substr(0, list.size() - blocks.size());
    name("tensors", "prefix", prefix, "model.");
    name("tensors", "blocks", blocks, "layers");
    const std::string first = list + ".0.";
    for (const auto& [full, shape] : shapes_) {
      if (!full.starts_with(first)) continue;
      const std::string rest = full.substr(first.size());
      if (rest.ends_with(kWeight))
        block_.emplace(rest.substr(0, rest.size() - kWeight.size()), shape);
      else if (rest.ends_with(kBias))
        biased_.insert(rest.substr(0, rest.size() - kBias.size()));
      else
        open(str("tensor '", printable(full), "' has no slot in a family file"));
    }
    read_attention();
    read_mlp();
    read_norms();
    read_outside(prefix);
    for (const auto& [module, shape] : block_)
      if (!taken_.contains(module))
        open(str("tensor '", printable(str(first, module, kWeight)),
                 "' fits no slot; a family with it needs another file or a plugin"));
  }

  void read_attention() {
    const std::string q = take({"q_proj", "wq", "query", "q"}), k = take({"k_proj", "wk", "key", "k"}),
                      v = take({"v_proj", "wv", "value", "v"});
    const std::string qkv =
        q.empty() ? take({"qkv_proj", "query_key_value", "Wqkv", "wqkv", "c_attn", "qkv", "attn_qkv"}) : "";
    const std::string o = take({"o_proj", "wo", "out_proj", "dense", "output"});
    if ((q.empty() && qkv.empty()) || o.empty()) {
      open("the layers of attention have names that say nothing; give [attention] query, key, value (or qkv), output");
      return;
    }
    name("attention", "module", parent(o), "self_attn");
    if (qkv.empty()) {
      name("attention", "query", last(q), "q_proj");
      name("attention", "key", last(k), "k_proj");
      name("attention", "value", last(v), "v_proj");
    } else {
      line("attention", str("qkv = \"", last(qkv), "\""));
      open("one layer makes queries, keys and values: rows are taken to be all queries, then keys, then values");
    }
    name("attention", "output", last(o), "o_proj");
    qkv_bias_ = biased(qkv.empty() ? q : qkv);
    output_bias_ = biased(o);
    const std::string q_norm = take({"q_norm", "q_layernorm", "query_norm", "query_layernorm"}),
                      k_norm = take({"k_norm", "k_layernorm", "key_norm", "key_layernorm"});
    if (q_norm.empty()) return;
    const bool whole = !q.empty() && block_.at(q_norm) == std::vector<int64_t>{block_.at(q).at(0)};
    line("attention",
         str("query_key_norm = \"", whole && number("num_attention_heads") != 1 ? "whole" : "heads", "\""));
    name("attention", "query_norm", last(q_norm), "q_norm");
    name("attention", "key_norm", last(k_norm), "k_norm");
  }

  void read_mlp() {
    const std::string both = take({"gate_up_proj", "w13", "dense_h_to_4h_swiglu"});
    const std::string gate = both.empty() ? take({"gate_proj", "w1", "ff_proj_gate"}) : "";
    const std::string up = both.empty() ? take({"up_proj", "w3", "fc1", "c_fc", "dense_h_to_4h", "fc_in"}) : "";
    const std::string down = take({"down_proj", "w2", "fc2", "c_proj", "dense_4h_to_h", "fc_out"});
    if ((both.empty() && up.empty()) || down.empty()) {
      open(
          "the layers of the feed-forward network have names that say nothing; give [mlp] gate, up (or gate_up), down");
      return;
    }
    if (down.find(".experts.") != std::string::npos)
      open("the feed-forward network is a mixture of experts, which a family file cannot describe");
    name("mlp", "module", parent(down), "mlp");
    if (!both.empty())
      line("mlp", str("gate_up = \"", last(both), "\""));
    else
      name("mlp", "gate", last(gate), "gate_proj");
    if (both.empty()) name("mlp", "up", last(up), "up_proj");
    name("mlp", "down", last(down), "down_proj");
    biases(qkv_bias_, output_bias_, biased(down));
  }

  void read_norms() {
    const std::string in = take({"input_layernorm", "attention_norm", "ln_1", "norm1", "attn_norm"});
    const std::string before_mlp = take({"pre_feedforward_layernorm", "ffn_norm", "ln_2", "norm2", "mlp_norm"});
    const std::string after_mlp = take({"post_feedforward_layernorm", "post_mlp_layernorm"});
    const std::string after = take({"post_attention_layernorm", "post_attention_norm"});
    // The one name with two meanings: behind attention where something else stands before the mlp, or behind it too.
    const bool is_second = !after.empty() && before_mlp.empty() && (!in.empty() || after_mlp.empty());
    name("norms", "before_attention", in, "input_layernorm");
    name("norms", "after_attention", is_second ? "" : after, "");
    name("norms", "before_mlp", is_second ? after : before_mlp, "post_attention_layernorm");
    name("norms", "after_mlp", after_mlp, "");
    if (in.empty() && after.empty()) open("no norm of a block has a name that shows its place; give [norms]");
    const std::array norms = {in, before_mlp, after_mlp, after};
    if (std::any_of(norms.begin(), norms.end(), [&](const std::string& norm) { return !norm.empty() && biased(norm); }))
      line("norms", "kind = \"layer\"");
    if (in.empty() || !before_mlp.empty() || !after_mlp.empty() || !after.empty()) return;
    open("a block has one norm: both halves are taken to read it and to be added at once ([block] parallel)");
    if (!has("use_parallel_residual")) line("block", "parallel = true");
    line("block", "parallel_norm = \"shared\"");
  }

  void read_outside(std::string_view prefix) {
    std::string table, norm, head;
    for (const auto& [full, shape] : shapes_) {
      if (!full.ends_with(kWeight) || model_free::block_place(full)) continue;
      const std::string layer = full.substr(0, full.size() - kWeight.size());
      if (model_free::is_embedding_table(layer) && shape.size() == 2)
        table = layer;
      else if (shape.size() == 1 && layer.starts_with(prefix))
        norm = layer;
      else if (shape.size() == 2 && !model_free::is_other_sense(layer))
        head = layer;
    }
    const auto inner = [&](const std::string& layer) { return std::string_view(layer).substr(prefix.size()); };
    if (table.starts_with(prefix) && !table.empty())
      name("tensors", "embedding", inner(table), "embed_tokens");
    else
      open("no tensor is named like a table of token embeddings; give [tensors] embedding");
    if (norm.empty())
      line("tensors", "final_norm = \"\"");
    else
      name("tensors", "final_norm", inner(norm), "norm");
    if (!head.empty()) name("tensors", "head", head, "lm_head");
  }

  void read_rest_of_config() {
    for (const std::string_view nested : {"text_config", "llm_config", "language_config"})
      if (has(nested)) open(str("config.json keeps the language model in '", nested, "', which families do not read"));
    std::vector<std::string> rest;
    for (const auto& member : config_) {
      const std::string_view key = member.key();
      const auto ends = [&](std::string_view ending) { return key.ends_with(ending); };
      const auto begins = [&](std::string_view beginning) { return key.starts_with(beginning); };
      const bool inert = std::find(std::begin(kInert), std::end(kInert), key) != std::end(kInert) ||
                         std::any_of(std::begin(kInertEndings), std::end(kInertEndings), ends) ||
                         std::any_of(std::begin(kInertBeginnings), std::end(kInertBeginnings), begins);
      if (!inert && !understood_.contains(key)) rest.push_back(printable(std::string(key), 100));
    }
    if (!rest.empty()) open(str("nothing in the file speaks of these keys of config.json: ", quoted_list(rest)));
  }

  std::string text() const {
    std::string out = str("# Drafted by 'arkit models new'; keys and their meaning: docs/FAMILIES.md.\n");
    for (const std::string& sentence : open_) out += str("# open: ", sentence, "\n");
    out += str("name = \"", safe_name(), "\"\nmodel_types = [\"", safe_name(), "\"]\n");
    for (const std::string_view section : kSections) {
      const auto found = lines_.find(section);
      if (found == lines_.end()) continue;
      out += str("\n[", section, "]\n");
      for (const std::string& line : found->second) out += line + "\n";
    }
    return out;
  }

  // model_type comes from a file and stands in a quoted string.
  std::string safe_name() const {
    std::string out = type_.substr(0, 100);
    for (char& c : out)
      if (std::string_view("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.").find(c) ==
          std::string_view::npos)
        c = '_';
    return out;
  }

  const json::Object& config_;
  std::string type_;
  std::map<std::string, std::vector<int64_t>, std::less<>> shapes_;
  std::map<std::string, std::vector<int64_t>, std::less<>> block_;  // modules of block 0 with a weight
  std::set<std::string, std::less<>> biased_, taken_, understood_;
  std::map<std::string, std::string, std::less<>> spelled_;
  std::map<std::string, std::vector<std::string>, std::less<>> lines_;
  bool qkv_bias_ = false, output_bias_ = false;
  std::vector<std::string> open_;
};

}  // namespace

FamilyDraft draft_family(const json::Object& config, std::span<const TensorInfo> tensors) {
  return Draft(config, tensors).make();
}

}  // namespace arkit::sdk
