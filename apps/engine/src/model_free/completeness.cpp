#include "model_free/completeness.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/model_adapter.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/layout.h>
#include <arkit/sdk/linear_layers.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

#include "model_free/foreign_tensors.h"
#include "model_free/numbered_modules.h"

namespace arkit::model_free {
namespace {

[[noreturn]] void missing(const ModelSource& source, std::string_view what) {
  throw_input(str("'", source.path().string(), "': the model is incomplete: ", what,
                  "; fetch or save it again ('arkit inspect' lists its tensors)"));
}

// ---- packed layers ----

// Parts a packed layer has beside or instead of its weight.
constexpr std::array<std::string_view, 14> kParts = {"qweight",
                                                     "qzeros",
                                                     "scales",
                                                     "g_idx",
                                                     "biases",
                                                     "weight_packed",
                                                     "weight_scale",
                                                     "weight_scale_inv",
                                                     "weight_shape",
                                                     "weight_zero_point",
                                                     "weight_global_scale",
                                                     "weight_g_idx",
                                                     "input_global_scale",
                                                     "input_scale"};
// These say even of a model without a packed layer that it was one.
constexpr std::array<std::string_view, 6> kSurely = {"qweight",      "qzeros",           "weight_packed",
                                                     "weight_scale", "weight_scale_inv", "weight_global_scale"};

bool is_float8(at::ScalarType type) {
  return at::isFloatingType(type) && c10::elementSize(type) == 1;
}

// What no model needs: buffers that are computed anew, and scales that calibration makes.
bool is_no_weight(const TensorInfo& tensor) {
  static constexpr std::array<std::string_view, 9> kNames = {"inv_freq",    "cos_cached",     "sin_cached",
                                                             "masked_bias", "k_scale",        "v_scale",
                                                             "q_scale",     "k_global_scale", "v_global_scale"};
  const bool causal_mask = last_component(tensor.name) == "bias" && tensor.shape.size() == 4;
  return causal_mask || is_one_of(last_component(tensor.name), kNames);
}

// Tensors as a plain model would have them: "<layer>.weight" for all parts of a packed layer. Scales of attention,
// which calibration makes, are left out.
std::vector<std::string> plain_names(const ModelSource& source) {
  std::unordered_set<std::string_view> packed;
  for (const LinearSpec& layer : sdk::packed_layers(source)) packed.insert(layer.name);
  std::unordered_set<std::string_view> attention;
  for (const AttentionSpec& module : sdk::attention_modules(source))
    for (const std::string& tensor : module.tensors) attention.insert(tensor);
  std::vector<std::string> names;
  for (const LinearSpec& layer : sdk::packed_layers(source)) names.push_back(layer.name + ".weight");
  for (const TensorInfo& tensor : source.weights().tensors()) {
    if (attention.contains(tensor.name) || is_no_weight(tensor)) continue;
    const bool part = packed.contains(parent_of(tensor.name)) && last_component(tensor.name) != "bias";
    if (!part) names.push_back(tensor.name);
  }
  return names;
}

// No scale without its weight, no 8-bit float without its scale.
void check_parts(const ModelSource& source) {
  std::unordered_set<std::string_view> packed;
  for (const LinearSpec& layer : sdk::packed_layers(source)) packed.insert(layer.name);
  const WeightSource& weights = source.weights();
  for (const TensorInfo& tensor : weights.tensors()) {
    const std::string_view layer = parent_of(tensor.name), part = last_component(tensor.name);
    if (packed.contains(layer)) continue;
    if (is_float8(tensor.dtype) && tensor.shape.size() >= 2) {
      for (const std::string_view scale : {"_scale_inv", "_scale"})
        if (tensor.shape.size() > 2 && weights.find(str(tensor.name, scale)) != nullptr)
          throw_unsupported(
              str("tensor '", printable(tensor.name), "' holds several layers as ", tensor.stored_type,
                  " with scales, which arkit does not read; use a checkpoint that stores them one by one"));
      missing(source, str("tensor '", printable(tensor.name), "' is ", tensor.stored_type, " and has no scale ('",
                          printable(layer), ".weight_scale_inv' or '.weight_scale'), without ",
                          "which its values mean nothing"));
    }
    if (part == "weight" && tensor.shape.size() == 2 && at::isIntegralType(tensor.dtype, true))
      missing(source, str("tensor '", printable(tensor.name), "' holds integers (", tensor.stored_type,
                          ") and has no scale, without which they mean nothing"));
    const bool of_plain_layer = part.starts_with("input_") && weights.find(str(layer, ".weight")) != nullptr;
    if (is_one_of(part, kParts) && !of_plain_layer && (!packed.empty() || is_one_of(part, kSurely)))
      missing(source, str("tensor '", printable(tensor.name), "' belongs to a packed layer '", printable(layer),
                          "' that has no weight, or that config.json does not describe"));
  }
}

// ---- numbered modules ----

// Activations between the layers of a small stack take numbers too, and have no tensors: what is numbered there are
// single layers, not modules of modules.
bool has_modules(const Names& rests) {
  return std::any_of(rests.begin(), rests.end(), [](std::string_view rest) { return rest.find('.') != rest.npos; });
}

bool are_alike(const Names& a, const Names& b) {
  Names common;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(common));
  return 2 * common.size() >= std::max(a.size(), b.size());
}

void check_holes(const ModelSource& source, std::string_view list, const Elements& elements) {
  const auto [first, rests] = *elements.begin();
  if (first > 0 && is_expert_list(list))
    missing(source, str("'", printable(list), ".0' is not stored, '", printable(list), ".", first, "' is"));
  const Names* before = &rests;
  int64_t expected = first;
  for (const auto& [index, names] : elements) {
    if (index > expected && has_modules(names) && are_alike(*before, names))
      missing(source,
              str("'", printable(list), ".", expected, "' is not stored, '", printable(list), ".", index, "' is"));
    before = &names;
    expected = index + 1;
  }
}

// What config.json says of the kind of each block, where it does: "mamba", "attention". Kinds of softmax attention have
// the same tensors.
std::vector<std::string> block_kinds(const json::Object& config) {
  for (const std::string_view key : {"layer_types", "layers_block_type", "hybrid_layer_pattern", "block_types"}) {
    const json::Value* list = json::find(config_with(config, key), key);
    if (list == nullptr || !list->is_array()) continue;
    std::vector<std::string> kinds;
    for (const json::Value& kind : list->get_array()) {
      std::string text = json::dump(kind);
      if (text == "\"sliding_attention\"" || text == "\"chunked_attention\"") text = "\"full_attention\"";
      kinds.push_back(std::move(text));
    }
    return kinds;
  }
  return {};
}

// The module of `more` whose tensors are all that `less` lacks; empty where it is not one module.
std::string_view lacking(const Names& less, const Names& more) {
  if (less.size() >= more.size() || !std::includes(more.begin(), more.end(), less.begin(), less.end())) return {};
  Names lacks;
  std::set_difference(more.begin(), more.end(), less.begin(), less.end(), std::back_inserter(lacks));
  const std::string_view module = parent_of(lacks.front());
  const bool one = std::all_of(lacks.begin(), lacks.end(), [&](std::string_view l) { return parent_of(l) == module; });
  if (!one) return {};
  return module.empty() ? lacks.front() : module;
}

// Elements by what they hold.
using Classes = std::map<Names, std::vector<int64_t>>;

class Outliers {
 public:
  Outliers(const ModelSource& source, std::string_view list, const std::vector<std::string>& kinds)
      : source_(source), list_(list), kinds_(kinds) {}

