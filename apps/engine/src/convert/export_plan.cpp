#include "convert/export_plan.h"

#include <algorithm>
#include <limits>
#include <map>
#include <set>
#include <tuple>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/model_layout.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/layout.h>
#include <arkit/str.h>

#include "model_free/weights_model.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"
#include "quant/scheme_traits.h"
#include "util/finite.h"
#include "verify/layer_check.h"

namespace arkit {
namespace {

constexpr double kLargestCode = 1e6;  // more than any code of an integer, zero point included

// Scales of one byte are exponents: only what they and the codes make together tells.
bool may_overflow(const QuantizedWeight& weight) {
  if (at::isFloatingType(weight.codes.scalar_type())) return true;  // some bytes of 8-bit floats are no numbers
  if (!at::isFloatingType(weight.scale.scalar_type()) || weight.global_scale.defined()) return true;
  return weight.scale.numel() > 0 &&
         weight.scale.to(at::kDouble).abs().max().item<double>() > std::numeric_limits<float>::max() / kLargestCode;
}

void check_numbers(const LinearSpec& spec, const QuantizedWeight& weight, const Registry& registry) {
  const auto fail = [&](std::string_view what) {
    throw_input(
        str("layer '", printable(spec.name), "': ", what, "; the export is damaged, 'arkit verify' shows more"));
  };
  if (!weight.scale.to(at::kFloat).isfinite().all().item<bool>()) fail("a scale is not finite");
  const TensorQuant& quant = spec.quant.weight;
  if (may_overflow(weight) &&
      !io::is_finite(registry.scheme_for(quant.data_type).dequantize(weight, quant, at::kFloat).contiguous()))
    fail("its codes and scales stand for numbers that are not finite");
  if (!traits_of({.weight = quant}, schemes_of(registry)).integer_grid) return;
  if (weight.zero_point.defined() && !weight.zero_point.isfinite().all().item<bool>())
    fail("a zero point is not finite");
  if (weight.codes.numel() > 0 && weight.codes.max().item<int>() >= 1 << quant.bits)
    fail(str("a code exceeds ", quant.bits, " bits"));
}

// Blocks, their layers and the head, from the family's plugin, else from the names of tensors.
ModelLayout export_layout(const ModelSource& source, const ModelSource& shown, const Registry& registry) {
  try {
    return layout_of(source, registry);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted || error.code() == ErrorCode::internal) throw;
  }
  return model_free::layout_of(shown);
}

// How a layer is quantized by its numbers.
LayerQuant quant_of(const LayerSurvey& layer) {
  LayerQuant quant = layer.spec->quant;
  quant.act.observer.clear();  // a loader's own way, which the next format's loader does not share
  quant.weight.sym = !layer.zero_points;
  return quant;
}

// Among equals the one that comes first.
LayerQuant most_common(const std::vector<LayerSurvey>& survey) {
  std::vector<std::pair<LayerQuant, int64_t>> votes;
  for (const LayerSurvey& layer : survey) {
    const LayerQuant quant = quant_of(layer);
    const auto found = std::find_if(votes.begin(), votes.end(), [&](const auto& vote) { return vote.first == quant; });
    if (found == votes.end())
      votes.emplace_back(quant, 1);
    else
      ++found->second;
  }
  const auto fewer = [](const auto& a, const auto& b) { return a.second < b.second; };
  return std::max_element(votes.begin(), votes.end(), fewer)->first;
}

LayerPlan plan_of(const LinearSpec& spec) {
  LayerPlan layer{.name = spec.name, .out_features = spec.out_features, .in_features = spec.in_features};
  model_free::guess_layer(layer);
  if (model_free::is_embedding_table(spec.name)) layer.kind = LayerKind::embedding;
  if (const auto place = model_free::block_place(spec.name)) layer.block = place->index;
  return layer;
}

// Says `quant` in the words of `global` where both mean the same grid.
LayerQuant in_words_of(const LayerQuant& global, LayerQuant quant, const LayerSurvey& survey) {
  TensorQuant& weight = quant.weight;
  if (weight.data_type != global.weight.data_type) return quant;
  const int64_t in = survey.spec->in_features;
  const auto one_group = [in](int64_t size) { return size == -1 || size >= in; };
  if (one_group(weight.group_size) && one_group(global.weight.group_size)) weight.group_size = global.weight.group_size;
  if (!survey.spec->quant.weight.sym) weight.sym = weight.sym && global.weight.sym;
  return quant;
}

// Static scales of attention, as they are.
void plan_attention_scales(const ModelSource& source, const ModelLayout& layout, QuantPlan& plan) {
  const std::span<const AttentionSpec> specs = sdk::attention_modules(source);
  if (specs.empty()) return;
  plan.attention = specs.front().quant;
  std::vector<AttentionPlan> modules = sdk::attention_plans(layout);
  for (const AttentionSpec& spec : specs) {
    const auto found =
        std::find_if(modules.begin(), modules.end(), [&](const AttentionPlan& m) { return m.name == spec.name; });
    if (found == modules.end())
      throw_unsupported(str("'", source.path().string(), "': has static scales for '", printable(spec.name),
                            "', of which the plugin of its model family does not know how many heads it has"));
    plan.attentions.push_back(*found);
  }
}

}  // namespace

