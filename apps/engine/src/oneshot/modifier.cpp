#include "oneshot/modifier.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

constexpr std::string_view kQuantization = "QuantizationModifier", kTunes = "AutoRoundModifier";

struct Refusal {
  std::string_view type, why;
};

constexpr std::array<Refusal, 11> kRefused{{
    {"GPTQModifier", "solves for weights with Hessians; use AutoRoundModifier with the same scheme"},
    {"AWQModifier", "scales weights by activations before rounding; use AutoRoundModifier instead of the pair"},
    {"SmoothQuantModifier", "moves ranges from activations into weights; use AutoRoundModifier alone"},
    {"LogarithmicEqualizationModifier", "moves ranges from activations into weights; use AutoRoundModifier alone"},
    {"SpinQuantModifier", "rotates weights, which its files record as a transform; leave it out"},
    {"QuIPModifier", "rotates weights, which its files record as a transform; leave it out"},
    {"SparseGPTModifier", "prunes weights; arkit quantizes only"},
    {"WandaPruningModifier", "prunes weights; arkit quantizes only"},
    {"MagnitudePruningModifier", "prunes weights; arkit quantizes only"},
    {"ConstantPruningModifier", "prunes weights; arkit quantizes only"},
    {"REAPPruningModifier", "prunes experts; arkit quantizes only"},
}};

// Fields of both classes in the order they are dumped, then those of AutoRoundModifier.
const std::vector<std::string>& common_fields() {
  static const std::vector<std::string> all = {"config_groups",
                                               "targets",
                                               "ignore",
                                               "scheme",
                                               "kv_cache_scheme",
                                               "weight_observer",
                                               "input_observer",
                                               "output_observer",
                                               "observer",
                                               "bypass_divisibility_checks",
                                               "requires_calibration_data",
                                               "index",
                                               "group",
                                               "start",
                                               "end",
                                               "update"};
  return all;
}

const std::vector<std::string>& tuning_fields() {
  static const std::vector<std::string> all = {"iters", "enable_torch_compile", "batch_size",
                                               "lr",    "device_ids",           "disable_opt_rtn"};
  return all;
}

// Where oneshot() takes what people look for in a modifier.
std::string_view flag_for(std::string_view field) {
  if (field == "seqlen" || field == "max_seq_length") return "--seqlen";
  if (field == "nsamples" || field == "num_calibration_samples") return "--nsamples";
  if (field == "dataset") return "--dataset";
  if (field == "group_size" || field == "bits") return "config_groups";
  return {};
}

class ModifierReader {
 public:
  ModifierReader(const RawModifier& raw, const std::string& where, Recipe& recipe)
      : fields_(raw.fields), where_(str(where, ": ", raw.type)), recipe_(recipe), m_(recipe.modifier) {
    m_.stage = raw.stage;
    m_.group = raw.group;
    m_.type = raw.type;
    m_.tunes = raw.type == kTunes;
  }

  void read() {
    check_names();
    read_group();
    targets_ = names("targets").value_or(std::vector<std::string>{"Linear"});
    read_ignore();
    read_schemes();
    if (const json::Object* kv = object("kv_cache_scheme")) {
      m_.kv_cache = read_args(*kv, Role::kv_cache, where_ + ": kv_cache_scheme");
      refuse_kwargs(*m_.kv_cache, "kv_cache_scheme");
      check_observer(*m_.kv_cache, Role::kv_cache, "kv_cache_scheme");
    }
    read_observers();
    if (m_.tunes) read_tuning();
    for (const char* legacy : {"index", "start", "end", "update"})
      if (json::find(fields_, legacy) != nullptr) note(str("'", legacy, "' has no effect on one-shot quantization"));
    if (m_.schemes.empty() && !m_.kv_cache)
      throw_input(str(where_, ": says nothing to quantize; give a scheme, config_groups or kv_cache_scheme"));
    write_fields();
  }

 private:
  void note(std::string_view text) { recipe_.notes.push_back(str(where_, ": ", text)); }

  void check_names() const {
    std::vector<std::string> known = common_fields();
    if (m_.tunes) known.insert(known.end(), tuning_fields().begin(), tuning_fields().end());
    for (const auto& member : fields_) {
      const std::string_view flag = flag_for(member.key());
      if (!flag.empty())
        throw_input(str(where_, ": '", std::string_view(member.key()), "' is no field of a modifier; give ", flag));
    }
    refuse_unknown(fields_, known, where_);
  }

  // A `group` field renames the group.
  void read_group() {
    const auto name = json::get_string(fields_, "group", where_);
    if (name && !name->empty()) m_.group = *name + "_modifiers";
  }