  // One element that is like others but for one module it lacks: a pattern repeats, damage does not. Elements that
  // differ in more are of another kind.
  template <typename Module>
  void check(const Classes& classes, std::string_view inside, const Module& module_of) const {
    if (classes.size() < 2) return;
    for (const auto& [less, lonely] : classes) {
      if (lonely.size() != 1) continue;
      for (const auto& [more, others] : classes) {
        const std::string_view module = module_of(less, more);
        if (module.empty() || may_be_single(module, source_.config()) || kind_of(lonely[0]) != kind_of(others[0]))
          continue;
        missing(source_, str("'", printable(list_), ".", lonely[0], ".", printable(inside), inside.empty() ? "" : ".",
                             printable(module), "' is not stored, or not all of it; '", printable(list_), ".",
                             others[0], "' has it and everything else that this one has"));
      }
    }
  }

 private:
  [[nodiscard]] std::string kind_of(int64_t index) const {
    return static_cast<size_t>(index) < kinds_.size() ? kinds_[static_cast<size_t>(index)] : std::string();
  }

  const ModelSource& source_;
  std::string_view list_;
  const std::vector<std::string>& kinds_;
};

// Whole elements: blocks of one kind.
void check_outliers(const ModelSource& source, std::string_view list, const Elements& elements,
                    const std::vector<std::string>& kinds) {
  Classes classes;
  for (const auto& [index, names] : elements)
    if (has_modules(names)) classes[names].push_back(index);
  Outliers(source, list, kinds).check(classes, "", lacking);
}

// Parts of elements: blocks of different kinds may have the same attention. What a part holds are its children, and
// only a single layer or norm ("q_proj.weight") counts as missing, neither a part of many nor a bare parameter.
void check_parts_of(const ModelSource& source, std::string_view list, const Elements& elements,
                    const std::vector<std::string>& kinds) {
  std::map<std::string_view, std::map<int64_t, Names>> parts;
  std::set<std::pair<std::string_view, std::string_view>> layers;  // part, child that is a layer
  for (const auto& [index, names] : elements)
    for (const std::string_view name : names) {
      const std::string_view module = parent_of(name), part = parent_of(module);
      if (module.empty() || std::count(part.begin(), part.end(), '.') > 0) continue;
      layers.emplace(part, last_component(module));
      parts[part][index].push_back(last_component(module));
      if (!part.empty()) parts[std::string_view()][index].push_back(part);
    }
  for (auto& [part, children_of] : parts) {
    Classes classes;
    for (auto& [index, children] : children_of) {
      std::sort(children.begin(), children.end());
      children.erase(std::unique(children.begin(), children.end()), children.end());
      classes[children].push_back(index);
    }
    Outliers(source, list, kinds).check(classes, part, [&](const Names& less, const Names& more) -> std::string_view {
      if (less.size() + 1 != more.size() || !std::includes(more.begin(), more.end(), less.begin(), less.end()))
        return {};
      const auto differs = std::mismatch(less.begin(), less.end(), more.begin()).second;
      const bool holds_others = part.empty() && parts.contains(*differs);
      return layers.contains({part, *differs}) && !holds_others ? *differs : std::string_view();
    });
  }
}

// ---- what config.json counts ----

void check_blocks(const ModelSource& source, const Lists::value_type& blocks, int64_t count) {
  int64_t expected = 0;
  for (const auto& [index, names] : blocks.second) {
    if (index != expected) break;
    ++expected;
  }
  if (expected < count)
    missing(source,
            str("config.json counts ", count, " blocks, '", printable(blocks.first), ".", expected, "' is not stored"));
}

void check_experts(const ModelSource& source, const Lists& lists) {
  const std::optional<ExpertCount> counted = expert_count(source.config());
  if (!counted) return;
  for (const auto& [list, experts] : lists)
    if (is_expert_list(list) && !is_other_sense(list) && static_cast<int64_t>(experts.size()) < counted->count)
      missing(source, str("config.json counts ", counted->count, " experts (", counted->key, "), '", printable(list),
                          "' has ", experts.size()));
}

// ---- what lies outside the blocks ----

bool is_called(const json::Object& config, std::string_view ending) {
  const json::Value* names = json::find(config, "architectures");
  if (names == nullptr || !names->is_array() || names->get_array().empty()) return false;
  const json::Value& first = names->get_array().front();
  return first.is_string() && std::string_view(first.get_string()).ends_with(ending);
}

bool is_language_model(const json::Object& config) {
  return is_called(config, "ForCausalLM");
}

void check_ends(const ModelSource& source, const std::vector<std::string>& names, const Lists::value_type& blocks) {
  const json::Object& config = source.config();
  const bool of_senses = is_called(config, "ForConditionalGeneration");  // says "tied" in more than one place
  if (!is_language_model(config) && !of_senses) return;
  bool table = false, head = false, norm = false;
  const std::string_view above = parent_of(blocks.first);
  for (const std::string& name : names) {
    const std::string_view module = parent_of(name);
    if (!name.ends_with(".weight") || module.starts_with(str(blocks.first, "."))) continue;
    table = table || (is_lookup_table(module) && !is_other_sense(module));
    head = head || is_head_layer(module);
    const bool is_norm = module.find("norm") != std::string_view::npos || module.ends_with("ln_f");
    norm = norm || (is_norm && module.starts_with(above));
  }
  const json::Value* tied = json::find(config_with(config, "tie_word_embeddings"), "tie_word_embeddings");
  const bool apart = tied != nullptr && tied->is_bool() && !tied->get_bool();
  if (!table && (!head || apart)) missing(source, "no table of embeddings is stored");
  if (!head && apart)
    missing(source,
            "no head (lm_head) is stored, and config.json says that it is not the table of embeddings "
            "(tie_word_embeddings)");
  // Blocks that begin with a norm end with one outside.
  const Names& first = blocks.second.begin()->second;
  const bool pre_norm =
      std::any_of(first.begin(), first.end(), [](std::string_view rest) { return is_norm_in_front(rest); });
  if (pre_norm && !norm) missing(source, str("no norm behind the blocks of '", printable(blocks.first), "' is stored"));
}

// What the plugin of the family asks for. It speaks for models of the shape it runs, not for classifiers and encoders
// of the same family.
void check_family(const ModelSource& source, const Registry& registry) {
  if (!is_language_model(source.config())) return;
  const auto layers = sdk::packed_layers(source);  // no family looks rows up in packed tables
  if (std::any_of(layers.begin(), layers.end(), [](const LinearSpec& l) { return is_embedding_table(l.name); })) return;
  for (const std::string& name : registry.names(Kind::model)) {
    ModelAdapter& adapter = registry.model(name);
    if (!adapter.matches(source.config())) continue;
    try {
      ModelLayout layout = adapter.layout(source);
      layout.whole = false;  // what else is stored concerns those who compute with the model
      sdk::check_tensors(layout, source);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::input || error.code() == ErrorCode::interrupted) throw;
    }
    return;
  }
}

}  // namespace

void require_complete(const ModelSource& source) {
  refuse_adapters(source);
  check_parts(source);
  const std::vector<std::string> names = plain_names(source);
  const Lists lists = numbered(names);
  refuse_second_names(source, names, lists);
  const Lists::value_type* blocks = main_list(lists);
  const std::vector<std::string> kinds = block_kinds(source.config()), unknown;
  for (const auto& list : lists) {
    check_holes(source, list.first, list.second);
    if (&list != blocks) check_outliers(source, list.first, list.second, unknown);
  }
  if (blocks != nullptr) {
    Elements counted = blocks->second;  // without those behind the last block, for multi-token prediction
    if (const std::optional<int64_t> count = count_of_blocks(source.config())) {
      check_blocks(source, *blocks, *count);
      refuse_blocks_behind(source, *blocks, *count);
      counted.erase(counted.lower_bound(*count), counted.end());
    }
    check_outliers(source, blocks->first, counted, kinds);
    check_parts_of(source, blocks->first, counted, kinds);
  }
  check_experts(source, lists);
  if (blocks != nullptr) check_ends(source, names, *blocks);
}

void require_complete(const ModelSource& source, const Registry& registry) {
  require_complete(source);
  check_family(source, registry);
}

}  // namespace arkit::model_free