std::vector<LayerSurvey> survey_layers(const ModelSource& source, const Registry& registry, Reporter& reporter) {
  std::vector<LayerSurvey> survey;
  const auto total = static_cast<int64_t>(sdk::packed_layers(source).size());
  for (const LinearSpec& spec : sdk::packed_layers(source)) {
    throw_if_interrupted();
    const QuantizedWeight weight = sdk::packed_of(source).unpack(spec.name);
    check_numbers(spec, weight, registry);
    survey.push_back({&spec, weight.zero_point.defined()});
    release_layer(source, spec.name);
    reporter.progress({"reading layers", static_cast<int64_t>(survey.size()), total, "layers"});
  }
  return survey;
}

QuantPlan plan_of_export(const ModelSource& source, const ModelSource& shown, const std::vector<LayerSurvey>& survey,
                         const Registry& registry) {
  ARKIT_CHECK(!survey.empty(), "an export without packed layers has no plan");
  const ModelLayout layout = export_layout(source, shown, registry);
  QuantPlan plan = empty_plan(layout);
  plan_attention_scales(source, layout, plan);

  std::map<std::string_view, const LayerSurvey*> by_name;
  for (const LayerSurvey& layer : survey) by_name[layer.spec->name] = &layer;
  plan.global = most_common(survey);
  plan.scheme_name = describe(plan.global);
  std::set<std::string> planned;
  for (const LayerPlan& layer : plan.layers) planned.insert(layer.name);
  for (const LayerSurvey& layer : survey)
    if (!planned.contains(layer.spec->name)) plan.layers.push_back(plan_of(*layer.spec));
  for (LayerPlan& layer : plan.layers) {
    const auto found = by_name.find(layer.name);
    if (found == by_name.end()) {
      layer.quant = full_precision(plan.global);
      layer.reason = "not packed in the export";
      continue;
    }
    const LinearSpec& spec = *found->second->spec;
    if (spec.out_features != layer.out_features || spec.in_features != layer.in_features)
      throw_input(str("layer '", printable(layer.name), "' is packed as [", spec.out_features, ", ", spec.in_features,
                      "], but config.json makes it [", layer.out_features, ", ", layer.in_features,
                      "]; the export is damaged or not what its config says"));
    layer.has_bias = spec.has_bias;
    layer.reason.clear();
    layer.quant = in_words_of(plan.global, quant_of(*found->second), *found->second);
  }
  return plan;
}

QuantPlan one_of_each(const QuantPlan& plan) {
  QuantPlan kinds = plan;
  kinds.layers.clear();
  std::map<std::tuple<int64_t, int64_t, bool, LayerKind>, std::vector<LayerQuant>> seen;
  for (const LayerPlan& layer : plan.layers) {
    std::vector<LayerQuant>& quants = seen[{layer.out_features, layer.in_features, layer.has_bias, layer.kind}];
    if (std::find(quants.begin(), quants.end(), layer.quant) != quants.end()) continue;
    quants.push_back(layer.quant);
    kinds.layers.push_back(layer);
  }
  return kinds;
}

QuantizedWeight planned_weight(const ModelSource& source, const LayerPlan& layer) {
  QuantizedWeight weight = sdk::packed_of(source).unpack(layer.name);
  const TensorQuant& quant = layer.quant.weight;
  if (!quant.sym && !weight.zero_point.defined())
    weight.zero_point = at::full(weight.scale.sizes(), double(1 << (quant.bits - 1)), at::kFloat);
  return weight;
}

}  // namespace arkit
