#include "quant/plan.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include <arkit/error.h>
#include <arkit/regex.h>
#include <arkit/scheme.h>
#include <arkit/sdk/layout.h>
#include <arkit/str.h>

#include "quant/attention_plan.h"
#include "quant/embedding_tables.h"
#include "quant/free_formats.h"
#include "quant/layer_config.h"
#include "quant/runtime_rules.h"

namespace arkit {

LayerQuant full_precision(const LayerQuant& global, std::string_view data_type) {
  LayerQuant quant = global;
  quant.weight.bits = 16;
  quant.weight.data_type = data_type;
  quant.act = TensorQuant{.data_type = "float", .group_size = global.act.group_size, .sym = global.act.sym};
  return quant;
}

namespace {

void keep_16_bit(LayerPlan& layer, const LayerQuant& global, std::string reason, bool by_user,
                 std::string_view data_type = "float") {
  layer.quant = full_precision(global, data_type);
  layer.reason = std::move(reason);
  layer.user_fixed = by_user;
}

std::string sample_names(const QuantPlan& plan) {
  std::vector<std::string> names;
  for (const LayerPlan& layer : plan.layers) {
    if (names.size() == 3) break;
    names.push_back(layer.name);
  }
  return quoted_list(names);
}

void unmatched(std::string_view where, const std::string& key, const QuantPlan& plan, bool allowed,
               Reporter& reporter) {
  const std::string message =
      str(where, ": '", printable(key), "' matches no layer; layers are named like ", sample_names(plan));
  if (!allowed) throw_usage(message + "; pass --allow_unmatched to go on");
  reporter.warn(message);
}

// Layers by name: with one entry a layer, looking each up in the list would take the square of their number.
std::unordered_map<std::string_view, LayerPlan*> by_name(QuantPlan& plan) {
  std::unordered_map<std::string_view, LayerPlan*> layers;
  for (LayerPlan& layer : plan.layers) layers.emplace(layer.name, &layer);
  return layers;
}

// A layer_config entry with an exact layer name sets that layer; any other key is a pattern. Exact names win over
// patterns (AutoRound: the other way round), of two patterns the later one.
void apply_layer_config(QuantPlan& plan, const QuantizeOptions& options, const Registry& registry, Reporter& reporter) {
  const std::vector<LayerRule> rules = parse_layer_config(options.layer_config);
  if (rules.empty()) return;
  const auto layers = by_name(plan);
  for (const bool exact_names : {false, true}) {
    for (const LayerRule& rule : rules) {
      const auto exact = layers.find(rule.key);
      if (exact_names != (exact != layers.end())) continue;
      const std::string where = str("layer_config '", printable(rule.key), "'");
      const LayerQuant start = rule.scheme.empty() ? plan.global : resolve_preset(rule.scheme, registry).quant;
      const LayerQuant quant =
          apply_overrides(with_type_of_bits(start, rule.overrides, where), rule.overrides, registry, where);
      refuse_idle_activations(rule.overrides, quant.act.quantized(), where);
      const auto set = [&](LayerPlan& layer) {
        layer.quant = quant;
        layer.reason = str("layer_config '", rule.key, "'", rule.origin.empty() ? "" : str(" (", rule.origin, ")"));
        layer.user_fixed = true;
      };
      if (exact_names) {
        set(*exact->second);
        continue;
      }
      const PatternRule pattern{.pattern = rule.key, .regex = to_standard_regex(rule.key), .quant = quant};
      const Regex regex(pattern.regex, where);
      bool any = false;
      for (LayerPlan& layer : plan.layers) {
        if (!regex.search(layer.name)) continue;
        any = true;
        set(layer);
      }
      if (!any) unmatched("layer_config", rule.key, plan, options.allow_unmatched, reporter);
      plan.rules.push_back(pattern);
    }
  }
}

// An entry is an exact layer name or a part of one; "layers.1" does not mean "layers.10" (docs/spec/schemes.md 5). As
// in the reference, the entry wins over layer_config and is also kept as a pattern for formats that record it.
void apply_ignore_layers(QuantPlan& plan, const QuantizeOptions& options, Reporter& reporter) {
  if (options.ignore_layers.empty()) return;
  const auto layers = by_name(plan);
  for (const std::string& entry : options.ignore_layers) {
    if (entry.empty()) continue;
    const auto keep = [&](LayerPlan& layer) {
      keep_16_bit(layer, plan.global, str("ignore_layers '", entry, "'"), true);
    };
    if (const auto exact = layers.find(entry); exact != layers.end()) {
      keep(*exact->second);
    } else {
      std::string part = entry;
      if (std::isdigit(static_cast<unsigned char>(entry.back())) != 0) part += '.';
      const bool is_regex = entry.find_first_of("^$|()[]?+*") != std::string::npos;
      const Regex regex(is_regex ? to_standard_regex(entry) : std::string("$^"), str("ignore_layers '", entry, "'"));
      bool any = false;
      for (LayerPlan& layer : plan.layers) {
        if (!(is_regex ? regex.search(layer.name) : layer.name.find(part) != std::string::npos)) continue;
        any = true;
        keep(layer);
      }
      if (!any) unmatched("ignore_layers", entry, plan, options.allow_unmatched, reporter);
    }
    plan.rules.push_back(
        {.pattern = entry, .regex = to_standard_regex(entry), .quant = full_precision(plan.global), .ignore = true});
  }
}

// Outside blocks (lm_head): quantized only on request, and never when its weight is also the embedding.
void apply_head_rules(QuantPlan& plan, const QuantizeOptions& options, const LayerChoices* choices,
                      Reporter& reporter) {
  for (LayerPlan& layer : plan.layers) {
    if (!is_head(layer)) continue;
    if (plan.tied_embeddings) {
      if (options.quant_lm_head || layer.quantized())
        if (options.quant_lm_head)
          reporter.warn(str("'", layer.name,
                            "' shares its weight with the embedding and stays 16-bit; quant_lm_head is ignored"));
      keep_16_bit(layer, plan.global, "shares its weight with the embedding", false);
    } else if (!options.quant_lm_head && !layer.user_fixed && (choices == nullptr || !choices->contains(layer.name))) {
      keep_16_bit(layer, plan.global, "outside the decoder blocks (quant_lm_head is off)", false);
    }
  }
}

// Blocks outside the lists the user names stay as they are; formats record only the lists that are left.
void apply_block_names(QuantPlan& plan, const QuantizeOptions& options, Reporter& reporter) {
  if (options.to_quant_block_names.empty()) return;
  for (const std::string& name : options.to_quant_block_names)
    if (std::none_of(plan.layers.begin(), plan.layers.end(),
                     [&](const LayerPlan& layer) { return layer.block >= 0 && in_chosen_blocks(layer, {name}); }))
      unmatched("to_quant_block_names", name, plan, options.allow_unmatched, reporter);
  for (LayerPlan& layer : plan.layers)
    if (layer.block >= 0 && !in_chosen_blocks(layer, options.to_quant_block_names))
      keep_16_bit(layer, plan.global, "its block is not among to_quant_block_names", false);
  std::erase_if(plan.block_lists, [&](const std::string& list) {
    return std::none_of(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) {
      return layer.name.starts_with(list + ".") && in_chosen_blocks(layer, options.to_quant_block_names);
    });
  });
}

bool has_short_groups(const LayerPlan& layer) {
  const TensorQuant& weight = layer.quant.weight;
  return weight.group_size > 0 && weight.block_rows == 0 && weight.group_size < layer.in_features &&
         layer.in_features % weight.group_size != 0;
}

constexpr const char* kOddShape = "fp";  // what formats record of such a layer

// What a shape forbids is found here, never after hours. AutoRound's behaviour is to keep such layers in 16 bits.
void apply_shape_rules(QuantPlan& plan, const QuantizeOptions& options, const Registry& registry) {
  const std::string& policy = options.on_indivisible;
  if (!policy.empty() && policy != "error" && policy != "skip" && policy != "pad")
    throw_usage(unknown_name("on-indivisible policy", policy, std::vector<std::string>{"error", "skip", "pad"},
                             "error, skip or pad"));
  for (LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    const std::string refusal = fits_shape(layer, policy, registry).why_not;
    if (refusal.empty()) continue;
    if (policy == "error" || layer.user_fixed) throw_unsupported(str("layer '", layer.name, "': ", refusal));
    keep_16_bit(layer, plan.global, refusal, false, kOddShape);
  }
}

// The table of embeddings is no layer of a plan unless it is to be quantized, or somebody speaks of it and the formats
// could.
void add_table(QuantPlan& plan, const ModelLayout& layout, const QuantizeOptions& options, const Registry& registry,
               const LayerChoices* choices) {
  std::optional<LayerPlan> table = token_table(layout);
  if (!table) return;
  const auto is_chosen = [&] {
    if (choices == nullptr) return false;
    const auto choice = choices->find(table->name);
    return choice != choices->end() && choice->second.quant.quantized();
  };
  const auto is_named = [&] {
    const std::vector<LayerRule> rules = parse_layer_config(options.layer_config);
    const auto& ignored = options.ignore_layers;
    return std::any_of(rules.begin(), rules.end(), [&](const LayerRule& rule) { return rule.key == table->name; }) ||
           std::find(ignored.begin(), ignored.end(), table->name) != ignored.end();
  };
  if (is_chosen() || (is_named() && mix_freely(options.formats, registry)))
    plan.layers.insert(plan.layers.begin(), std::move(*table));
}

// What every layer starts with: the model's own wish, a choice made for it, the scheme.
void apply_scheme(QuantPlan& plan, const ResolvedScheme& scheme, const QuantizeOptions& options,
                  const Registry& registry, const LayerChoices* choices) {
  for (LayerPlan& layer : plan.layers) {
    layer.quant = plan.global;
    if (layer.kind == LayerKind::embedding) layer.quant = full_precision(plan.global);  // unless it is chosen
    if (!layer.reason.empty()) {  // the model says that it must stay
      keep_16_bit(layer, plan.global, layer.reason, false);
      continue;
    }
    if (choices != nullptr) {
      const auto chosen = choices->find(layer.name);
      if (chosen == choices->end()) continue;
      layer.quant = chosen->second.quant;
      layer.reason = chosen->second.reason;
      continue;
    }
    if (!scheme.dense || layer.kind == LayerKind::expert || layer.kind == LayerKind::embedding) continue;
    layer.quant = apply_overrides(*scheme.dense, options.overrides, registry, "scheme");
    layer.reason = str(scheme.name, ": not a routed expert");
  }
}

}  // namespace

