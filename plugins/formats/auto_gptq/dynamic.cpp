#include "dynamic.h"

#include <algorithm>
#include <set>

#include <arkit/error.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

namespace arkit::auto_gptq {
namespace {

// One entry being written: its pattern and what it says.
struct Entry {
  std::string regex;
  LayerQuant quant;
  std::shared_ptr<Regex> compiled;
};

Entry make_entry(std::string regex, const LayerQuant& quant) {
  auto compiled = std::make_shared<Regex>(regex, "dynamic");
  return {std::move(regex), quant, std::move(compiled)};
}

bool same(const LayerQuant& a, const LayerQuant& b) {
  if (!a.weight.quantized() || !b.weight.quantized()) return a.weight.quantized() == b.weight.quantized();
  return a.weight.bits == b.weight.bits && a.weight.group_size == b.weight.group_size && a.weight.sym == b.weight.sym;
}

std::string escaped(const std::string& name) {
  std::string text;
  for (const char c : name) {
    if (std::string_view("\\.^$|()[]{}?+*-").find(c) != std::string_view::npos) text += '\\';
    text += c;
  }
  return text;
}

const Entry* first_match(const std::vector<Entry>& entries, const std::string& name) {
  for (const Entry& entry : entries)
    if (entry.compiled->search(name)) return &entry;
  return nullptr;
}

// The reference's form for an exact name is a search for it, ".*<name>.*". Where that would also hit another layer, the
// name is anchored: every loader accepts both.
std::string exact_regex(const LayerPlan& layer, const QuantPlan& plan) {
  std::string searching = str(".*", escaped(layer.name), ".*");
  const auto also_hit = [&](const LayerPlan& other) {
    return &other != &layer && other.name.find(layer.name) != std::string::npos;
  };
  const bool ambiguous = std::any_of(plan.layers.begin(), plan.layers.end(), also_hit);
  return ambiguous ? str("^", escaped(layer.name), "$") : searching;
}

json::Object fields_of(const TensorQuant& weight) {
  json::Object fields;
  if (!weight.quantized()) return fields;
  fields["bits"] = weight.bits;
  fields["group_size"] = weight.group_size;
  fields["sym"] = weight.sym;
  return fields;
}

// What a loader would do with a layer, given the entries: null = leaves it alone (16-bit layers outside blocks).
LayerQuant outcome(const std::vector<Entry>& entries, const LayerPlan& layer, const QuantPlan& plan) {
  if (const Entry* entry = first_match(entries, layer.name)) return entry->quant;
  return plan.global;
}

bool must_be_said(const LayerPlan& layer) {
  return layer.block >= 0 || layer.quantized();
}

}  // namespace

json::Object dynamic_config(const QuantPlan& plan) {
  std::vector<Entry> rules;
  for (const PatternRule* rule : sdk::pattern_rules(plan)) rules.push_back(make_entry(rule->regex, rule->quant));
  // Loaders take the first match, so a layer that a pattern gets wrong is named before all patterns; one that no
  // pattern covers comes after them, as the reference writes it. A quantized head is always named.
  std::vector<Entry> before;
  std::vector<Entry> after;
  for (const LayerPlan& layer : plan.layers) {
    if (!must_be_said(layer)) continue;
    const bool covered = first_match(rules, layer.name) != nullptr;
    if (same(outcome(rules, layer, plan), layer.quant) && (covered || layer.block >= 0)) continue;
    (covered ? before : after).push_back(make_entry(exact_regex(layer, plan), layer.quant));
  }
  json::Object dynamic;
  for (const std::vector<Entry>* part : {&before, &rules, &after})
    for (const Entry& entry : *part)
      dynamic[str(entry.quant.weight.quantized() ? "+:" : "-:", entry.regex)] = fields_of(entry.quant.weight);
  return dynamic;
}

json::Array modules_in_block(const QuantPlan& plan) {
  std::set<std::string> names;
  bool all = true;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.block < 0) continue;
    if (!layer.quantized()) {
      all = false;
      continue;
    }
    for (const std::string& list : plan.block_lists) {
      if (!layer.name.starts_with(list + ".")) continue;
      const size_t dot = layer.name.find('.', list.size() + 1);  // behind the number of the block
      if (dot != std::string::npos) names.insert(layer.name.substr(dot + 1));
    }
  }
  if (all) return {};
  json::Array inner(names.begin(), names.end());
  return json::Array{std::move(inner)};
}

DynamicRules::DynamicRules(const json::Object& config, LayerQuant global) : global_(std::move(global)) {
  const json::Value* dynamic = json::find(config, "dynamic");
  if (dynamic == nullptr) return;
  for (const auto& member : json::as_object(*dynamic, "'dynamic' of quantization_config")) {
    const std::string_view key = member.key();
    const std::string what = str("dynamic '", printable(key), "'");
    const bool skip = key.starts_with("-:");
    const std::string_view pattern = skip || key.starts_with("+:") ? key.substr(2) : key;
    static const json::Object kNothing;  // GPTQModel also writes "-:": false
    const bool empty = skip && (member.value().is_null() || member.value().is_bool());
    const json::Object& fields = empty ? kNothing : json::as_object(member.value(), what);
    LayerQuant quant = sdk::read_scheme_fields(fields, global_, what);
    if (skip) quant.weight.bits = 16;
    try {
      rules_.emplace_back(std::make_shared<Regex>(pattern, what), std::move(quant));
    } catch (const Error& error) {  // the file's fault, not the command line's
      throw_input(error.what());
    }
  }
}

LayerQuant DynamicRules::operator()(const std::string& layer) const {
  for (const auto& [regex, quant] : rules_)
    if (regex->search(layer)) return quant;
  return global_;
}

}  // namespace arkit::auto_gptq
