#include "autoscheme/options.h"

#include <algorithm>

#include <arkit/engine/default_formats.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "quant/format_lookup.h"
#include "quant/free_formats.h"
#include "quant/layer_config.h"
#include "quant/runtime_rules.h"
#include "quant/scheme_resolver.h"

namespace arkit::auto_scheme {
namespace {

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(" \t\r\n") + 1 - begin));
}

LayerRule read_entry(const std::string& entry) {
  if (entry.front() != '{') return {.key = entry, .scheme = entry};
  std::vector<LayerRule> rules = parse_layer_config(str("{option:", entry, "}"));
  if (rules.size() != 1)
    throw_usage(
        str("options: '", printable(entry), "' is not one scheme; expected a name or {scheme:W4A16,group_size:32}"));
  return rules.front();
}

// Do serving engines read such layers of all these formats?
bool is_read(const LayerQuant& quant, const std::vector<std::string>& formats, const Registry& registry) {
  const LayerPlan sample{.name = "layer", .out_features = 1024, .in_features = 1024, .block = 0, .quant = quant};
  return std::all_of(formats.begin(), formats.end(), [&](const std::string& given) {
    const NamedFormat format = look_up_format(lower(given), registry);
    return bool(format.exporter->supports(sample, format.name)) && is_served(sample, format.name);
  });
}

// Equal where it matters: how an activation that stays is described says nothing.
bool same(const LayerQuant& a, const LayerQuant& b) {
  if (!a.quantized() && !b.quantized()) return true;
  return a.weight == b.weight && a.rotation == b.rotation &&
         (a.act == b.act || (!a.act.quantized() && !b.act.quantized()));
}

SchemeOption resolve(const LayerRule& rule, const QuantizeOptions& options, const Registry& registry,
                     Reporter& reporter) {
  const std::string start = rule.scheme.empty() ? "W4A16" : rule.scheme;
  const ResolvedScheme preset = resolve_preset(start, registry);
  if (preset.dense)
    throw_usage(str("options: '", preset.name, "' gives layers different schemes itself; list those it mixes"));
  const std::string where = str("option '", printable(rule.key), "'");
  SchemeOverrides common = options.overrides;
  common.bits.reset();
  SchemeOption option{.name = preset.name, .quant = preset.quant};
  if (option.quant.quantized()) option.quant = apply_overrides(option.quant, common, registry, where);
  const TensorQuant& weight = option.quant.weight;
  if (weight.bits == 8 && weight.data_type == "int" && !weight.sym && common.sym == false &&
      !is_read(option.quant, options.formats, registry)) {
    option.quant.weight.sym = true;
    reporter.warn(str(where, " stays symmetric: serving engines read 8-bit integers of this format symmetric only"));
  }
  if (rule.key != rule.scheme) {  // an object: its own fields win
    option.quant =
        apply_overrides(with_type_of_bits(option.quant, rule.overrides, where), rule.overrides, registry, where);
    refuse_idle_activations(rule.overrides, option.quant.act.quantized(), where);
    option.name = describe(option.quant);
  }
  return option;
}

}  // namespace

std::vector<std::string> split_options(std::string_view text) {
  std::vector<std::string> entries;
  std::string entry;
  int depth = 0;
  const auto take = [&] {
    if (std::string word = trimmed(entry); !word.empty()) entries.push_back(std::move(word));
    entry.clear();
  };
  for (const char c : text) {
    depth += c == '{' ? 1 : c == '}' ? -1 : 0;
    if (c == ',' && depth <= 0)
      take();
    else
      entry += c;
  }
  take();
  return entries;
}

std::vector<SchemeOption> resolve_options(const QuantizeOptions& options, const Registry& registry,
                                          Reporter& reporter) {
  std::vector<SchemeOption> resolved;
  for (const std::string& given : options.auto_scheme.options) {
    for (const std::string& entry : split_options(given)) {
      SchemeOption option = resolve(read_entry(entry), options, registry, reporter);
      const auto twin = std::find_if(resolved.begin(), resolved.end(),
                                     [&](const SchemeOption& other) { return same(other.quant, option.quant); });
      if (twin == resolved.end())
        resolved.push_back(std::move(option));
      else
        reporter.info(str("option '", option.name, "' is the same as '", twin->name, "'"));
    }
  }
  if (resolved.empty()) throw_usage("options: no scheme is given; list some, for example --options W4A16,W8A16");
  (void)base_option(resolved);
  return resolved;
}

const SchemeOption& base_option(const std::vector<SchemeOption>& options) {
  const auto found =
      std::find_if(options.begin(), options.end(), [](const SchemeOption& option) { return option.quant.quantized(); });
  if (found == options.end()) throw_usage("options: none of them quantizes anything; add one such as W4A16");
  return *found;
}

}  // namespace arkit::auto_scheme

namespace arkit {

std::vector<std::string> default_formats(const QuantizeOptions& options, const Registry& registry) {
  if (std::string format = usual_format(options.scheme, registry);
      !format.empty() && options.auto_scheme.options.empty())
    return {std::move(format)};
  std::vector<std::string> schemes{options.scheme};
  for (const std::string& given : options.auto_scheme.options)
    for (const std::string& entry : auto_scheme::split_options(given))
      schemes.push_back(auto_scheme::read_entry(entry).scheme);
  for (const std::string& scheme : schemes)
    if (std::string format = format_in_name(scheme, registry); !format.empty()) return {format};
  return QuantizeOptions().formats;
}

}  // namespace arkit