bool in_chosen_blocks(const LayerPlan& layer, const std::vector<std::string>& block_names) {
  return block_names.empty() || std::any_of(block_names.begin(), block_names.end(), [&](const std::string& name) {
           return layer.name.starts_with(name) &&
                  (layer.name.size() == name.size() || name.ends_with('.') || layer.name[name.size()] == '.');
         });
}

Verdict fits_shape(const LayerPlan& layer, const std::string& on_indivisible, const Registry& registry) {
  const TensorQuant& weight = layer.quant.weight;
  const std::string& data_type = weight.quantized() ? weight.data_type : layer.quant.act.data_type;
  if (Verdict verdict = registry.scheme_for(data_type).supports(layer); !verdict) return verdict;
  if (has_short_groups(layer) && (on_indivisible == "error" || on_indivisible == "skip"))
    return Verdict::no(str("in_features ", layer.in_features, " is not divisible by group_size ", weight.group_size,
                           "; choose 128, 64 or 32"));
  return Verdict::yes();
}

std::vector<std::string> plan_warnings(const QuantPlan& plan) {
  return fused_violations(plan, installed_runtimes());
}

std::vector<std::string> shape_warnings(const QuantPlan& plan) {
  std::map<std::string, std::vector<std::string>> odd;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized() && layer.quant.weight.data_type == kOddShape && !layer.reason.empty())
      odd[layer.reason + ": kept in 16 bits"].push_back(layer.name);
    if (layer.quantized() && has_short_groups(layer))
      odd[str("in_features not divisible by group_size ", layer.quant.weight.group_size,
              ": the last group of each row is short")]
          .push_back(layer.name);
  }
  std::vector<std::string> sentences;
  for (const auto& [reason, names] : odd)
    sentences.push_back(
        str(names.size(), names.size() == 1 ? " layer" : " layers", " (first '", names.front(), "'): ", reason));
  return sentences;
}

