#include "quant/runtime_rules.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <set>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "quant/scheme_resolver.h"
#include "util/data_file.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kLargestFile = 256 * 1024;

std::vector<std::string> texts(const json::Object& object, std::string_view key, const std::string& what) {
  std::vector<std::string> out;
  const json::Value* value = json::find(object, key);
  if (value == nullptr) return out;
  for (const json::Value& entry : json::as_array(*value, str(what, ": '", key, "'"))) {
    if (!entry.is_string() || entry.get_string().empty())
      throw_input(str(what, ": '", key, "' holds ", json::dump(entry), "; a list of texts is expected"));
    out.emplace_back(entry.get_string());
  }
  if (out.empty()) throw_input(str(what, ": '", key, "' is an empty list and would fit nothing; leave it out"));
  return out;
}

RuntimeRules::Fused read_fused(const json::Object& object, const std::string& what) {
  check_keys(object, {"parts", "experts"}, what);
  const bool experts = json::get_bool(object, "experts", what).value_or(false);
  RuntimeRules::Fused fused{.parts = texts(object, "parts", what)};
  if (experts != fused.parts.empty())
    throw_input(str(what, ": expected either parts = [\"NAME\", \"NAME\"] or experts = true"));
  return fused;
}

RuntimeRules::Entry read_entry(const json::Object& object, std::string_view text_key, const std::string& what) {
  check_keys(
      object,
      {"formats", "data_type", "bits", "group_size", "sym", "act_bits", "act_dynamic", "outside_blocks", text_key},
      what);
  RuntimeRules::Entry entry{read_quant_filter(object, what), {}, {}, {}};
  entry.formats = texts(object, "formats", what);
  if (entry.formats.empty()) throw_input(str(what, ": 'formats' is missing; a list of format names is expected"));
  entry.outside_blocks = json::get_bool(object, "outside_blocks", what);
  entry.text = required_text(object, text_key, what);
  return entry;
}

RuntimeRules read_file(const fs::path& file) {
  const std::string what = str("'", file.string(), "'");
  return parse_runtime(read_input_file(file, kLargestFile, "runtime rules "), what);
}

std::vector<RuntimeRules> read_installed() {
  std::vector<RuntimeRules> all;
  for (const fs::path& file : toml_files(shared_data_folder("runtimes"))) {
    all.push_back(read_file(file));
    if (all.back().name != file.stem().string())
      throw_input(str("'", file.string(), "': its name is '", printable(all.back().name), "', expected '",
                      file.stem().string(), "' as the file is called; install arkit again"));
  }
  return all;
}

bool entry_fits(const RuntimeRules::Entry& entry, const LayerPlan& layer, const std::string& format) {
  return fits(entry.formats, format) && fits(entry.outside_blocks, layer.block < 0) &&
         fits(static_cast<const QuantFilter&>(entry), layer.quant);
}

void add_once(std::vector<std::string>& list, const std::string& entry) {
  if (std::find(list.begin(), list.end(), entry) == list.end()) list.push_back(entry);
}

std::string_view last_name(std::string_view layer) {
  return layer.substr(layer.rfind('.') + 1);
}

// What a fused rule makes of a layer: the name of its group, or nothing.
std::string group_of(const RuntimeRules::Fused& rule, const LayerPlan& layer) {
  if (rule.parts.empty()) return layer.experts;
  const std::string_view last = last_name(layer.name);
  if (std::find(rule.parts.begin(), rule.parts.end(), last) == rule.parts.end()) return {};
  return layer.name.substr(0, layer.name.size() - last.size());
}

using Members = std::vector<const LayerPlan*>;

// "q_proj int4 g128 sym, k_proj 16-bit". Of experts only one of each kind is named.
std::string describe_members(const Members& members) {
  std::vector<std::string> parts;
  for (const LayerPlan* layer : members) add_once(parts, str(last_name(layer->name), " ", describe(layer->quant)));
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

// Groups of one rule with more than one scheme.
std::vector<Members> mixed_groups(const QuantPlan& plan, const RuntimeRules::Fused& rule) {
  std::map<std::string, Members> groups;
  for (const LayerPlan& layer : plan.layers)
    if (const std::string group = group_of(rule, layer); !group.empty()) groups[group].push_back(&layer);
  std::vector<Members> mixed;
  for (auto& [name, members] : groups) {
    const std::string first = describe(members.front()->quant);
    if (!std::all_of(members.begin(), members.end(), [&](const auto* l) { return describe(l->quant) == first; }))
      mixed.push_back(std::move(members));
  }
  return mixed;
}

std::string what_it_loads(const RuntimeRules& runtime, const std::string& format) {
  std::vector<std::string> said;
  for (const RuntimeRules::Entry& entry : runtime.loads)
    if (fits(entry.formats, format)) add_once(said, entry.text);
  return listed(said);
}

std::string formats_it_reads(const RuntimeRules& runtime) {
  std::vector<std::string> names;
  for (const RuntimeRules::Entry& entry : runtime.loads)
    for (const std::string& format : entry.formats) add_once(names, format);
  std::sort(names.begin(), names.end());
  return quoted_list(names);
}

// Does the engine load layers of this number format in any of its formats?
bool knows(const RuntimeRules& rules, const std::string& data_type) {
  return std::any_of(rules.loads.begin(), rules.loads.end(), [&](const RuntimeRules::Entry& entry) {
    return !entry.data_types.empty() && fits(entry.data_types, data_type);
  });
}

}  // namespace

std::string listed(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size(); ++i) text += (i == 0 ? "" : i + 1 == names.size() ? " and " : ", ") + names[i];
  return text;
}

