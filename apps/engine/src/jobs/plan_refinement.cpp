#include "jobs/plan_refinement.h"

#include <algorithm>
#include <map>
#include <utility>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/str.h>

#include "quant/embedding_tables.h"
#include "quant/format_lookup.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace {

constexpr const char* kDefaultScheme = "W4A16";

struct Wish {
  const FormatChoice* format;
  LayerQuant quant;
  std::string reason;
};

class Refiner {
 public:
  Refiner(QuantPlan& plan, const Refiners& refiners) : plan_(plan), refiners_(refiners) {
    for (LayerPlan& table : embedding_tables(refiners.source.weights()))
      if (plan.find(table.name) == nullptr) tables_.push_back(std::move(table));
  }

  std::vector<RefinedLayer> run() {
    for (const FormatChoice& format : refiners_.formats) collect(format);
    make_changes();
    for (const FormatChoice& format : refiners_.formats) check_settled(format);
    for (const RefinedLayer& change : made_) check_stored(change);
    return std::move(made_);
  }

 private:
  [[nodiscard]] Refinement ask(const FormatChoice& format) const {
    return format.exporter->refine(
        {.plan = plan_, .source = refiners_.source, .tables = tables_, .importance = refiners_.importance},
        format.name);
  }

  // The layer as it is; tables no format claims are layers of 16 bits.
  [[nodiscard]] const LayerPlan& find(const FormatChoice& format, const std::string& name) const {
    if (const LayerPlan* layer = plan_.find(name)) return *layer;
    const auto table = std::find_if(tables_.begin(), tables_.end(), [&](const auto& t) { return t.name == name; });
    if (table != tables_.end()) return *table;
    throw Error(ErrorCode::plugin, str("format '", format.name, "' changes layer '", printable(name),
                                       "', which the model does not have; report this to the format's author"));
  }

  [[nodiscard]] LayerQuant wanted(const PlanChange& change) const {
    return change.quant.quantized() ? change.quant : full_precision(plan_.global);
  }

  [[nodiscard]] static std::string text_of_reason(const std::string& format, const std::string& reason) {
    return str("format '", format, "'", reason.empty() ? "" : ": ", reason);
  }

  [[nodiscard]] static bool differs(const LayerQuant& a, const LayerQuant& b) {
    return (a.quantized() || b.quantized()) && a != b;
  }

  void collect(const FormatChoice& format) {
    const Refinement refinement = ask(format);
    if (!refinement.why_not.empty())
      throw_unsupported(str("format '", format.name, "' cannot store this plan: ", refinement.why_not));
    if (refiners_.reporter != nullptr)
      for (const std::string& what : refinement.unmatched) {
        if (!refiners_.allow_unmatched) throw_usage(str(what, "; pass --allow_unmatched to go on"));
        refiners_.reporter->warn(what);
      }
    for (const PlanChange& change : refinement.changes) {
      const LayerPlan& layer = find(format, change.layer);
      Wish wish{&format, wanted(change), change.reason};
      if (!differs(layer.quant, wish.quant)) {
        if (!layer.quantized()) wanted_whole_[layer.name] = text_of_reason(format.name, change.reason);
        continue;
      }
      check_allowed(layer, wish);
      const auto [earlier, is_new] = wishes_.try_emplace(layer.name, wish);
      if (!is_new && differs(earlier->second.quant, wish.quant)) contradict(layer.name, earlier->second, wish);
      if (is_new) order_.push_back(layer.name);
    }
  }

  void check_allowed(const LayerPlan& layer, const Wish& wish) const {
    const std::string change = str("format '", wish.format->name, "' makes layer '", layer.name, "' ", text(wish));
    if (refiners_.from_recipe)
      throw_unsupported(str(change, ", and the recipe file decides about layers; choose another --format"));
    if (layer.user_fixed)
      throw_unsupported(str(change, ", and ", layer.reason, " makes it ", describe(layer.quant),
                            "; leave that out or choose another --format"));
    if (layer.block < 0 && layer.kind != LayerKind::embedding && plan_.tied_embeddings && wish.quant.quantized())
      throw_unsupported(str(change, ", and it shares its weight with the embedding; choose another --format"));
    LayerPlan asked = layer;
    asked.quant = wish.quant;
    if (!asked.quantized()) return;
    if (const Verdict verdict = fits_shape(asked, refiners_.on_indivisible, refiners_.registry); !verdict)
      throw_unsupported(str(change, ", which its scheme cannot: ", verdict.why_not, "; choose another --format"));
  }