  std::optional<std::vector<std::string>> names(std::string_view field) const {
    const json::Value* value = json::find(fields_, field);
    if (value == nullptr) return std::nullopt;
    return read_names(*value, str(where_, ": '", field, "'"));
  }

  const json::Object* object(std::string_view field) const {
    const json::Value* value = json::find(fields_, field);
    return value == nullptr ? nullptr : &json::as_object(*value, str(where_, ": '", field, "'"));
  }

  void read_ignore() {
    const json::Value* value = json::find(fields_, "ignore");
    if (value != nullptr && value->is_string())
      throw_input(str(where_, ": 'ignore' is a text, expected a list; write [", printable(json::dump(*value)), "]"));
    m_.ignore = names("ignore").value_or(std::vector<std::string>{});
  }

  QuantScheme preset(std::string_view name, std::vector<std::string> targets) const {
    auto scheme = preset_scheme(name);
    if (!scheme)
      throw_unsupported(
          str(where_, ": ",
              unknown_name("scheme", printable(name), preset_names(), "presets: " + quoted_list(preset_names()))));
    scheme->targets = std::move(targets);
    return *scheme;
  }

  void read_schemes() {
    const json::Value* scheme = json::find(fields_, "scheme");
    const json::Object* groups = object("config_groups");
    if (scheme != nullptr && groups != nullptr)
      throw_input(str(where_, ": 'scheme' and 'config_groups' say the same thing twice; give one"));
    if (groups != nullptr) {
      for (const auto& member : *groups) {
        const std::string place = str(where_, ": config group '", printable(std::string_view(member.key())), "'");
        groups_.emplace_back(member.key(), m_.schemes.size());
        m_.schemes.push_back(read_scheme(json::as_object(member.value(), place), place));
      }
    } else if (scheme != nullptr && scheme->is_string()) {
      m_.scheme_name = std::string_view(scheme->get_string());
      m_.schemes.push_back(preset(m_.scheme_name, targets_));
    } else if (scheme != nullptr) {
      for (const auto& member :
           json::as_object(*scheme, where_ + ": 'scheme' (a preset's name, or presets with targets)"))
        m_.schemes.push_back(
            preset(member.key(), read_names(member.value(), str(where_, ": scheme ", std::string_view(member.key())))));
    }
  }

  std::optional<std::string> observer_of(std::string_view field, std::string_view member) const {
    const auto flat = json::get_string(fields_, field, where_);
    const json::Object* map = object("observer");
    if (map == nullptr) return flat;
    if (flat) throw_input(str(where_, ": '", field, "' and 'observer' say the same thing twice; give one"));
    refuse_unknown(*map, {"weights", "input", "output"}, where_ + ": 'observer'");
    return json::get_string(*map, member, where_ + ": 'observer'");
  }

  static std::string observer_name(const std::string& name) {
    std::string plain = lower(name);
    std::replace(plain.begin(), plain.end(), '-', '_');
    return plain;
  }

  // What arkit measures ranges with.
  void check_observer(const QuantArgs& args, Role role, std::string_view what) const {
    if (!args.observer) return;
    const std::string name = observer_name(*args.observer);
    const bool mse = name == "mse" || name == "memoryless_mse";
    const bool minmax = name == "minmax" || name == "static_minmax" || name == "memoryless_minmax";
    const bool shared = args.strategy == "tensor_group";  // how it ranges a global scale is not known
    if (mse && role == Role::weights && !shared && !m_.tunes) return;
    if (mse)
      throw_unsupported(str(where_, ": ", what, ": observer '", printable(*args.observer),
                            "' is available for weights other than NVFP4 that QuantizationModifier rounds; choose "
                            "minmax"));
    if (!minmax)
      throw_unsupported(str(where_, ": ", what, ": observer '", printable(*args.observer),
                            "' is not available; choose minmax, static_minmax, memoryless_minmax or memoryless_mse"));
  }

  void refuse_kwargs(const QuantArgs& args, std::string_view what) const {
    for (const auto& member : args.observer_kwargs) {
      const std::string_view key = member.key();
      const auto is = [&](std::string_view name, double value) {
        return key == name && member.value().is_number() && member.value().to_number<double>() == value;
      };
      if (is("averaging_constant", 0.01) || is("maxshrink", 0.2) || is("patience", 5) || is("grid", 100) ||
          is("norm", 2.4) || is("expand", 1.0))
        continue;
      throw_unsupported(str(where_, ": ", what, ": observer_kwargs '", printable(key), ": ",
                            printable(json::dump(member.value())),
                            "' is not available; observers have their defaults"));
    }
  }

