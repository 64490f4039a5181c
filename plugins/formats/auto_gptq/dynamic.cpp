#include "dynamic.h"

#include <algorithm>
#include <cctype>
#include <set>

#include <arkit/error.h>
#include <arkit/sdk/linear_layers.h>
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

// Which names are parts of others, asked of a few of many: every name from each place on where one of the few could
// begin, sorted.
class NameParts {
 public:
  NameParts(const std::vector<std::string_view>& all, const std::vector<std::string_view>& asked) {
    std::set<std::string_view> beginnings;  // "model", "lm_head": up to the first dot
    for (const std::string_view name : asked) beginnings.insert(name.substr(0, name.find('.')));
    for (const std::string_view name : all)
      for (const std::string_view beginning : beginnings)
        for (size_t at = name.find(beginning); at != std::string_view::npos; at = name.find(beginning, at + 1))
          rests_.push_back(name.substr(at));
    std::sort(rests_.begin(), rests_.end());
  }

  // `name` is one of those asked for: it is found once as itself.
  [[nodiscard]] bool in_another(std::string_view name) const {
    const auto first = std::lower_bound(rests_.begin(), rests_.end(), name);
    return std::distance(first, rests_.end()) > 1 && (first + 1)->starts_with(name);
  }

 private:
  std::vector<std::string_view> rests_;
};

// The reference's form for an exact name is a search for it, ".*<name>.*". Where that would also hit another layer, the
// name is anchored: every loader accepts both.
std::string exact_regex(const std::string& layer, const NameParts& parts) {
  return parts.in_another(layer) ? str("^", escaped(layer), "$") : str(".*", escaped(layer), ".*");
}

json::Object fields_of(const TensorQuant& weight) {
  json::Object fields;
  if (!weight.quantized()) return fields;
  fields["bits"] = weight.bits;
  fields["group_size"] = weight.group_size;
  fields["sym"] = weight.sym;
  return fields;
}

}  // namespace

json::Object dynamic_config(const QuantPlan& plan, const WeightSource& weights) {
  std::vector<Entry> rules;
  for (const PatternRule* rule : sdk::pattern_rules(plan)) rules.push_back(make_entry(rule->regex, rule->quant));
  // Loaders take the first match, so a layer that a pattern gets wrong is named before all patterns; one that no
  // pattern covers comes after them, as the reference writes it. A quantized head is always named, and so is every
  // linear layer that no plan knows: loaders quantize what nothing excludes.
  struct Named {
    const std::string& name;
    LayerQuant quant;
    bool covered;
  };
  std::vector<Named> named;
  const std::vector<std::string> unplanned = unplanned_linears(plan, weights);
  const auto look_at = [&](const std::string& name, const LayerQuant& quant, bool usual) {
    const Entry* entry = first_match(rules, name);
    const bool right = same(entry != nullptr ? entry->quant : plan.global, quant);
    if (!right || (entry == nullptr && !usual)) named.push_back({name, quant, entry != nullptr});
  };
  std::vector<std::string_view> all;
  for (const LayerPlan& layer : plan.layers) {
    all.push_back(layer.name);
    if (layer.block >= 0 || layer.quantized()) look_at(layer.name, layer.quant, layer.block >= 0);
  }
  LayerQuant as_it_is = plan.global;
  as_it_is.weight.bits = 16;
  for (const std::string& name : unplanned) {
    all.push_back(name);
    look_at(name, as_it_is, false);
  }
  std::vector<std::string_view> asked;
  for (const Named& layer : named) asked.push_back(layer.name);
  const NameParts parts(all, asked);
  json::Object dynamic;
  const auto write = [&](const std::string& regex, const LayerQuant& quant) {
    dynamic[str(quant.weight.quantized() ? "+:" : "-:", regex)] = fields_of(quant.weight);
  };
  for (const Named& layer : named)
    if (layer.covered) write(exact_regex(layer.name, parts), layer.quant);
  for (const Entry& rule : rules) write(rule.regex, rule.quant);
  for (const Named& layer : named)
    if (!layer.covered) write(exact_regex(layer.name, parts), layer.quant);
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

namespace {

// The name that a pattern matches as it stands between `begin` and `end`: tens of thousands of these are compared, not
// searched. Empty for any other pattern.
std::string literal_between(std::string_view pattern, std::string_view begin, std::string_view end) {
  if (pattern.size() <= begin.size() + end.size() || !pattern.starts_with(begin) || !pattern.ends_with(end)) return {};
  pattern = pattern.substr(begin.size(), pattern.size() - begin.size() - end.size());
  std::string name;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool escaped = pattern[i] == '\\' && i + 1 < pattern.size() && pattern[i + 1] == '.';
    if (escaped) ++i;
    const char c = pattern[i];
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    if (!plain && !escaped) return {};
    name += c;
  }
  return name;
}

}  // namespace

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
    Rule rule{.literal = {}, .regex = nullptr, .quant = std::move(quant)};
    if (auto name = literal_between(pattern, "^", "$"); !name.empty()) {
      exact_.emplace(name, rules_.size());
    } else if (rule.literal = literal_between(pattern, ".*", ".*"); rule.literal.empty()) {
      try {
        rule.regex = std::make_shared<Regex>(pattern, what);
      } catch (const Error& error) {  // the file's fault, not the command line's
        throw_input(error.what());
      }
    }
    rules_.push_back(std::move(rule));
  }
}

LayerQuant DynamicRules::operator()(const std::string& layer) const {
  const auto exact = exact_.find(layer);
  const size_t end = exact == exact_.end() ? rules_.size() : exact->second;
  for (size_t i = 0; i < end; ++i) {
    const Rule& rule = rules_[i];
    const bool by_text = !rule.literal.empty() && layer.find(rule.literal) != std::string::npos;
    if (by_text || (rule.regex != nullptr && rule.regex->search(layer))) return rule.quant;
  }
  return exact == exact_.end() ? global_ : rules_[end].quant;
}

}  // namespace arkit::auto_gptq
