#include "oneshot/recipe_plan.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "oneshot/layer_quant.h"
#include "oneshot/target_match.h"
#include "quant/attention_plan.h"
#include "quant/embedding_tables.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit::oneshot {
namespace {

constexpr size_t kNamesShown = 8;
constexpr double kAveraging = 0.01;  // of the observer "minmax" (docs/spec/observers.md 1)

std::string dtype_text(at::ScalarType dtype) {
  if (dtype == at::kFloat) return "float32";
  return dtype == at::kHalf ? "float16" : "bfloat16";
}

std::optional<at::ScalarType> float_dtype(const TensorInfo* info) {
  if (info == nullptr) return std::nullopt;
  if (info->stored_type == "F32" || info->stored_type == "F64") return at::kFloat;
  if (info->stored_type == "F16") return at::kHalf;
  if (info->stored_type == "BF16") return at::kBFloat16;
  return std::nullopt;
}

// kv_cache_scheme: what arkit calibrates of it.
AttentionOptions attention_options(const QuantArgs& args) {
  const bool known = args.type == "float" && args.num_bits == 8 && args.symmetric && args.dynamic == Dynamic::no &&
                     (args.strategy == "tensor" || args.strategy == "attn_head");
  if (!known)
    throw_unsupported(str("recipe: kv_cache_scheme with ", args.num_bits, "-bit ", args.type, ", strategy '",
                          args.strategy,
                          "' is not available; keys and values take num_bits: 8, type: float, strategy: "
                          "tensor or attn_head, dynamic: false, symmetric: true"));
  const bool extremes = args.observer.value_or("minmax") != "minmax";
  return {.kv_dtype = "fp8",
          .attention_dtype = {},
          .kv_granularity = args.strategy == "tensor" ? "tensor" : "head",
          .averaging = extremes ? 0.0 : kAveraging};
}

class Planner {
 public:
  Planner(const Recipe& recipe, const ModelLayout& layout, const ModelSource& source, const Registry& registry,
          Reporter& reporter)
      : m_(recipe.modifier), layout_(layout), source_(source), registry_(registry), reporter_(reporter) {
    plan_ = empty_plan(layout);
    plan_.layers.clear();  // place() adds them
    plan_.scheme_name = m_.scheme_name.empty() ? "recipe" : upper(m_.scheme_name);
    for (const QuantScheme& scheme : m_.schemes) {
      const std::string where = "scheme " + std::to_string(quants_.size());
      quants_.push_back(layer_quant(scheme, !m_.tunes, dtype_text(stored_dtype(source)), where));
    }
    if (!quants_.empty()) plan_.global = quants_.front();
    layers_ = embedding_tables(source.weights());
    for (LayerPlan& layer : layout.linears()) layers_.push_back(std::move(layer));
  }

  RecipePlan run() {
    std::vector<std::vector<std::string>> targets;
    for (const QuantScheme& scheme : m_.schemes) targets.push_back(scheme.targets);
    TargetList list(targets, m_.ignore, "recipe");
    for (LayerPlan& layer : layers_) place(layer, list);
    for (const std::string& text : list.unmatched())
      reporter_.warn(str("recipe: target '", printable(text),
                         "' matches no layer arkit quantizes; layers are named like '", layers_.back().name,
                         "', classes are Linear and Embedding"));
    for (const std::string& text : list.unmatched_ignores())
      reporter_.warn(str("recipe: ignore '", printable(text), "' matches no layer"));
    if (quantized_count(plan_) == 0 && !m_.kv_cache)
      throw_input("the recipe quantizes no layer of this model; check targets and ignore");
    check_shapes();
    if (m_.kv_cache) plan_attention(plan_, layout_, attention_options(*m_.kv_cache), registry_);
    for (const std::string& warning : plan_warnings(plan_)) reporter_.warn(warning);
    record_.document = document();
    for (const QuantScheme& scheme : m_.schemes) record_.schemes.push_back(to_json(scheme));
    if (m_.kv_cache) record_.kv_cache_scheme = to_json(*m_.kv_cache);
    return {std::move(plan_), std::make_shared<const RecipeRecord>(std::move(record_))};
  }

 private:
  static std::string upper(std::string text) {
    for (char& c : text)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    return text;
  }

  void place(LayerPlan& layer, TargetList& list) {
    const auto scheme = list.scheme_of(layer.name, layer.kind);
    const bool wanted = scheme && quants_[*scheme].quantized();
    if (layer.kind == LayerKind::embedding) {
      if (wanted) check_embedding(layer);
      if (!wanted) return;  // otherwise no layer of the plan
    }
    const std::string why = wanted ? keeps(layer) : std::string();
    if (wanted && why.empty()) {
      layer.quant = quants_[*scheme];
      if (const auto dtype = float_dtype(source_.weights().find(layer.name + ".weight")); dtype && !m_.tunes)
        layer.quant.weight.scale_dtype = dtype_text(*dtype);
      layer.user_fixed = true;
      layer.reason.clear();
      record_.layers.emplace(layer.name, *scheme);
    } else {
      layer.quant = LayerQuant{.weight = {.data_type = "float"}, .act = {.data_type = "float"}};
      layer.reason = !why.empty()                           ? why
                     : list.ignores(layer.name, layer.kind) ? "ignored by the recipe"
                                                            : "not targeted by the recipe";
      if (!why.empty()) reporter_.warn(str("recipe: '", layer.name, "' stays in 16 bits: ", why));
    }
    plan_.layers.push_back(layer);
  }