RuntimeRules parse_runtime(std::string_view text, const std::string& what) {
  const json::Object object = parse_toml(text, what);
  check_keys(object, {"name", "title", "checked", "model_types", "fused", "refuses", "loads"}, what);
  RuntimeRules rules;
  rules.name = required_text(object, "name", what);
  rules.title = json::get_string(object, "title", what).value_or(rules.name);
  rules.checked = json::get_string(object, "checked", what).value_or("");
  rules.model_types = texts(object, "model_types", what);
  each_table(object, "fused", what, [&](const json::Object& table, const std::string& where) {
    rules.fused.push_back(read_fused(table, where));
  });
  each_table(object, "refuses", what, [&](const json::Object& table, const std::string& where) {
    rules.refuses.push_back(read_entry(table, "why", where));
  });
  each_table(object, "loads", what, [&](const json::Object& table, const std::string& where) {
    rules.loads.push_back(read_entry(table, "says", where));
  });
  if (rules.loads.empty()) throw_input(str(what, ": has no [[loads]]; such an engine would load nothing"));
  return rules;
}

const std::vector<RuntimeRules>& installed_runtimes() {
  static const std::vector<RuntimeRules> all = read_installed();
  return all;
}

RuntimeRules find_runtime(const std::string& name_or_path) {
  if (name_or_path.find('/') != std::string::npos || name_or_path.ends_with(".toml")) return read_file(name_or_path);
  std::vector<std::string> names;
  for (const RuntimeRules& rules : installed_runtimes()) {
    if (rules.name == lower(name_or_path)) return rules;
    names.push_back(rules.name);
  }
  throw_unsupported(unknown_name("runtime", name_or_path, names,
                                 "'arkit list runtimes' shows all, a rule file is given by its path"));
}

bool mentions(const RuntimeRules& rules, const std::string& format) {
  return std::any_of(rules.loads.begin(), rules.loads.end(), [&](const RuntimeRules::Entry& entry) {
    return std::find(entry.formats.begin(), entry.formats.end(), format) != entry.formats.end();
  });
}

bool is_served(const LayerPlan& layer, const std::string& format) {
  bool known = false;
  for (const RuntimeRules& rules : installed_runtimes()) {
    if (rules.fused.empty() || !mentions(rules, format)) continue;
    known = true;
    if (format_violations({.layers = {layer}}, format, rules).empty()) return true;
  }
  return !known;
}

std::vector<std::string> fused_violations(const QuantPlan& plan, std::span<const RuntimeRules> runtimes) {
  struct Cause {
    std::vector<std::string> engines;
    std::string first;                // layer of the first group
    std::set<std::string> of_groups;  // first layers of all
  };
  std::map<std::string, Cause> causes;  // by what is mixed
  for (const RuntimeRules& runtime : runtimes) {
    for (const RuntimeRules::Fused& rule : runtime.fused) {
      for (const Members& members : mixed_groups(plan, rule)) {
        // Layers it cannot load at all it does not fuse: blocks of GGUF.
        if (std::none_of(members.begin(), members.end(),
                         [&](const LayerPlan* layer) { return knows(runtime, layer->quant.weight.data_type); }))
          continue;
        Cause& cause = causes[describe_members(members)];
        add_once(cause.engines, runtime.title);
        if (cause.first.empty()) cause.first = members.front()->name;
        cause.of_groups.insert(members.front()->name);
      }
    }
  }
  std::vector<std::string> sentences;
  for (const auto& [members, cause] : causes) {
    const size_t groups = cause.of_groups.size();
    sentences.push_back(str(groups, groups == 1 ? " group" : " groups", " of layers (first '", cause.first, "') that ",
                            listed(cause.engines), cause.engines.size() == 1 ? " fuses" : " fuse",
                            " into one mixes schemes (", members, "); give the layers of a group the same scheme"));
  }
  return sentences;
}

std::vector<std::string> format_violations(const QuantPlan& plan, const std::string& format,
                                           const RuntimeRules& runtime) {
  const std::string engine =
      runtime.checked.empty() ? runtime.title : str(runtime.title, " (rules of ", runtime.checked, ")");
  const bool reads_format = std::any_of(runtime.loads.begin(), runtime.loads.end(),
                                        [&](const RuntimeRules::Entry& entry) { return fits(entry.formats, format); });
  const bool quantizes =
      std::any_of(plan.layers.begin(), plan.layers.end(), [](const LayerPlan& layer) { return layer.quantized(); });
  if (!quantizes) return {};
  if (!reads_format) return {str(engine, " does not read format '", format, "'; it reads ", formats_it_reads(runtime))};
  if (!plan.model_type.empty() && !fits(runtime.model_types, plan.model_type))
    return {str(engine, " has no class for model_type '", printable(plan.model_type), "'")};
  std::map<std::string, std::vector<const LayerPlan*>> causes;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    const auto fits_layer = [&](const RuntimeRules::Entry& entry) { return entry_fits(entry, layer, format); };
    const auto refusal = std::find_if(runtime.refuses.begin(), runtime.refuses.end(), fits_layer);
    if (refusal != runtime.refuses.end())
      causes[refusal->text].push_back(&layer);
    else if (std::none_of(runtime.loads.begin(), runtime.loads.end(), fits_layer))
      causes[str("of this format it loads ", what_it_loads(runtime, format))].push_back(&layer);
  }
  std::vector<std::string> sentences;
  for (const auto& [why, layers] : causes)
    sentences.push_back(str(engine, " does not load ", layers.size(), layers.size() == 1 ? " layer" : " layers",
                            " (first '", layers.front()->name, "', ", describe(layers.front()->quant),
                            ") from format '", format, "': ", why));
  return sentences;
}

}  // namespace arkit
