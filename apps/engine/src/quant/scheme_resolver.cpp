#include "quant/scheme_resolver.h"

#include <algorithm>
#include <array>
#include <span>
#include <vector>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/gguf_blocks.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// Data types of integers whose scale follows from the weight in another way: every integer format holds them.
constexpr std::array<std::pair<std::string_view, std::string_view>, 2> kScaleRules{
    {{"int_sym_gptq", "gptq"}, {"mx_uint", "power_of_two"}}};

bool is_registered(std::string_view data_type, const Registry& registry) {
  for (const std::string& name : registry.names(Kind::scheme)) {
    const auto types = registry.scheme(name).info().data_types;
    if (std::find(types.begin(), types.end(), data_type) != types.end()) return true;
  }
  return false;
}

// Splits "int8" into "int" and 8 where a scheme knows "int" and none "int8"; other names are left alone.
void reconcile(std::string& data_type, int& bits, const Registry& registry) {
  const size_t digits = data_type.find_last_not_of("0123456789") + 1;
  const size_t count = data_type.size() - digits;
  if (count == 0 || count > 2 || is_registered(data_type, registry)) return;
  if (!is_registered(data_type.substr(0, digits), registry)) return;
  bits = std::stoi(data_type.substr(digits));
  data_type.resize(digits);
}

void set_data_type(TensorQuant& weight, const std::string& data_type, const Registry& registry) {
  weight.data_type = data_type;
  weight.observer.clear();
  reconcile(weight.data_type, weight.bits, registry);
  const auto* rule =
      std::find_if(kScaleRules.begin(), kScaleRules.end(), [&](const auto& r) { return r.first == weight.data_type; });
  if (rule == kScaleRules.end()) return;
  weight.data_type = "int";
  weight.observer = rule->second;
}

void set_scale_search(LayerQuant& quant, const Scheme& scheme, const std::string& name, std::string_view what) {
  const std::span<const std::string_view> known = scheme.traits(quant).scale_searches;
  if (known.empty())
    throw_usage(str(what, ": scale_search '", printable(name), "' does nothing, '", quant.weight.data_type,
                    "' finds scales in one way alone; leave it out (docs/FORMATS.md says which schemes have several)"));
  const auto found = std::find(known.begin(), known.end(), name);
  if (found == known.end())
    throw_usage(str(what, ": scale_search '", printable(name), "' is unknown; expected ",
                    quoted_list(std::vector<std::string>(known.begin(), known.end()))));
  quant.weight.observer = found == known.begin() ? std::string() : str(kSearchRule, name);
}

void check_ranges(const TensorQuant& quant, std::string_view what) {
  constexpr int kNone = 16, kNoneToo = 32;  // float32 is as unquantized as bfloat16
  if (quant.bits < 1 || (quant.bits > kNone && quant.bits != kNoneToo))
    throw_usage(str(what, ": bits ", quant.bits, " is out of range; expected 2..8, or 16 for none"));
  if (quant.group_size < -1)
    throw_usage(str(what, ": group_size ", quant.group_size,
                    " is out of range; expected a positive size, -1 (a row) or 0 (a tensor)"));
}

}  // namespace

std::vector<Preset> all_presets(const Registry& registry) {
  std::vector<Preset> presets;
  for (const std::string& name : registry.names(Kind::scheme))
    for (const Preset& preset : registry.scheme(name).presets()) presets.push_back(preset);
  std::sort(presets.begin(), presets.end(), [](const Preset& a, const Preset& b) { return a.name < b.name; });
  return presets;
}

ResolvedScheme resolve_preset(std::string_view name, const Registry& registry) {
  const std::vector<Preset> presets = all_presets(registry);
  std::vector<std::string> names;
  for (const Preset& preset : presets) {
    if (lower(preset.name) == lower(name)) return {preset.name, preset.quant, preset.dense};
    names.push_back(preset.name);
  }
  throw_unsupported(unknown_name("scheme", name, names, "'arkit list schemes' shows all"));
}

LayerQuant with_type_of_bits(LayerQuant quant, const SchemeOverrides& overrides, std::string_view what) {
  if (!sdk::find_block_type(quant.weight.data_type) || !quant.weight.quantized()) return quant;
  if (!overrides.bits || overrides.data_type) return quant;
  if (TensorQuant wanted{.bits = *overrides.bits}; !wanted.quantized()) return quant;
  const std::optional<TensorQuant> other = sdk::quant_of_bits(quant.weight, *overrides.bits);
  if (!other)
    throw_usage(
        str(what, ": no type of blocks has ", *overrides.bits, " bits; choose 2, 3, 4, 5, 6 or 8, or 16 for none"));
  quant.weight = *other;
  return quant;
}

