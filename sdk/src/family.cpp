// A family file -> Family.
#include <arkit/sdk/family.h>

#include <algorithm>
#include <array>
#include <cmath>

#include <arkit/error.h>
#include <arkit/sdk/nn.h>
#include <arkit/sdk/toml_json.h>
#include <arkit/str.h>

#include "family_limits.h"
#include "family_table.h"

namespace arkit::sdk {
namespace {

void read_keys(FamilyTable table, Family& family) {
  for (const std::string_view name : kFamilyKeys)
    if (std::string key = table.name(name, "", false); !key.empty()) family.keys.emplace(name, std::move(key));
  table.done();
}

void read_defaults(FamilyTable table, Family& f) {
  f.vocab_size = table.count("vocab_size", f.vocab_size, 1, kMaxVocab);
  f.hidden_size = table.count("hidden_size", f.hidden_size, 1, kMaxWidth);
  f.intermediate_size = table.count("intermediate_size", f.intermediate_size, 1, kMaxWidth);
  f.num_hidden_layers = table.count("num_hidden_layers", f.num_hidden_layers, 1, kMaxBlocks);
  f.num_attention_heads = table.count("num_attention_heads", f.num_attention_heads, 1, kMaxHeads);
  if (const int64_t n = table.count("num_key_value_heads", 0, 1, kMaxHeads); n > 0) f.num_key_value_heads = n;
  if (const int64_t n = table.count("head_dim", 0, 1, kMaxHeads); n > 0) f.head_dim = n;
  f.max_position_embeddings = table.count("max_position_embeddings", f.max_position_embeddings, 1, kMaxPositions);
  f.rms_norm_eps = table.number("rms_norm_eps", f.rms_norm_eps, 0.0, 1.0);
  f.rope_theta = table.number("rope_theta", f.rope_theta, 1.0, 1e15);
  f.hidden_act = table.text("hidden_act", f.hidden_act);
  if (!find_activation(f.hidden_act))
    throw_input(str(table.place("hidden_act"), " is '", printable(f.hidden_act), "'; expected ", kActivations));
  table.done();
}

void read_tensors(FamilyTable table, Family& f) {
  f.tensors.prefix = table.name("prefix", f.tensors.prefix, true);
  f.tensors.embedding = table.name("embedding", f.tensors.embedding, false);
  f.tensors.blocks = table.name("blocks", f.tensors.blocks, false);
  f.tensors.final_norm = table.name("final_norm", f.tensors.final_norm, true);
  f.tensors.head = table.name("head", f.tensors.head, false);
  table.done();
}

void read_norms(FamilyTable table, Family& f) {
  f.norms.before_attention = table.name("before_attention", f.norms.before_attention, true);
  f.norms.after_attention = table.name("after_attention", f.norms.after_attention, true);
  f.norms.before_mlp = table.name("before_mlp", f.norms.before_mlp, true);
  f.norms.after_mlp = table.name("after_mlp", f.norms.after_mlp, true);
  f.norms.offset = table.number("offset", f.norms.offset, -16.0, 16.0);
  const std::string rounding = table.text("rounding", "before_weight");
  if (rounding != "before_weight" && rounding != "after_weight")
    throw_input(
        str(table.place("rounding"), " is '", printable(rounding), "'; expected before_weight or after_weight"));
  f.norms.wide = rounding == "after_weight";
  if (f.norms.offset != 0.0 && !f.norms.wide)
    throw_input(str(table.place("offset"), " needs rounding = \"after_weight\": offset + weight is a 32-bit number"));
  table.done();
}

void read_attention(FamilyTable table, Family& f) {
  auto& a = f.attention;
  a.module = table.name("module", a.module, false);
  a.qkv = table.name("qkv", a.qkv, false);
  a.query = table.name("query", a.query, false);
  a.key = table.name("key", a.key, false);
  a.value = table.name("value", a.value, false);
  a.output = table.name("output", a.output, false);
  a.bias = table.flag_setting("bias", a.bias);
  a.output_bias = table.flag_setting("output_bias", a.output_bias);
  const std::string norm = table.text("query_key_norm", "none");
  if (norm != "none" && norm != "heads" && norm != "whole")
    throw_input(str(table.place("query_key_norm"), " is '", printable(norm), "'; expected none, heads or whole"));
  a.whole_heads = norm == "whole";
  a.query_norm = table.name("query_norm", "q_norm", false);
  a.key_norm = table.name("key_norm", "k_norm", false);
  if (norm == "none") a.query_norm.clear(), a.key_norm.clear();
  a.scale = table.number_setting("scale", 1e-6, kMaxScale);
  a.scale_width = table.number_setting("scale_width", 1e-6, kMaxScale);
  if ((a.scale.value || !a.scale.key.empty()) && (a.scale_width.value || !a.scale_width.key.empty()))
    throw_input(str(table.place("scale_width"), " beside 'scale'; give one of them: scale = 1 / sqrt(scale_width)"));
  a.softcap = table.number_setting("softcap", 0.0, kMaxScale);
  a.partial_rope = table.flag("partial_rope", a.partial_rope);
  table.done();
}

void read_window(FamilyTable table, Family& f) {
  f.window.size = table.count_setting("size", 1, kMaxPositions);
  f.window.when = table.flag_setting("when", {{}, !table.has("when")});
  f.window.from_block = table.count_setting("from_block", 0, kMaxBlocks);
  f.window.full_every = table.count_setting("full_every", 1, kMaxBlocks);
  const bool sized = f.window.size.value || !f.window.size.key.empty();
  for (const std::string_view key : {"when", "from_block", "full_every"})
    if (!sized && table.has(key))
      throw_input(str(table.place(key), " stands without 'size'; say how many keys a query sees"));
  table.done();
}

void read_mlp(FamilyTable table, Family& f) {
  f.mlp.module = table.name("module", f.mlp.module, false);
  f.mlp.gate = table.name("gate", f.mlp.gate, true);
  f.mlp.up = table.name("up", f.mlp.up, false);
  f.mlp.gate_up = table.name("gate_up", f.mlp.gate_up, false);
  f.mlp.down = table.name("down", f.mlp.down, false);
  f.mlp.bias = table.flag_setting("bias", f.mlp.bias);
  table.done();
}

void read_scales(FamilyTable table, Family& f) {
  const json::Value* embedding = table.take("embedding");
  if (embedding != nullptr && *embedding == json::Value("sqrt(hidden_size)"))
    f.scales.embedding_by_width = true;
  else
    f.scales.embedding = table.number_setting("embedding", 1e-6, kMaxScale);
  f.scales.residual = table.number_setting("residual", 1e-6, kMaxScale);
  f.scales.logits_divisor = table.number_setting("logits_divisor", 1e-6, kMaxScale);
  f.scales.logits_softcap = table.number_setting("logits_softcap", 0.0, kMaxScale);
  table.done();
}

// Two slots with one tensor would be one layer that is tuned twice.
void check_names(const Family& f) {
  const auto& a = f.attention;
  std::vector<std::string> names = {f.norms.before_attention, f.norms.after_attention, f.norms.before_mlp,
                                    f.norms.after_mlp};
  const auto add = [&](const std::string& module, std::initializer_list<std::string> slots) {
    for (const std::string& slot : slots)
      if (!slot.empty()) names.push_back(str(module, ".", slot));
  };
  if (a.qkv.empty())
    add(a.module, {a.query, a.key, a.value});
  else
    add(a.module, {a.qkv});
  add(a.module, {a.output, a.query_norm, a.key_norm});
  if (f.mlp.gate_up.empty())
    add(f.mlp.module, {f.mlp.gate, f.mlp.up});
  else
    add(f.mlp.module, {f.mlp.gate_up});
  add(f.mlp.module, {f.mlp.down});
  std::erase(names, std::string());
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    throw_input(str(f.what, ": two slots of a block have the name '", *twice, "'; each needs a tensor of its own"));
}

}  // namespace

Family parse_family(std::string_view toml, std::string what) {
  const json::Value parsed = toml_as_json(toml, what);
  FamilyTable top(json::as_object(parsed, what), what, "");
  Family family;
  family.what = what;
  family.name = top.name("name", "", false);
  if (family.name.empty()) throw_input(str(top.place("name"), " is missing; expected the family's name"));
  family.summary = top.text("summary", family.name);
  family.model_types = top.names("model_types");
  read_keys(top.table("keys"), family);
  read_defaults(top.table("defaults"), family);
  read_tensors(top.table("tensors"), family);
  read_norms(top.table("norms"), family);
  read_attention(top.table("attention"), family);
  read_window(top.table("window"), family);
  read_mlp(top.table("mlp"), family);
  read_scales(top.table("scales"), family);
  top.done();
  check_names(family);
  return family;
}

}  // namespace arkit::sdk