  void finish_args(std::optional<QuantArgs>& args, Role role, const std::optional<std::string>& given,
                   std::string_view what) const {
    if (!args) return;
    if (given && args->dynamic != Dynamic::yes) args->observer = given;
    set_default_observer(*args, role);
    check_observer(*args, role, what);
    refuse_kwargs(*args, what);
  }

  void read_observers() {
    const auto weights = observer_of("weight_observer", "weights"), input = observer_of("input_observer", "input"),
               output = observer_of("output_observer", "output");
    for (QuantScheme& scheme : m_.schemes) {
      finish_args(scheme.weights, Role::weights, weights, "weights");
      finish_args(scheme.input_activations, Role::input, input, "input_activations");
      finish_args(scheme.output_activations, Role::output, output, "output_activations");
    }
  }

  void read_tuning() {
    m_.iters = json::get_int(fields_, "iters", where_).value_or(200);
    m_.batch_size = json::get_int(fields_, "batch_size", where_).value_or(8);
    m_.lr = json::get_double(fields_, "lr", where_);
    m_.disable_opt_rtn = json::get_bool(fields_, "disable_opt_rtn", where_).value_or(false);
    if (m_.iters < 0) throw_input(str(where_, ": 'iters' is ", m_.iters, ", expected 0 (no tuning) or more"));
    if (m_.batch_size < 1) throw_input(str(where_, ": 'batch_size' is ", m_.batch_size, ", expected at least 1"));
    if (m_.lr && !(*m_.lr > 0)) throw_input(str(where_, ": 'lr' is ", *m_.lr, ", expected a positive number"));
    if (json::get_bool(fields_, "enable_torch_compile", where_))
      note("'enable_torch_compile' has no meaning here: nothing is compiled at run time");
    if (json::find(fields_, "device_ids") != nullptr) note("'device_ids' has no meaning here: arkit tunes on the CPU");
  }

  bool needs_data() const {
    if (m_.tunes || m_.kv_cache) return true;
    return std::any_of(m_.schemes.begin(), m_.schemes.end(), [](const QuantScheme& s) {
      return (s.input_activations && s.input_activations->dynamic != Dynamic::yes) ||
             (s.output_activations && s.output_activations->dynamic != Dynamic::yes);
    });
  }

  // The value of a field as the class dumps it; null = left out.
  json::Value dumped(const std::string& field) const {
    if (field == "config_groups") {
      if (groups_.empty()) return nullptr;
      json::Object all;
      for (const auto& [name, index] : groups_) all[name] = to_json(m_.schemes[index]);
      return all;
    }
    if (field == "targets") return json::Array(targets_.begin(), targets_.end());
    if (field == "ignore") return json::Array(m_.ignore.begin(), m_.ignore.end());
    if (field == "scheme" && m_.scheme_name.empty() && groups_.empty() && !m_.schemes.empty()) {
      json::Object map;
      for (const auto& member : *object("scheme")) {
        const std::vector<std::string> targets = read_names(member.value(), where_);
        map[member.key()] = json::Array(targets.begin(), targets.end());
      }
      return map;
    }
    if (field == "kv_cache_scheme") return m_.kv_cache ? json::Value(to_json(*m_.kv_cache)) : json::Value(nullptr);
    if (field == "requires_calibration_data") return needs_data();
    const json::Value* given = json::find(fields_, field);
    if (given != nullptr) return *given;
    if (field == "bypass_divisibility_checks") return false;
    if (field == "enable_torch_compile") return true;
    return nullptr;
  }

  void write_fields() {
    std::vector<std::string> order = common_fields();
    if (m_.tunes) order.insert(order.end(), tuning_fields().begin(), tuning_fields().end());
    for (const std::string& field : order) {
      if (field == "group") continue;
      json::Value value = dumped(field);
      if (field == "iters") value = m_.iters;
      if (field == "batch_size") value = m_.batch_size;
      if (field == "disable_opt_rtn") value = m_.disable_opt_rtn;
      if (!value.is_null()) m_.fields[field] = std::move(value);
    }
  }

  const json::Object& fields_;
  const std::string where_;
  Recipe& recipe_;
  Modifier& m_;
  std::vector<std::string> targets_;
  std::vector<std::pair<std::string, size_t>> groups_;  // names of config_groups
};

void refuse_modifier(const RawModifier& raw, const std::string& where) {
  const auto* found =
      std::find_if(kRefused.begin(), kRefused.end(), [&](const Refusal& r) { return r.type == raw.type; });
  if (found != kRefused.end()) throw_unsupported(str(where, ": ", raw.type, " is not available: it ", found->why));
  const std::vector<std::string> known = {std::string(kQuantization), std::string(kTunes)};
  throw_unsupported(str(
      where, ": ",
      unknown_name("modifier", printable(raw.type), known, "QuantizationModifier rounds, AutoRoundModifier tunes")));
}

