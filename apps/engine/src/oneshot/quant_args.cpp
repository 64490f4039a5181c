#include "oneshot/quant_args.h"

#include <algorithm>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::oneshot {
namespace {

constexpr int64_t kLargestGroup = int64_t{1} << 32;

const std::vector<std::string>& args_fields() {
  static const std::vector<std::string> all = {
      "num_bits", "type",     "symmetric",   "group_size", "strategy", "block_structure",
      "dynamic",  "actorder", "scale_dtype", "zp_dtype",   "observer", "observer_kwargs"};
  return all;
}

const std::vector<std::string>& scheme_fields() {
  static const std::vector<std::string> all = {"targets", "weights", "input_activations", "output_activations",
                                               "format"};
  return all;
}

[[noreturn]] void bad(const std::string& where, std::string_view field, const json::Value& value,
                      std::string_view expected) {
  throw_input(str(where, ": '", field, "' is ", printable(json::dump(value)), ", expected ", expected));
}

int64_t positive(const json::Value& value, const std::string& where, std::string_view field) {
  if (!value.is_int64() || value.get_int64() < 1 || value.get_int64() > kLargestGroup)
    bad(where, field, value, "a positive whole number");
  return value.get_int64();
}

// "torch.uint8" and "uint8" are one.
std::optional<std::string> read_dtype(const json::Object& fields, std::string_view field, const std::string& where) {
  const auto name = json::get_string(fields, field, where);
  if (!name) return std::nullopt;
  return name->starts_with("torch.") ? *name : "torch." + *name;
}

void read_dynamic(const json::Object& fields, QuantArgs& args, const std::string& where) {
  const json::Value* value = json::find(fields, "dynamic");
  if (value == nullptr) return;
  if (value->is_bool())
    args.dynamic = value->get_bool() ? Dynamic::yes : Dynamic::no;
  else if (value->is_string() && lower(std::string_view(value->get_string())) == "local")
    args.dynamic = Dynamic::local;
  else
    bad(where, "dynamic", *value, "true, false or local");
}

// Two positive numbers, or the old spelling "128x128".
void read_block(const json::Object& fields, QuantArgs& args, const std::string& where) {
  const json::Value* value = json::find(fields, "block_structure");
  if (value == nullptr) return;
  json::Array sides;
  if (value->is_string())
    for (const std::string& part : split(std::string_view(value->get_string()), 'x'))
      sides.push_back(part.size() < 10 && !part.empty() && part.find_first_not_of("0123456789") == std::string::npos
                          ? json::Value(std::stoll(part))
                          : json::Value(nullptr));
  else if (value->is_array())
    sides = value->get_array();
  if (sides.size() != 2) bad(where, "block_structure", *value, "two numbers such as [128, 128]");
  args.block_structure = {positive(sides[0], where, "block_structure"), positive(sides[1], where, "block_structure")};
}

void read_actorder(const json::Object& fields, QuantArgs& args, Role role, const std::string& where) {
  const json::Value* value = json::find(fields, "actorder");
  if (value == nullptr || (value->is_bool() && !value->get_bool())) return;
  const std::string name = value->is_string() ? lower(std::string_view(value->get_string())) : std::string("group");
  if (name != "weight" && name != "static")
    throw_unsupported(str(where, ": actorder ", json::dump(*value),
                          " reorders columns at run time, which compressed-tensors gave up; leave it out"));
  if (role != Role::weights) throw_input(str(where, ": 'actorder' concerns weights only"));
  args.actorder = name;
}

std::string strategy_of(const json::Object& fields, const QuantArgs& args, const std::string& where) {
  if (const auto given = json::get_string(fields, "strategy", where)) return lower(*given);
  if (args.block_structure) return "block";
  if (!args.group_size) return "tensor";
  return *args.group_size > 0 ? "group" : "channel";
}

// What fits together (docs/spec/modifier-recipes.md 3).
void check(const QuantArgs& args, const std::string& where) {
  const std::string& s = args.strategy;
  static const std::vector<std::string> known = {"tensor", "channel",      "group",    "block",
                                                 "token",  "tensor_group", "attn_head"};
  if (std::find(known.begin(), known.end(), s) == known.end())
    throw_input(str(where, ": ", unknown_name("strategy", s, known, quoted_list(known))));
  if (args.type != "int" && args.type != "float")
    throw_input(str(where, ": 'type' is '", printable(args.type), "', expected int or float"));
  if (args.num_bits < 1 || args.num_bits > 32)
    throw_input(str(where, ": 'num_bits' is ", args.num_bits, ", expected 2 to 8"));
  if (args.type == "float" && args.num_bits != 4 && args.num_bits != 8)
    throw_unsupported(str(where, ": ", args.num_bits, "-bit floats do not exist in compressed-tensors; choose 4 or 8"));
  const bool grouped = s == "group" || s == "tensor_group";
  const int64_t group = args.group_size.value_or(0);
  if (group < -1 || (args.group_size && group == 0) || group > kLargestGroup)
    throw_input(str(where, ": 'group_size' is ", group, ", expected a positive number, or -1 for one group a row"));
  if (grouped && group <= 0) throw_input(str(where, ": strategy '", s, "' without a positive group_size"));
  if (!grouped && group > 0)
    throw_input(str(where, ": group_size ", group, " with strategy '", s, "', expected group"));
  if ((s == "block") != args.block_structure.has_value())
    throw_input(str(where, ": strategy 'block' and 'block_structure' go together"));
  if (s == "token" && args.dynamic != Dynamic::yes)
    throw_input(str(where, ": strategy 'token' needs scales computed at run time; set dynamic: true"));
  if (args.dynamic == Dynamic::yes && s != "token" && s != "tensor" && !grouped)
    throw_input(str(where, ": dynamic: true is not possible with strategy '", s, "'"));
  if (args.dynamic == Dynamic::local && s != "tensor_group")
    throw_input(str(where, ": dynamic: local goes with strategy 'tensor_group' only"));
}

json::Value or_null(const std::optional<std::string>& text) {
  return text ? json::Value(*text) : json::Value(nullptr);
}

QuantArgs args_of(std::string type, int bits, std::string strategy) {
  QuantArgs args;
  args.type = std::move(type);
  args.num_bits = bits;
  args.strategy = std::move(strategy);
  return args;
}

QuantArgs in_groups(std::string type, int bits, std::string strategy, int64_t group) {
  QuantArgs args = args_of(std::move(type), bits, std::move(strategy));
  args.group_size = group;
  return args;
}

QuantArgs per_token(std::string type, int bits) {
  QuantArgs args = args_of(std::move(type), bits, "token");
  args.dynamic = Dynamic::yes;
  return args;
}

struct NamedScheme {
  std::string name;
  QuantScheme scheme;
};

std::vector<NamedScheme> int_presets() {
  std::vector<NamedScheme> all;
  const auto add = [&](const std::string& name, QuantArgs weights, std::optional<QuantArgs> inputs) {
    all.push_back({name, {.targets = {}, .weights = std::move(weights), .input_activations = std::move(inputs)}});
  };
  for (int bits = 2; bits <= 8; ++bits) {
    const QuantArgs weights = in_groups("int", bits, "group", 128);
    add(str("W", bits, "A16"), weights, std::nullopt);
    if (bits <= 4) add(str("W", bits, "A4"), weights, per_token("int", 4));
    if (bits <= 7) add(str("W", bits, "A8"), weights, per_token("int", 8));
  }
  QuantArgs asymmetric = in_groups("int", 4, "group", 128);
  asymmetric.symmetric = false;
  asymmetric.zp_dtype = "torch.int8";
  add("W4A16_ASYM", asymmetric, std::nullopt);
  for (const char* name : {"W8A8", "INT8"}) add(name, args_of("int", 8, "channel"), per_token("int", 8));
  add("W4AFP8", in_groups("int", 4, "group", 128), per_token("float", 8));
  return all;
}

std::vector<NamedScheme> float_presets() {
  std::vector<NamedScheme> all;
  const auto add = [&](const std::string& name, QuantArgs weights, std::optional<QuantArgs> inputs) {
    all.push_back({name, {.targets = {}, .weights = std::move(weights), .input_activations = std::move(inputs)}});
  };
  QuantArgs whole = args_of("float", 8, "tensor");
  whole.observer = "static_minmax";
  add("FP8", args_of("float", 8, "tensor"), whole);
  add("FP8_DYNAMIC", args_of("float", 8, "channel"), per_token("float", 8));
  QuantArgs blocks = args_of("float", 8, "block");
  blocks.block_structure = {128, 128};
  QuantArgs runs = in_groups("float", 8, "group", 128);
  runs.dynamic = Dynamic::yes;
  add("FP8_BLOCK", blocks, runs);
  QuantArgs nv = in_groups("float", 4, "tensor_group", 16);
  nv.scale_dtype = "torch.float8_e4m3fn";
  add("NVFP4A16", nv, std::nullopt);
  QuantArgs nv_input = nv;
  nv_input.dynamic = Dynamic::local;
  nv_input.observer = "static_minmax";
  add("NVFP4", nv, nv_input);
  for (const int bits : {4, 8}) {
    QuantArgs mx = in_groups("float", bits, "group", 32);
    mx.scale_dtype = "torch.uint8";
    add(str("MXFP", bits, "A16"), mx, std::nullopt);
    QuantArgs mx_input = mx;
    mx_input.dynamic = Dynamic::yes;
    add(str("MXFP", bits), mx, mx_input);
  }
  return all;
}

const std::vector<NamedScheme>& presets() {
  static const std::vector<NamedScheme> all = [] {
    std::vector<NamedScheme> list = int_presets();
    for (NamedScheme& scheme : float_presets()) list.push_back(std::move(scheme));
    list.push_back({"UNQUANTIZED", {}});
    std::sort(list.begin(), list.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
    return list;
  }();
  return all;
}

}  // namespace

QuantArgs read_args(const json::Object& fields, Role role, const std::string& where) {
  refuse_unknown(fields, args_fields(), where);
  QuantArgs args;
  const int64_t bits = json::get_int(fields, "num_bits", where).value_or(8);
  args.num_bits = static_cast<int>(std::clamp<int64_t>(bits, 0, 99));
  args.type = lower(json::get_string(fields, "type", where).value_or("int"));
  args.symmetric = json::get_bool(fields, "symmetric", where).value_or(true);
  args.group_size = json::get_int(fields, "group_size", where);
  read_block(fields, args, where);
  read_dynamic(fields, args, where);
  read_actorder(fields, args, role, where);
  args.strategy = strategy_of(fields, args, where);
  args.scale_dtype = read_dtype(fields, "scale_dtype", where);
  args.zp_dtype = read_dtype(fields, "zp_dtype", where);
  if (args.symmetric)
    args.zp_dtype.reset();
  else if (!args.zp_dtype)
    args.zp_dtype = args.type == "int" ? "torch.int8" : "torch.float8_e4m3fn";
  args.observer = json::get_string(fields, "observer", where);
  if (const json::Value* kwargs = json::find(fields, "observer_kwargs"))
    args.observer_kwargs = json::as_object(*kwargs, where + ": 'observer_kwargs'");
  check(args, where);
  return args;
}

QuantScheme read_scheme(const json::Object& fields, const std::string& where) {
  refuse_unknown(fields, scheme_fields(), where);
  QuantScheme scheme;
  const json::Value* targets = json::find(fields, "targets");
  if (targets == nullptr) throw_input(str(where, ": has no 'targets'"));
  scheme.targets = read_names(*targets, where + ": 'targets'");
  const auto args = [&](std::string_view field, Role role) -> std::optional<QuantArgs> {
    const json::Value* value = json::find(fields, field);
    if (value == nullptr) return std::nullopt;
    const std::string place = str(where, ": ", field);
    return read_args(json::as_object(*value, place), role, place);
  };
  scheme.weights = args("weights", Role::weights);
  scheme.input_activations = args("input_activations", Role::input);
  scheme.output_activations = args("output_activations", Role::output);
  scheme.format = json::get_string(fields, "format", where);
  if (scheme.input_activations &&
      (scheme.input_activations->strategy == "channel" || scheme.input_activations->strategy == "block"))
    throw_input(str(where, ": input_activations: strategy '", scheme.input_activations->strategy,
                    "' is for weights; choose tensor, token, group or tensor_group"));
  return scheme;
}

json::Object to_json(const QuantArgs& args) {
  json::Object o;
  o["num_bits"] = args.num_bits;
  o["type"] = args.type;
  o["symmetric"] = args.symmetric;
  o["group_size"] = args.group_size ? json::Value(*args.group_size) : json::Value(nullptr);
  o["strategy"] = args.strategy;
  o["block_structure"] = args.block_structure
                             ? json::Value(json::Array{args.block_structure->first, args.block_structure->second})
                             : json::Value(nullptr);
  o["dynamic"] = args.dynamic == Dynamic::local ? json::Value("local") : json::Value(args.dynamic == Dynamic::yes);
  o["actorder"] = or_null(args.actorder);
  o["scale_dtype"] = or_null(args.scale_dtype);
  o["zp_dtype"] = or_null(args.zp_dtype);
  o["observer"] = or_null(args.observer);
  o["observer_kwargs"] = args.observer_kwargs;
  return o;
}

json::Object to_json(const QuantScheme& scheme) {
  const auto args = [](const std::optional<QuantArgs>& a) {
    return a ? json::Value(to_json(*a)) : json::Value(nullptr);
  };
  json::Object o;
  o["targets"] = json::Array(scheme.targets.begin(), scheme.targets.end());
  o["weights"] = args(scheme.weights);
  o["input_activations"] = args(scheme.input_activations);
  o["output_activations"] = args(scheme.output_activations);
  o["format"] = or_null(scheme.format);
  return o;
}

std::optional<QuantScheme> preset_scheme(std::string_view name) {
  const auto found = std::find_if(presets().begin(), presets().end(),
                                  [&](const NamedScheme& entry) { return lower(entry.name) == lower(name); });
  if (found == presets().end()) return std::nullopt;
  return found->scheme;
}

std::vector<std::string> preset_names() {
  std::vector<std::string> names;
  for (const NamedScheme& entry : presets()) names.push_back(entry.name);
  return names;
}

void set_default_observer(QuantArgs& args, Role role) {
  if (args.observer) return;
  if (role == Role::kv_cache || args.dynamic == Dynamic::yes) return;
  args.observer = role == Role::weights ? "memoryless_minmax" : "minmax";
}

std::vector<std::string> read_names(const json::Value& value, const std::string& where) {
  if (value.is_string()) return {std::string(value.get_string())};
  std::vector<std::string> names;
  for (const json::Value& name : json::as_array(value, where)) {
    if (!name.is_string()) throw_input(str(where, ": holds ", printable(json::dump(name)), ", expected names"));
    names.emplace_back(name.get_string());
  }
  return names;
}

void refuse_unknown(const json::Object& fields, const std::vector<std::string>& known, const std::string& where) {
  for (const auto& member : fields)
    if (std::find(known.begin(), known.end(), std::string_view(member.key())) == known.end())
      throw_input(str(
          where, ": ",
          unknown_name("field", printable(std::string_view(member.key())), known, "fields: " + quoted_list(known))));
}

}  // namespace arkit::oneshot