  [[nodiscard]] static std::string text(const Wish& wish) {
    return str(describe(wish.quant), wish.reason.empty() ? "" : str(" (", wish.reason, ")"));
  }

  [[noreturn]] static void contradict(const std::string& layer, const Wish& one, const Wish& other) {
    throw_unsupported(str("formats '", one.format->name, "' and '", other.format->name,
                          "' cannot be written in one run: layer '", layer, "' becomes ", text(one), " for '",
                          one.format->name, "' and ", text(other), " for '", other.format->name,
                          "'; write them in two runs"));
  }

  void make_changes() {
    for (const std::string& name : order_) {
      const Wish& wish = wishes_.at(name);
      LayerPlan& layer = in_plan(name);
      made_.push_back({wish.format->name, name, layer.quant, wish.quant, wish.reason});
      layer.quant = wish.quant;
      layer.reason = text_of_reason(wish.format->name, wish.reason);
    }
    // They were left in 16 bits for another reason, which counts no more.
    for (LayerPlan& layer : plan_.layers) {
      const auto wanted = wanted_whole_.find(layer.name);
      if (wanted == wanted_whole_.end() || layer.quantized() || layer.user_fixed) continue;
      layer.quant = full_precision(plan_.global);
      layer.reason = wanted->second;
    }
  }

  // A table that is claimed comes before the blocks.
  LayerPlan& in_plan(const std::string& name) {
    const auto is_it = [&](const LayerPlan& layer) { return layer.name == name; };
    auto found = std::find_if(plan_.layers.begin(), plan_.layers.end(), is_it);
    if (found != plan_.layers.end()) return *found;
    const auto table = std::find_if(tables_.begin(), tables_.end(), is_it);
    found = plan_.layers.insert(plan_.layers.begin(), std::move(*table));
    tables_.erase(table);
    return *found;
  }

  // Each format has said what it wants of the plan as it was; what it now is must do for all of them.
  void check_settled(const FormatChoice& format) const {
    const Refinement again = ask(format);
    if (!again.why_not.empty()) {
      const auto other =
          std::find_if(made_.begin(), made_.end(), [&](const auto& m) { return m.format != format.name; });
      if (other == made_.end()) changes_its_mind(format, made_.empty() ? std::string() : made_.front().layer);
      throw_unsupported(str("formats '", other->format, "' and '", format.name,
                            "' cannot be written in one run: layer '", other->layer, "' becomes ",
                            describe(other->after), " for '", other->format, "', and for '", format.name,
                            "' then: ", again.why_not, "; write them in two runs"));
    }
    for (const PlanChange& change : again.changes) {
      const LayerPlan& layer = find(format, change.layer);
      const Wish wish{&format, wanted(change), change.reason};
      if (!differs(layer.quant, wish.quant)) continue;
      const auto earlier = wishes_.find(layer.name);
      if (earlier == wishes_.end() || earlier->second.format == &format) changes_its_mind(format, layer.name);
      contradict(layer.name, earlier->second, wish);
    }
  }

  [[noreturn]] static void changes_its_mind(const FormatChoice& format, const std::string& layer) {
    throw Error(
        ErrorCode::plugin,
        str("format '", format.name, "' changes layer '", printable(layer),
            "' once more when it sees the changed plan, and would never end; report this to the format's author"));
  }

  void check_stored(const RefinedLayer& change) const {
    const LayerPlan* layer = plan_.find(change.layer);
    if (!layer->quantized()) return;
    for (const FormatChoice& format : refiners_.formats) {
      const Verdict verdict = format.exporter->supports(*layer, format.name);
      if (verdict || format.name == change.format) continue;  // its own refusal comes with those of all other layers
      throw_unsupported(str("formats '", change.format, "' and '", format.name,
                            "' cannot be written in one run: layer '", change.layer, "' becomes ",
                            describe(change.after), " for '", change.format, "', which '", format.name,
                            "' cannot store: ", verdict.why_not, "; write them in two runs"));
    }
  }