json::Object in_class_order(const json::Object& fields) {
  std::vector<std::string> order = common_fields();
  order.insert(order.end(), tuning_fields().begin(), tuning_fields().end());
  json::Object sorted;
  for (const std::string& field : order)
    if (const json::Value* value = fields.if_contains(field)) sorted[field] = *value;
  return sorted;
}

bool averages_ranges(const Modifier& m) {
  return m.kv_cache || std::any_of(m.schemes.begin(), m.schemes.end(), [](const QuantScheme& scheme) {
           return scheme.input_activations && scheme.input_activations->observer == "minmax";
         });
}

template <typename T>
void refuse_flag(const std::optional<T>& value, std::string_view flag) {
  if (value)
    throw_usage(str("--", flag, " and --recipe_file contradict each other: the recipe states schemes; give one"));
}

}  // namespace

Recipe resolve_recipe(const RecipeDocument& document) {
  Recipe recipe;
  recipe.warnings = document.warnings;
  for (const RawModifier& raw : document.modifiers)
    if (raw.type != kQuantization && raw.type != kTunes) refuse_modifier(raw, document.where);
  if (document.modifiers.size() > 1)
    throw_unsupported(str(document.where, ": holds ", document.modifiers.size(),
                          " modifiers that quantize; one is expected, with config_groups for several schemes"));
  ModifierReader(document.modifiers.front(), document.where, recipe).read();
  return recipe;
}

Recipe read_recipe_file(const std::filesystem::path& path) {
  return resolve_recipe(read_document(load_recipe_file(path), str("recipe '", printable(path.string()), "'")));
}

QuantizeOptions apply_recipe(Recipe& recipe, const QuantizeOptions& given) {
  const SchemeOverrides& o = given.overrides;
  refuse_flag(o.bits, "bits");
  refuse_flag(o.act_bits, "act_bits");
  refuse_flag(o.group_size, "group_size");
  refuse_flag(o.act_group_size, "act_group_size");
  refuse_flag(o.sym, "sym or --asym");
  refuse_flag(o.act_sym, "act_sym or --act_asym");
  refuse_flag(o.act_dynamic, "act_dynamic");
  refuse_flag(o.data_type, "data_type");
  refuse_flag(o.act_data_type, "act_data_type");
  refuse_flag(o.scale_dtype, "scale_dtype");
  refuse_flag(o.scale_search, "scale_search");
  const auto named = [](bool set, const char* flag) {
    refuse_flag(set ? std::optional<bool>(true) : std::nullopt, flag);
  };
  named(given.scheme != QuantizeOptions().scheme, "scheme");
  named(!given.layer_config.empty(), "layer_config");
  named(!given.ignore_layers.empty(), "ignore_layers");
  named(given.quant_lm_head, "quant_lm_head");
  named(given.recipe != QuantizeOptions().recipe, "recipe");
  named(given.tuning.enable_neuqi, "enable_neuqi");
  named(!given.attention.kv_dtype.empty(), "static_kv_dtype");
  named(!given.attention.attention_dtype.empty(), "static_attention_dtype");

  QuantizeOptions options = given;
  Modifier& m = recipe.modifier;
  TuningOptions& tuning = options.tuning;
  if (!m.tunes) {
    if (tuning.iters.value_or(0) > 0)
      throw_usage("--iters and a QuantizationModifier contradict each other; name AutoRoundModifier in the recipe");
    if (tuning.disable_opt_rtn == false)
      throw_usage("--enable_opt_rtn and a QuantizationModifier, which rounds plainly, contradict each other");
    tuning.iters = 0;
    tuning.disable_opt_rtn = true;
    // Moving averages go from batch to batch, and oneshot() has batches of one sample.
    if (averages_ranges(m) && !tuning.batch_size) tuning.batch_size = 1;
    return options;
  }
  const auto settle = [&](auto& option, auto& field, const char* name) {
    if (option) {
      field = *option;
      m.fields[name] = *option;
    } else {
      option = field;
    }
  };
  settle(tuning.iters, m.iters, "iters");
  settle(tuning.batch_size, m.batch_size, "batch_size");
  settle(tuning.disable_opt_rtn, m.disable_opt_rtn, "disable_opt_rtn");
  if (tuning.lr) {
    m.fields["lr"] = *tuning.lr;
    m.lr = tuning.lr;
  } else {
    tuning.lr = m.lr;
  }
  m.fields = in_class_order(m.fields);
  return options;
}

}  // namespace arkit::oneshot
