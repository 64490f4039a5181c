// A family and a checkpoint -> ModelLayout.
#include <algorithm>
#include <cmath>

#include <arkit/error.h>
#include <arkit/sdk/config_reader.h>
#include <arkit/sdk/family.h>
#include <arkit/sdk/nn.h>
#include <arkit/sdk/rope.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

#include "family_limits.h"

namespace arkit::sdk {
namespace {

constexpr std::string_view kWeight = ".weight", kPartial = "partial_rotary_factor";
constexpr std::string_view kFull = "full_attention", kSliding = "sliding_attention";  // in layer_types, rope_parameters

class LayoutMaker {
 public:
  LayoutMaker(const Family& family, const ModelSource& source)
      : f_(family), source_(source), in_(source.config(), str("config.json of '", source.path().string(), "'")) {}

  ModelLayout make() {
    refuse_switches();
    read_sizes();
    ModelLayout out;
    out.model_type = in_.text("model_type", "");
    out.whole = true;
    out.ignored = f_.ignored;
    out.ropes.push_back(rope());
    if (std::optional<Rope> own = rope_of_windows()) out.ropes.push_back(std::move(*own));
    out.tokens = tokens();
    BlockLayout block = first_block();
    const std::vector<Window> windows = block_windows();
    const std::vector<bool> turned = turned_blocks(windows);
    const std::string list = prefix_ + f_.tensors.blocks;
    for (int64_t i = 0; i < blocks_; ++i) {
      set_names(block, str(list, ".", i), i);
      auto& attention = std::get<Attention>(block.mixer);
      const Window& window = windows[static_cast<size_t>(i)];
      attention.window = window.size;
      attention.rope = !turned[static_cast<size_t>(i)] ? -1 : window.slides && out.ropes.size() > 1 ? 1 : 0;
      out.blocks.push_back(block);
    }
    out.lists.push_back({.name = list, .first = 0, .count = blocks_, .hidden_size = hidden_, .text = true});
    LayerPlan head = plan(f_.tensors.head, tokens_.vocab_size, hidden_, f_.tensors.head_bias, LayerRole::head);
    out.outside.push_back(std::move(head));
    return out;
  }

 private:
  std::string_view spelled(std::string_view key) const {
    const auto found = f_.keys.find(key);
    return found == f_.keys.end() ? key : std::string_view(found->second);
  }
  int64_t positive(std::string_view key, int64_t fallback, int64_t limit) const {
    return in_.positive(spelled(key), fallback, limit);
  }
  bool is_null(const std::string& key) const {
    return in_.object().contains(key) && json::find(in_.object(), key) == nullptr;
  }

  bool flag(const Setting<bool>& setting) const {
    const bool fallback = setting.value.value_or(false);
    return setting.key.empty() ? fallback : in_.flag(setting.key, fallback);
  }
  std::optional<double> number(const Setting<double>& setting, double least) const {
    if (setting.key.empty()) return setting.value;
    if (json::find(in_.object(), setting.key) == nullptr) return is_null(setting.key) ? std::nullopt : setting.value;
    return in_.number(setting.key, least, least, kMaxScale);
  }
  std::optional<int64_t> count(const Setting<int64_t>& setting) const {
    if (setting.key.empty()) return setting.value;
    if (is_null(setting.key)) return std::nullopt;
    const std::optional<int64_t> given = in_.optional_positive(setting.key, kMaxPositions);
    return given ? given : setting.value;
  }

  // What the family's model would do and its file does not say.
  void refuse_switches() const {
    for (const std::string& key : f_.unsupported) {
      const json::Value* value = json::find(in_.object(), key);
      if (value != nullptr && *value != json::Value(false))
        throw_unsupported(str(in_.what(), ": '", key, "' is ", printable(json::dump(*value), 100), ", which family '",
                              f_.name, "' (", f_.what, ") does not have; expected it to be absent, null or false"));
    }
  }