  QuantPlan& plan_;
  const Refiners& refiners_;
  std::vector<LayerPlan> tables_;  // nobody has claimed
  std::map<std::string, Wish, std::less<>> wishes_;
  std::vector<std::string> order_;                                // of wishes
  std::map<std::string, std::string, std::less<>> wanted_whole_;  // layers in 16 bits that formats want so -> reason
  std::vector<RefinedLayer> made_;
};

}  // namespace

std::vector<RefinedLayer> refine_plan(QuantPlan& plan, const Refiners& refiners) {
  return Refiner(plan, refiners).run();
}

void say(const std::vector<RefinedLayer>& refined, Reporter& reporter) {
  std::map<std::string, std::vector<const RefinedLayer*>> rules;
  for (const RefinedLayer& layer : refined)
    rules[str("format '", layer.format, "' ", layer.reason.empty() ? "needs" : layer.reason, ": ")].push_back(&layer);
  for (const auto& [rule, layers] : rules) {
    const RefinedLayer& first = *layers.front();
    reporter.info(str(rule, layers.size(), layers.size() == 1 ? " layer changes" : " layers change", " ('", first.layer,
                      "': ", describe(first.before), " -> ", describe(first.after),
                      layers.size() == 1 ? ")" : " ...)"));
  }
}

json::Array describe(const std::vector<RefinedLayer>& refined) {
  json::Array rows;
  for (const RefinedLayer& layer : refined)
    rows.push_back(json::Object{{"layer", layer.layer},
                                {"format", layer.format},
                                {"from", describe(layer.before)},
                                {"to", describe(layer.after)},
                                {"reason", layer.reason}});
  return rows;
}

namespace {

// A scheme that a format stands for, and formats that do not hold it: said at once instead of layer by layer.
void require_home(const QuantizeOptions& options, const Registry& registry) {
  const NamedFormat home = format_of_scheme(options.scheme, registry);
  if (home.exporter == nullptr) return;
  const ResolvedScheme scheme = resolve_preset(options.scheme, registry);
  constexpr int64_t kWhole = 4096;  // of any block
  const LayerPlan layer{.name = "any", .out_features = kWhole, .in_features = kWhole, .quant = scheme.quant};
  for (const FormatChoice& format : find_formats(options.formats, false, {}, registry))
    if (format.exporter != home.exporter && !format.exporter->supports(layer, format.name))
      throw_usage(str("scheme '", scheme.name, "' is for format '", home.name, "', and --format asks for '",
                      format.name, "', which cannot store it; leave --format out or choose another scheme"));
}

}  // namespace

std::string scheme_of(const QuantizeOptions& options, const Registry& registry) {
  const bool from_recipe = !options.recipe_file.empty();
  std::string name, from;  // a preset and the format that stands for it
  for (const FormatChoice& format : find_formats(options.formats, from_recipe, {}, registry)) {
    const std::string implied(format.exporter->implied_scheme(format.name));
    if (implied.empty()) continue;
    if (!from.empty() && lower(implied) != lower(name))
      throw_usage(str("formats '", from, "' and '", format.name, "' cannot be written in one run: '", from,
                      "' stands for scheme '", name, "' and '", format.name, "' for '", implied,
                      "'; write them in two runs"));
    name = implied;
    from = format.name;
  }
  if (from.empty()) {
    if (options.scheme.empty()) return kDefaultScheme;
    if (!from_recipe && options.auto_scheme.options.empty()) require_home(options, registry);
    return options.scheme;
  }
  const auto decides = [&](std::string_view what) {
    throw_usage(str("format '", from, "' stands for scheme '", name, "', and ", what,
                    "; leave that out or choose another --format"));
  };
  if (from_recipe) decides("the recipe file states schemes");
  if (!options.auto_scheme.options.empty()) decides("--options lets AutoScheme choose");
  if (!options.scheme.empty() && lower(options.scheme) != lower(name))
    decides(str("--scheme asks for '", printable(options.scheme), "'"));
  return name;
}

}  // namespace arkit