QuantPlan empty_plan(const ModelLayout& layout) {
  QuantPlan plan;
  plan.model_type = layout.model_type;
  plan.layers = layout.linears();
  plan.block_lists = sdk::block_list_names(layout);
  plan.num_blocks = static_cast<int64_t>(layout.blocks.size());
  plan.tied_embeddings = layout.tokens.tied;
  return plan;
}

QuantPlan build_plan(const ModelLayout& layout, const ResolvedScheme& scheme, const QuantizeOptions& options,
                     const Registry& registry, Reporter& reporter, const LayerChoices* choices) {
  QuantPlan plan = empty_plan(layout);
  plan.global = apply_overrides(scheme.quant, options.overrides, registry, "scheme");
  plan.scheme_name = scheme_title(scheme, plan.global, registry);
  add_table(plan, layout, options, registry, choices);
  apply_scheme(plan, scheme, options, registry, choices);
  apply_layer_config(plan, options, registry, reporter);
  apply_block_names(plan, options, reporter);
  apply_head_rules(plan, options, choices, reporter);
  apply_ignore_layers(plan, options, reporter);
  apply_shape_rules(plan, options, registry);
  plan_attention(plan, layout, options.attention, registry);
  return plan;
}

bool is_head(const LayerPlan& layer) {
  return layer.block < 0 && layer.kind != LayerKind::embedding;
}

int64_t quantized_count(const QuantPlan& plan) {
  return std::count_if(plan.layers.begin(), plan.layers.end(),
                       [](const LayerPlan& layer) { return layer.quantized(); });
}

}  // namespace arkit