  void read_sizes() {
    tokens_.vocab_size = positive("vocab_size", f_.vocab_size, kMaxVocab);
    hidden_ = positive("hidden_size", f_.hidden_size, kMaxWidth);
    width_ =
        positive("intermediate_size",
                 f_.intermediate_factor ? std::min(kMaxWidth, *f_.intermediate_factor * hidden_) : f_.intermediate_size,
                 kMaxWidth);
    blocks_ = positive("num_hidden_layers", f_.num_hidden_layers, kMaxBlocks);
    heads_ = positive("num_attention_heads", f_.num_attention_heads, kMaxHeads);
    kv_heads_ = f_.attention.kv_heads > 0
                    ? f_.attention.kv_heads
                    : positive("num_key_value_heads", f_.num_key_value_heads.value_or(heads_), kMaxHeads);
    head_dim_ = positive("head_dim", f_.head_dim.value_or(std::max<int64_t>(1, hidden_ / heads_)), kMaxHeads);
    tokens_.max_positions = positive("max_position_embeddings", f_.max_position_embeddings, kMaxPositions);
    epsilon_ = in_.number(spelled("rms_norm_eps"), f_.rms_norm_eps, 0.0, 1.0);
    if (heads_ % kv_heads_ != 0)
      throw_input(str(in_.what(), ": '", spelled("num_attention_heads"), "' ", heads_, " is not a multiple of '",
                      spelled("num_key_value_heads"), "' ", kv_heads_));
    activation_ = in_.text(spelled("hidden_act"), f_.hidden_act);
    if (!find_activation(activation_))
      throw_unsupported(str(in_.what(), ": unknown '", spelled("hidden_act"), "' '", printable(activation_),
                            "'; expected ", kActivations));
    // A checkpoint of the bare decoder has no prefix.
    const auto stored = [&](const std::string& prefix) {
      return source_.weights().find(str(prefix, f_.tensors.embedding, kWeight)) != nullptr;
    };
    prefix_ = !stored(f_.tensors.prefix) && stored("") ? "" : f_.tensors.prefix;
  }

  Rope read(json::Object rope) const {
    if (json::find(rope, kPartial) == nullptr)
      if (const auto share = number(f_.attention.rotary_share, 1e-3)) rope[kPartial] = *share;
    Rope found = read_rope(rope, head_dim_, tokens_.max_positions, f_.attention.partial_rope, in_.what());
    found.neighbours = f_.attention.neighbours;
    return found;
  }
  bool has_windows() const { return f_.window.size.value || !f_.window.size.key.empty(); }
  // Sets for two kinds of blocks are two ropes where the family has windows; else they must be one.
  bool ropes_by_kind() const {
    return has_windows() && has_rope_of_kind(in_.object(), kSliding) && has_rope_of_kind(in_.object(), kFull);
  }
  double default_theta() const {
    const auto spelled = f_.keys.find("rope_theta");
    return spelled == f_.keys.end() ? f_.rope_theta : in_.number(spelled->second, f_.rope_theta, 1.0, kMaxTheta);
  }
  Rope rope() const {
    return read(normalise_rope(in_.object(), default_theta(), in_.what(), ropes_by_kind() ? kFull : ""));
  }
  std::optional<Rope> rope_of_windows() const {
    if (ropes_by_kind()) return read(normalise_rope(in_.object(), default_theta(), in_.what(), kSliding));
    std::optional<double> theta = number(f_.window.rope_theta, 1.0);
    if (f_.window.plain_rope) theta = rope().theta;
    if (!theta) return std::nullopt;
    return read({{"rope_type", "default"}, {"rope_theta", *theta}});
  }

  TokenInfo tokens() {
    tokens_.tied = find_tied_embeddings(source_).tied;
    tokens_.embedding = str(prefix_, f_.tensors.embedding, kWeight);
    if (!f_.tensors.final_norm.empty()) tokens_.final_norm = str(prefix_, f_.tensors.final_norm, kWeight);
    tokens_.embedding_scale = f_.scales.embedding_by_width ? std::sqrt(static_cast<double>(hidden_))
                                                           : number(f_.scales.embedding, 1e-6).value_or(1.0);
    const std::optional<double> factor = number(f_.scales.logits_factor, 1e-6);
    tokens_.logit_divisor = factor ? 1.0 / *factor : number(f_.scales.logits_divisor, 1e-6).value_or(1.0);
    tokens_.logit_softcap = number(f_.scales.logits_softcap, 0.0).value_or(0.0);
    return tokens_;
  }

  struct Window {
    int64_t size = 0;     // 0 = none
    bool slides = false;  // is it a block of the kind that has one, where the size counts?
  };