  void check_embedding(const LayerPlan& layer) const {
    if (plan_.tied_embeddings)
      throw_unsupported(
          str("recipe: '", layer.name,
              "' is lm_head's weight too, and one of the two cannot be quantized alone; take Embedding out "
              "of the targets"));
    if (m_.tunes)
      throw_unsupported(str("recipe: AutoRoundModifier tunes layers of decoder blocks, not '", layer.name,
                            "'; use QuantizationModifier for embeddings"));
  }

  // Why a targeted layer is left alone; empty = it is not.
  [[nodiscard]] std::string keeps(const LayerPlan& layer) const {
    if (layer.block < 0 && plan_.tied_embeddings && layer.kind != LayerKind::embedding)
      return "it shares its weight with the embedding";
    if (layer.kind == LayerKind::conv1d) return "compressed-tensors has no Conv1D";
    return {};
  }

  // docs/spec/modifier-recipes.md 6: everything a group size does not divide is listed before any work.
  void check_shapes() const {
    std::vector<std::string> ragged;
    for (const LayerPlan& layer : plan_.layers) {
      const TensorQuant& weight = layer.quant.weight;
      if (weight.quantized() && weight.group_size > 0 && weight.block_rows == 0 &&
          layer.in_features % weight.group_size != 0)
        ragged.push_back(str(layer.name, " (", layer.in_features, " columns, groups of ", weight.group_size, ")"));
    }
    if (!ragged.empty()) {
      const size_t more = ragged.size() > kNamesShown ? ragged.size() - kNamesShown : 0;
      ragged.resize(ragged.size() - more);
      throw_unsupported(str("recipe: the group size does not divide the columns of ", quoted_list(ragged),
                            more > 0 ? str(" and ", more, " more") : "",
                            "; ignore these layers or change the group size"));
    }
    for (const LayerPlan& layer : plan_.layers) {
      if (!layer.quantized()) continue;
      if (const Verdict verdict = registry_.scheme_for(layer.quant.weight.data_type).supports(layer); !verdict)
        throw_unsupported(str("recipe: layer '", layer.name, "': ", verdict.why_not));
    }
  }

  // recipe.yaml. A model that was made with a recipe of its own keeps it: stages of the same name are numbered.
  [[nodiscard]] json::Object document() const {
    json::Object document = earlier();
    std::string stage = m_.stage;
    if (document.contains(stage)) {
      json::Object renamed;
      for (const auto& member : document)
        renamed[member.key() == stage ? stage + "_0" : std::string(member.key())] = member.value();
      document = std::move(renamed);
    }
    if (document.contains(stage + "_0")) {
      int next = 1;
      while (document.contains(str(stage, "_", next))) ++next;
      stage = str(stage, "_", next);
    }
    json::Object modifier, group;
    modifier[m_.type] = m_.fields;
    group[m_.group] = std::move(modifier);
    document[stage] = std::move(group);
    return document;
  }

  [[nodiscard]] json::Object earlier() const {
    const std::filesystem::path file = source_.path() / "recipe.yaml";
    std::error_code error;
    if (!std::filesystem::is_regular_file(file, error)) return {};
    try {
      return json::as_object(load_recipe_file(file), "the model's recipe.yaml");
    } catch (const Error& unreadable) {
      reporter_.warn(str("the model's own recipe.yaml is left out: ", unreadable.what()));
      return {};
    }
  }

  const Modifier& m_;
  const ModelLayout& layout_;
  const ModelSource& source_;
  const Registry& registry_;
  Reporter& reporter_;
  QuantPlan plan_;
  RecipeRecord record_;
  std::vector<LayerQuant> quants_;
  std::vector<LayerPlan> layers_;
};

}  // namespace

at::ScalarType stored_dtype(const ModelSource& source) {
  std::map<at::ScalarType, int64_t> bytes;
  for (const TensorInfo& info : source.weights().tensors())
    if (const auto dtype = float_dtype(&info); dtype && info.shape.size() == 2) bytes[*dtype] += info.stored_bytes;
  const auto most =
      std::max_element(bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? at::kBFloat16 : most->first;
}

RecipePlan plan_recipe(const Recipe& recipe, const ModelLayout& layout, const ModelSource& source,
                       const Registry& registry, Reporter& reporter) {
  return Planner(recipe, layout, source, registry, reporter).run();
}

}  // namespace arkit::oneshot
