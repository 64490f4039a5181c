#include "autoscheme/layer_file.h"

#include <map>
#include <optional>
#include <sstream>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "quant/scheme_resolver.h"

namespace arkit::auto_scheme {
namespace {

struct Spelled {
  std::string preset;
  SchemeOverrides fields;
  size_t count = 0;  // fields set
};

template <typename Field, typename Value>
void set_if_different(std::optional<Field>& field, const Value& have, const Value& want, size_t& count) {
  if (have == want) return;
  field = want;
  ++count;
}

// The overrides that turn a preset into `quant`; nothing when no overrides do.
std::optional<Spelled> spell(const Preset& preset, const LayerQuant& quant, const Registry& registry) {
  Spelled spelled{.preset = preset.name, .fields = {}};
  const TensorQuant &have = preset.quant.weight, &want = quant.weight;
  SchemeOverrides& f = spelled.fields;
  set_if_different(f.data_type, have.data_type, want.data_type, spelled.count);
  set_if_different(f.bits, have.bits, want.bits, spelled.count);
  set_if_different(f.group_size, have.group_size, want.group_size, spelled.count);
  set_if_different(f.sym, have.sym, want.sym, spelled.count);
  set_if_different(f.scale_dtype, have.scale_dtype, want.scale_dtype, spelled.count);
  if (have.observer != want.observer && want.observer.starts_with(kSearchRule)) {
    f.scale_search = want.observer.substr(kSearchRule.size());
    ++spelled.count;
  }
  if (quant.act.quantized() || preset.quant.act.quantized()) {
    const TensorQuant &act = preset.quant.act, &act_want = quant.act;
    set_if_different(f.act_data_type, act.data_type, act_want.data_type, spelled.count);
    set_if_different(f.act_bits, act.bits, act_want.bits, spelled.count);
    set_if_different(f.act_group_size, act.group_size, act_want.group_size, spelled.count);
    set_if_different(f.act_sym, act.sym, act_want.sym, spelled.count);
    set_if_different(f.act_dynamic, act.dynamic, act_want.dynamic, spelled.count);
  }
  const LayerQuant made = apply_overrides(preset.quant, f, registry, "layer_config");
  const bool same = made.weight == quant.weight && (made.act == quant.act || !quant.act.quantized());
  return same && made.act.quantized() == quant.act.quantized() ? std::optional(spelled) : std::nullopt;
}

Spelled spell_shortest(const LayerQuant& quant, const std::vector<Preset>& presets, const Registry& registry) {
  if (!quant.quantized()) return {.preset = "BF16", .fields = {}};
  std::optional<Spelled> best;
  for (const Preset& preset : presets) {
    if (preset.dense) continue;
    const auto spelled = spell(preset, quant, registry);
    if (spelled && (!best || spelled->count < best->count)) best = spelled;
  }
  if (!best) throw_unsupported(str("'", describe(quant), "' cannot be written as a layer_config"));
  return *best;
}

std::string quoted(const std::string& text) {
  return "\"" + text + "\"";
}

std::string lines(const Spelled& spelled) {
  std::ostringstream out;
  out << "scheme = " << quoted(spelled.preset) << "\n";
  const SchemeOverrides& f = spelled.fields;
  const auto text = [&](const char* key, const std::optional<std::string>& value) {
    if (value) out << key << " = " << quoted(*value) << "\n";
  };
  const auto number = [&](const char* key, const auto& value) {
    if (value) out << key << " = " << *value << "\n";
  };
  const auto flag = [&](const char* key, const std::optional<bool>& value) {
    if (value) out << key << " = " << (*value ? "true" : "false") << "\n";
  };
  text("data_type", f.data_type);
  number("bits", f.bits);
  number("group_size", f.group_size);
  flag("sym", f.sym);
  text("scale_dtype", f.scale_dtype);
  text("scale_search", f.scale_search);
  text("act_data_type", f.act_data_type);
  number("act_bits", f.act_bits);
  number("act_group_size", f.act_group_size);
  flag("act_sym", f.act_sym);
  flag("act_dynamic", f.act_dynamic);
  return out.str();
}

}  // namespace

std::string layer_config_text(const QuantPlan& plan, const Registry& registry, const std::string& comment) {
  const std::vector<Preset> presets = all_presets(registry);
  std::map<std::string, std::string> known;  // described -> lines; few schemes, many layers
  std::ostringstream out;
  out << "# " << comment << "\n";
  for (const LayerPlan& layer : plan.layers) {
    if (layer.block < 0 && !layer.quantized()) continue;
    const std::string key = str(describe(layer.quant), " ", layer.quant.weight.scale_dtype);
    const auto [entry, is_new] = known.try_emplace(key);
    if (is_new) entry->second = lines(spell_shortest(layer.quant, presets, registry));
    out << "\n[" << quoted(layer.name) << "]\n" << entry->second;
  }
  return out.str();
}

}  // namespace arkit::auto_scheme