  // "layer_types" says which blocks slide; without it the family's rule decides.
  std::vector<Window> block_windows() const {
    std::vector<Window> windows(static_cast<size_t>(blocks_));
    const std::optional<int64_t> size = flag(f_.window.when) ? count(f_.window.size) : std::nullopt;
    if (!has_windows()) return windows;
    const std::optional<std::vector<std::string>> types = in_.texts("layer_types");
    if (!size && !types) return windows;
    if (types && static_cast<int64_t>(types->size()) < blocks_)
      throw_input(str(in_.what(), ": 'layer_types' has ", types->size(), " entries for ", blocks_, " blocks"));
    const std::optional<int64_t> every = count(f_.window.full_every);
    const int64_t first = first_window();
    for (int64_t i = 0; i < blocks_; ++i) {
      const size_t at = static_cast<size_t>(i);
      if (types && (*types)[at] != kFull && (*types)[at] != kSliding)
        throw_unsupported(str(in_.what(), ": unknown entry '", printable((*types)[at]),
                              "' in 'layer_types'; expected full_attention or sliding_attention"));
      const bool by_rule = i >= first && !(every && (i + 1) % *every == 0);
      windows[at].slides = types ? (*types)[at] == kSliding : by_rule;
      if (windows[at].slides) windows[at].size = size.value_or(0);
    }
    return windows;
  }

  // Which blocks turn positions in.
  std::vector<bool> turned_blocks(const std::vector<Window>& windows) const {
    std::vector<bool> turned(windows.size(), true);
    if (f_.attention.rope_windowed)
      for (size_t i = 0; i < windows.size(); ++i) turned[i] = windows[i].size > 0;
    const json::Value* list =
        f_.attention.rope_blocks.empty() ? nullptr : json::find(in_.object(), f_.attention.rope_blocks);
    if (list == nullptr) {
      if (const std::optional<int64_t> every = count(f_.attention.rope_skip_every))
        for (size_t i = 0; i < turned.size(); ++i) turned[i] = (static_cast<int64_t>(i) + 1) % *every != 0;
      return turned;
    }
    const std::string what = str(in_.what(), ": '", f_.attention.rope_blocks, "'");
    const json::Array& flags = json::as_array(*list, what);
    if (flags.size() < turned.size())
      throw_input(str(what, " has ", flags.size(), " entries for ", blocks_, " blocks"));
    for (size_t i = 0; i < turned.size(); ++i) {
      const json::Value& flag = flags[i];
      const bool one = flag == json::Value(1) || flag == json::Value(true);
      if (!one && flag != json::Value(0) && flag != json::Value(false))
        throw_input(str(what, ": entry ", i, " is ", printable(json::dump(flag), 100), "; expected 0 or 1"));
      turned[i] = one;
    }
    return turned;
  }

  int64_t first_window() const {
    const Setting<int64_t>& from = f_.window.from_block;
    const int64_t fallback = from.value.value_or(0);
    return from.key.empty() ? fallback : json::get_int(in_.object(), from.key, in_.what()).value_or(fallback);
  }

  // Everything but names, windows and indices.
  BlockLayout first_block() const {
    BlockLayout block;
    Attention attention{.module = {},
                        .heads = heads_,
                        .kv_heads = kv_heads_,
                        .key_dim = head_dim_,
                        .value_dim = head_dim_,
                        .scale = 1.0,
                        .softcap = number(f_.attention.softcap, 0.0).value_or(0.0),
                        .window = 0,
                        .rope = 0,
                        .rows_by_key_head = f_.attention.rows_by_key_head};
    const double by_width =
        1.0 / std::sqrt(number(f_.attention.scale_width, 1e-6).value_or(static_cast<double>(head_dim_)));
    attention.scale = number(f_.attention.scale, 1e-6).value_or(by_width);
    block.mixer = attention;
    const bool gated = !f_.mlp.gate_up.empty() || !f_.mlp.gate.empty();
    block.feed_forward = Dense{.width = width_, .activation = activation_, .gated = gated};
    block.norms.kind = f_.norms.kind;
    block.norms.bias = f_.norms.bias;
    block.norms.epsilon = epsilon_;
    block.norms.offset = f_.norms.offset;
    block.norms.wide = f_.norms.wide;
    block.norms.whole_heads = f_.attention.whole_heads;
    block.parallel = flag(f_.parallel);
    block.residual_scale = number(f_.scales.residual, 1e-6).value_or(1.0);
    return block;
  }

