#include <algorithm>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/family_files.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>
#include <arkit/str.h>
#include <arkit/transform.h>

#include "calibration/dataset_registry.h"
#include "jobs/backend_list.h"
#include "jobs/format_matrix.h"
#include "quant/recipes.h"
#include "quant/runtime_rules.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace {

// A layer every format can judge: its shape fits all group sizes and packings in use.
LayerPlan probe_layer(const LayerQuant& quant) {
  return {.name = "blocks.0.query", .out_features = 1024, .in_features = 1024, .block = 0, .quant = quant};
}

json::Array list_plugins(const Registry& registry) {
  json::Array rows;
  for (const PluginEntry& plugin : registry.plugins()) {
    json::Array components;
    for (const ComponentEntry& component : plugin.components)
      components.push_back(json::Object{{"kind", kind_name(component.kind)},
                                        {"name", component.name},
                                        {"summary", component.summary},
                                        {"shadowed", component.shadowed}});
    const std::string_view state = plugin.state == PluginState::loaded    ? "loaded"
                                   : plugin.state == PluginState::refused ? "refused"
                                                                          : "shadowed";
    rows.push_back(json::Object{{"id", plugin.id},
                                {"version", plugin.version},
                                {"vendor", plugin.vendor},
                                {"license", plugin.license},
                                {"path", plugin.path.string()},
                                {"state", state},
                                {"reason", plugin.reason},
                                {"components", std::move(components)}});
  }
  return rows;
}

json::Array list_schemes(const Registry& registry) {
  json::Array rows;
  for (const Preset& preset : all_presets(registry)) {
    const Scheme& scheme = registry.scheme_for(preset.quant.weight.data_type);
    rows.push_back(json::Object{{"name", preset.name},
                                {"plugin", scheme.info().name},
                                {"summary", preset.summary},
                                {"quantization", describe(preset.quant)},
                                {"bits_per_weight", scheme.bits_per_weight(probe_layer(preset.quant))}});
  }
  return rows;
}

// Does the matrix show this preset a second time, asymmetric?
bool has_asymmetric_twin(const Preset& preset, const Registry& registry) {
  if (!preset.quant.weight.quantized() || !preset.quant.weight.sym || preset.quant.act.quantized()) return false;
  LayerQuant quant = preset.quant;
  quant.weight.sym = false;
  return bool(registry.scheme_for(quant.weight.data_type).supports(probe_layer(quant)));
}

// The format x scheme matrix, from the exporters' own supports(): each preset, symmetric and asymmetric where its
// scheme can be both.
json::Array list_formats(const Registry& registry) {
  json::Array rows;
  for (const std::string& name : registry.names(Kind::exporter)) {
    const Exporter& exporter = registry.exporter(name);
    std::vector<std::string> variants{name};
    for (const std::string_view variant : exporter.variants()) variants.emplace_back(variant);
    for (const std::string& variant : variants) {
      json::Object cells;
      for (const Preset& preset : all_presets(registry)) {
        for (const bool sym : {true, false}) {
          if (!sym && !has_asymmetric_twin(preset, registry)) continue;
          LayerQuant quant = preset.quant;
          quant.weight.sym = sym && quant.weight.sym;
          const LayerPlan layer = probe_layer(quant);
          Verdict verdict = layer.quantized() ? exporter.supports(layer, variant) : Verdict::yes();
          if (verdict) {
            QuantPlan plan{.model_type = "llama",
                           .scheme_name = preset.name,
                           .global = quant,
                           .layers = {layer},
                           .block_lists = {"model.layers"},
                           .num_blocks = 1};
            verdict = exporter.supports_plan(plan, variant);
          }
          cells[sym ? preset.name : preset.name + " asym"] = verdict ? std::string("yes") : verdict.why_not;
        }
      }
      json::Object row{{"format", variant}, {"summary", exporter.info().summary}, {"schemes", std::move(cells)}};
      if (const std::string_view preset = exporter.implied_scheme(variant); !preset.empty()) row["stands_for"] = preset;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

// Families of plugins, and each that a file declares with the file; of those with one model_type the file comes first.
json::Array list_models(const Registry& registry) {
  json::Array rows;
  for (const std::string& name : registry.names(Kind::model)) {
    const ModelAdapter& adapter = registry.model(name);
    if (const auto* files = dynamic_cast<const FamilyFiles*>(&adapter)) {
      for (const FamilyFile& family : files->families())
        rows.push_back(json::Object{{"name", family.name},
                                    {"summary", family.summary},
                                    {"model_types", json::Array(family.model_types.begin(), family.model_types.end())},
                                    {"file", family.path.string()}});
      continue;
    }
    const AdapterInfo& info = adapter.info();
    json::Array types;
    for (const std::string_view type : info.model_types) types.emplace_back(type);
    rows.push_back(json::Object{{"name", name}, {"summary", info.summary}, {"model_types", std::move(types)}});
  }
  return rows;
}

json::Array list_transforms(const Registry& registry) {
  json::Array rows;
  for (const std::string& name : registry.names(Kind::transform)) {
    const Transform& transform = registry.transform(name);
    rows.push_back(
        json::Object{{"name", name}, {"summary", transform.info().summary}, {"settings", transform.settings({})}});
  }
  return rows;
}

json::Array list_recipes() {
  json::Array rows;
  for (const Recipe& recipe : recipes())
    rows.push_back(json::Object{{"name", recipe.name},
                                {"summary", recipe.summary},
                                {"iters", recipe.iters},
                                {"nsamples", recipe.nsamples},
                                {"seqlen", recipe.seqlen},
                                {"batch_size", recipe.batch_size}});
  return rows;
}

json::Array list_runtimes() {
  json::Array rows;
  for (const RuntimeRules& rules : installed_runtimes()) {
    json::Array loads, fused;
    for (const RuntimeRules::Entry& entry : rules.loads)
      loads.push_back(
          json::Object{{"formats", json::Array(entry.formats.begin(), entry.formats.end())}, {"loads", entry.text}});
    for (const RuntimeRules::Fused& rule : rules.fused)
      fused.push_back(rule.parts.empty() ? json::Value("experts")
                                         : json::Value(json::Array(rule.parts.begin(), rule.parts.end())));
    rows.push_back(json::Object{{"name", rules.name},
                                {"title", rules.title},
                                {"checked", rules.checked},
                                {"fused", std::move(fused)},
                                {"loads", std::move(loads)}});
  }
  return rows;
}

}  // namespace

json::Object list_things(const std::string& what, const Registry& registry) {
  if (what == "plugins") return {{what, list_plugins(registry)}};
  if (what == "schemes") return {{what, list_schemes(registry)}};
  if (what == "formats") {
    json::Array rows = list_formats(registry);
    std::string matrix = format_matrix(rows);
    return {{what, std::move(rows)}, {"matrix", std::move(matrix)}};
  }
  if (what == "backends") return {{what, list_backends(registry)}};
  if (what == "models") return {{what, list_models(registry)}};
  if (what == "transforms") return {{what, list_transforms(registry)}};
  if (what == "runtimes") return {{what, list_runtimes()}};
  if (what == "recipes") return {{what, list_recipes()}};
  if (what == "datasets") return {{what, calibration::list_datasets()}};
  throw_usage(unknown_name("list", what,
                           std::vector<std::string>{"plugins", "schemes", "formats", "backends", "models", "recipes",
                                                    "datasets", "runtimes", "transforms"},
                           "plugins, schemes, formats, backends, models, recipes, datasets, runtimes or transforms"));
}

}  // namespace arkit