LayerQuant apply_overrides(LayerQuant quant, const SchemeOverrides& overrides, const Registry& registry,
                           std::string_view what) {
  TensorQuant& weight = quant.weight;
  TensorQuant& act = quant.act;
  if (overrides.bits) weight.bits = *overrides.bits;
  if (overrides.group_size) weight.group_size = *overrides.group_size;
  if (overrides.sym) weight.sym = *overrides.sym;
  if (overrides.scale_dtype) {
    static constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kNames{{{"fp16", "float16"},
                                                                                          {"float16", "float16"},
                                                                                          {"bf16", "bfloat16"},
                                                                                          {"bfloat16", "bfloat16"},
                                                                                          {"fp32", "float32"},
                                                                                          {"float32", "float32"}}};
    const auto* known =
        std::find_if(kNames.begin(), kNames.end(), [&](const auto& n) { return n.first == *overrides.scale_dtype; });
    if (known == kNames.end())
      throw_usage(str(what, ": scale_dtype '", *overrides.scale_dtype, "' is unknown; expected fp16, bf16 or fp32"));
    weight.scale_dtype = known->second;
  }
  if (overrides.data_type) set_data_type(weight, *overrides.data_type, registry);
  const bool act_was_following = !quant.act.quantized();
  if (overrides.act_bits) act.bits = *overrides.act_bits == 0 ? 16 : *overrides.act_bits;
  if (overrides.act_group_size)
    act.group_size = *overrides.act_group_size;
  else if (act_was_following)
    act.group_size = weight.group_size;
  if (overrides.act_sym)
    act.sym = *overrides.act_sym;
  else if (act_was_following)
    act.sym = weight.sym;
  if (overrides.act_dynamic) act.dynamic = *overrides.act_dynamic;
  if (overrides.act_data_type) {
    act.data_type = *overrides.act_data_type;
    reconcile(act.data_type, act.bits, registry);
  } else if (act_was_following && act.quantized()) {
    act.data_type = weight.data_type;
  }
  check_ranges(weight, what);
  check_ranges(act, what);
  for (const auto& [data_type, rule] : kScaleRules)
    if (weight.observer == rule && !weight.sym)
      throw_usage(str(what, ": data_type '", data_type, "' is symmetric; leave --asym (sym false) out"));
  if (weight.quantized()) {
    const Scheme& scheme = registry.scheme_for(weight.data_type);
    if (overrides.scale_search) set_scale_search(quant, scheme, *overrides.scale_search, what);
  }
  if (act.quantized()) (void)registry.scheme_for(act.data_type);
  return quant;
}

void refuse_idle_activations(const SchemeOverrides& overrides, bool quantized, std::string_view what) {
  if (quantized) return;
  std::string idle;
  const auto note = [&](bool given, const char* name) {
    if (given) idle += str(idle.empty() ? "" : ", ", name);
  };
  note(overrides.act_group_size.has_value(), "act_group_size");
  note(overrides.act_data_type.has_value(), "act_data_type");
  note(overrides.act_sym.has_value(), overrides.act_sym.value_or(true) ? "act_sym" : "act_asym");
  note(overrides.act_dynamic.has_value(), overrides.act_dynamic.value_or(true) ? "act_dynamic" : "disable_act_dynamic");
  if (!idle.empty()) throw_usage(str(what, ": activations stay in 16 bits; add act_bits 8, or leave ", idle, " out"));
}

std::string scheme_title(const ResolvedScheme& scheme, const LayerQuant& global, const Registry& registry) {
  const auto same_type = [](const TensorQuant& a, const TensorQuant& b) {
    return a.quantized() == b.quantized() && (!a.quantized() || (a.bits == b.bits && a.data_type == b.data_type));
  };
  const auto fits = [&](const LayerQuant& quant) {
    return same_type(quant.weight, global.weight) && same_type(quant.act, global.act);
  };
  const auto same_groups = [&](const LayerQuant& quant) { return quant.weight.group_size == global.weight.group_size; };
  const bool names_groups = scheme.name.find_first_of("0123456789", scheme.name.rfind('G')) != std::string::npos &&
                            scheme.name.rfind('G') != std::string::npos;
  if (scheme.dense || (fits(scheme.quant) && (same_groups(scheme.quant) || !names_groups))) return scheme.name;
  for (const Preset& preset : all_presets(registry))
    if (!preset.dense && fits(preset.quant) && same_groups(preset.quant)) return preset.name;
  const auto bits = [](const TensorQuant& quant) { return quant.quantized() ? quant.bits : 16; };
  const std::string type =
      global.weight.data_type == "int" || !global.weight.quantized() ? "" : global.weight.data_type + "-";
  const bool usual = global.weight.group_size == scheme.quant.weight.group_size && !names_groups;
  return str(type, "W", bits(global.weight), "A", bits(global.act),
             usual || global.weight.group_size <= 0 ? "" : str("G", global.weight.group_size));
}

std::string describe(const LayerQuant& quant) {
  const auto one = [](const TensorQuant& q) {
    // "int4", but "nvfp4_v2" and "mx_fp6e3m2" say it themselves.
    std::string text = q.data_type;
    if (text.find_first_of("0123456789") == std::string::npos) text += std::to_string(q.bits);
    if (q.block_rows > 0)
      text += str(" ", q.block_rows, "x", q.group_size);
    else if (q.group_size > 0)
      text += str(" g", q.group_size);
    else
      text += q.group_size == -1 ? " per-channel" : " per-tensor";
    text += q.sym ? " sym" : " asym";
    if (q.observer == "neuqi" || q.observer == "gptq" || q.observer == "power_of_two") text += ' ' + q.observer;
    if (q.observer.starts_with(kSearchRule)) text += ' ' + q.observer.substr(kSearchRule.size());
    return text;
  };
  if (!quant.quantized()) return "16-bit";
  std::string text = one(quant.weight);
  if (quant.act.quantized()) text += str(" + act ", one(quant.act), quant.act.dynamic ? " dynamic" : " static");
  return text;
}

}  // namespace arkit