  void set_names(BlockLayout& block, const std::string& name, int64_t index) const {
    block.name = name;
    const std::string module = str(name, ".", f_.attention.module);
    std::get<Attention>(block.mixer).module = module;
    const auto norm = [](const std::string& where, const std::string& what) {
      return what.empty() ? std::string() : str(where, ".", what, kWeight);
    };
    block.norms.mixer_in = norm(name, f_.norms.before_attention);
    block.norms.mixer_out = norm(name, f_.norms.after_attention);
    const bool shared = block.parallel && f_.shared_norm;
    block.norms.feed_forward_in = norm(name, shared ? std::string() : f_.norms.before_mlp);
    block.norms.feed_forward_out = norm(name, f_.norms.after_mlp);
    block.norms.query = norm(module, f_.attention.query_norm);
    block.norms.key = norm(module, f_.attention.key_norm);
    block.layers = attention_layers(module);
    for (LayerPlan& layer : mlp_layers(str(name, ".", f_.mlp.module))) block.layers.push_back(std::move(layer));
    for (LayerPlan& layer : block.layers) layer.block = index;
  }

  static LayerPlan plan(std::string name, int64_t out, int64_t in, bool bias, LayerRole role, std::string fused = {}) {
    LayerPlan layer;
    layer.name = std::move(name);
    layer.out_features = out;
    layer.in_features = in;
    layer.has_bias = bias;
    layer.fused_group = std::move(fused);
    layer.role = role;
    return layer;
  }

  // In the order they run, which for models with these slots is the one AutoRound sees (docs/spec/decoder.md 1).
  std::vector<LayerPlan> attention_layers(const std::string& module) const {
    const auto& a = f_.attention;
    const int64_t query = heads_ * head_dim_, key = kv_heads_ * head_dim_;
    const bool bias = flag(a.bias);
    const std::string dot = module + ".", fused = dot + "qkv";
    std::vector<LayerPlan> layers;
    if (!a.qkv.empty()) {
      layers.push_back(plan(dot + a.qkv, query + 2 * key, hidden_, bias, LayerRole::qkv));
    } else {
      layers.push_back(plan(dot + a.query, query, hidden_, bias, LayerRole::query, fused));
      layers.push_back(plan(dot + a.key, key, hidden_, bias, LayerRole::key, fused));
      layers.push_back(plan(dot + a.value, key, hidden_, bias, LayerRole::value, fused));
    }
    layers.push_back(plan(dot + a.output, hidden_, query, flag(a.output_bias), LayerRole::output));
    return layers;
  }

  std::vector<LayerPlan> mlp_layers(const std::string& module) const {
    const auto& m = f_.mlp;
    const bool bias = flag(m.bias);
    const std::string dot = module + ".", fused = dot + "gate_up";
    std::vector<LayerPlan> layers;
    if (!m.gate_up.empty()) {
      layers.push_back(plan(dot + m.gate_up, 2 * width_, hidden_, bias, LayerRole::gate_up));
    } else if (!m.gate.empty()) {
      layers.push_back(plan(dot + m.gate, width_, hidden_, bias, LayerRole::gate, fused));
      layers.push_back(plan(dot + m.up, width_, hidden_, bias, LayerRole::up, fused));
    } else {
      layers.push_back(plan(dot + m.up, width_, hidden_, bias, LayerRole::up));
    }
    layers.push_back(plan(dot + m.down, hidden_, width_, bias, LayerRole::down));
    return layers;
  }

  const Family& f_;
  const ModelSource& source_;
  ConfigReader in_;
  TokenInfo tokens_;
  std::string prefix_, activation_;
  int64_t hidden_ = 0, width_ = 0, blocks_ = 0, heads_ = 0, kv_heads_ = 0, head_dim_ = 0;
  double epsilon_ = 0.0;
};

}  // namespace

ModelLayout family_layout(const Family& family, const ModelSource& source) {
  return LayoutMaker(family, source).make();
}

}  // namespace arkit::sdk
