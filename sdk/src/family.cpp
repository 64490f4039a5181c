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
  const auto read = [&](std::string_view name) {
    if (std::string key = table.name(name, "", false); !key.empty()) family.keys.emplace(name, std::move(key));
  };
  for (const std::string_view name : kFamilyKeys) read(name);
  read("rope_theta");
  table.done();
}

void read_defaults(FamilyTable table, Family& f) {
  f.vocab_size = table.count("vocab_size", f.vocab_size, 1, kMaxVocab);
  f.hidden_size = table.count("hidden_size", f.hidden_size, 1, kMaxWidth);
  f.intermediate_size = table.count("intermediate_size", f.intermediate_size, 1, kMaxWidth);
  if (const int64_t n = table.count("intermediate_factor", 0, 1, 1024); n > 0) f.intermediate_factor = n;
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
  f.tensors.head_bias = table.flag("head_bias", f.tensors.head_bias);
  table.done();
}

void read_norms(FamilyTable table, Family& f) {
  f.norms.before_attention = table.name("before_attention", f.norms.before_attention, true);
  f.norms.after_attention = table.name("after_attention", f.norms.after_attention, true);
  f.norms.before_mlp = table.name("before_mlp", f.norms.before_mlp, true);
  f.norms.after_mlp = table.name("after_mlp", f.norms.after_mlp, true);
  f.norms.kind = table.choice("kind", {"rms", "layer"});
  const bool layer = f.norms.kind == "layer";
  if (!layer && table.has("bias")) throw_input(str(table.place("bias"), " needs kind = \"layer\": RMSNorm has none"));
  f.norms.bias = table.flag("bias", layer);
  f.norms.offset = table.number("offset", f.norms.offset, -16.0, 16.0);
  if (layer)
    for (const std::string_view key : {"offset", "rounding"})
      if (table.has(key)) throw_input(str(table.place(key), " is of RMSNorm; leave it out beside kind = \"layer\""));
  f.norms.wide = table.choice("rounding", {"before_weight", "after_weight"}) == "after_weight";
  if (f.norms.offset != 0.0 && !f.norms.wide)
    throw_input(str(table.place("offset"), " needs rounding = \"after_weight\": offset + weight is a 32-bit number"));
  table.done();
}

void read_attention(FamilyTable table, Family& f) {
  auto& a = f.attention;
  a.module = table.name("module", a.module, false);
  a.qkv = table.name("qkv", a.qkv, false);
  if (a.qkv.empty() && table.has("qkv_rows"))
    throw_input(str(table.place("qkv_rows"), " stands without 'qkv'; it says how the rows of that layer lie"));
  a.rows_by_key_head = table.choice("qkv_rows", {"kinds", "key_heads"}) == "key_heads";
  a.query = table.name("query", a.query, false);
  a.key = table.name("key", a.key, false);
  a.value = table.name("value", a.value, false);
  a.output = table.name("output", a.output, false);
  a.kv_heads = table.count("kv_heads", 0, 1, kMaxHeads);
  a.bias = table.flag_setting("bias", a.bias);
  a.output_bias = table.flag_setting("output_bias", a.output_bias);
  const std::string norm = table.choice("query_key_norm", {"none", "heads", "whole"});
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
  a.rotary_share = table.number_setting("rotary_share", 1e-3, 1.0);
  if (table.has("rotary_share") && !a.partial_rope)
    throw_input(str(table.place("rotary_share"), " stands without partial_rope = true"));
  a.neighbours = table.choice("rope_pairs", {"halves", "neighbours"}) == "neighbours";
  a.rope_blocks = table.name("rope_blocks", "", false);
  a.rope_windowed = table.choice("rope_in", {"all", "windowed"}) == "windowed";
  a.rope_skip_every = table.count_setting("rope_skip_every", 1, kMaxBlocks);
  if (a.rope_windowed && (table.has("rope_blocks") || table.has("rope_skip_every")))
    throw_input(str(table.place("rope_in"), " beside 'rope_blocks' or 'rope_skip_every'; give one of them"));
  table.done();
}

void read_window(FamilyTable table, Family& f) {
  f.window.size = table.count_setting("size", 1, kMaxPositions);
  f.window.when = table.flag_setting("when", {{}, !table.has("when")});
  f.window.from_block = table.count_setting("from_block", 0, kMaxBlocks);
  f.window.full_every = table.count_setting("full_every", 1, kMaxBlocks);
  f.window.rope_theta = table.number_setting("rope_theta", 1.0, kMaxTheta);
  f.window.plain_rope = table.flag("plain_rope", f.window.plain_rope);
  if (f.window.plain_rope && table.has("rope_theta"))
    throw_input(str(table.place("plain_rope"), " beside 'rope_theta', which says it too; give one of them"));
  const bool sized = f.window.size.value || !f.window.size.key.empty();
  for (const std::string_view key : {"when", "from_block", "full_every", "rope_theta", "plain_rope"})
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
  f.scales.logits_factor = table.number_setting("logits_factor", 1e-6, kMaxScale);
  if (table.has("logits_divisor") && table.has("logits_factor"))
    throw_input(str(table.place("logits_factor"), " beside 'logits_divisor'; give one of them"));
  f.scales.logits_softcap = table.number_setting("logits_softcap", 0.0, kMaxScale);
  table.done();
}

void read_block(FamilyTable table, Family& f) {
  f.parallel = table.flag_setting("parallel", f.parallel);
  f.shared_norm = table.choice("parallel_norm", {"own", "shared"}) == "shared";
  if (table.has("parallel_norm") && !table.has("parallel"))
    throw_input(str(table.place("parallel_norm"), " stands without 'parallel'"));
  table.done();
}

void read_ignore(FamilyTable table, Family& f) {
  f.ignored = table.patterns("tensors");
  table.done();
}

// Whatever config.json says: the norm before the mlp is that before attention.
bool always_shares_norm(const Family& f) {
  return f.shared_norm && f.parallel.key.empty() && f.parallel.value.value_or(false);
}

// Names inside a block: norms, layers.
std::vector<std::string> slot_names(const Family& f) {
  const auto& a = f.attention;
  std::vector<std::string> names = {f.norms.before_attention, f.norms.after_attention, f.norms.after_mlp};
  if (!always_shares_norm(f)) names.push_back(f.norms.before_mlp);
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
  return names;
}

// Two slots with one tensor would be one layer that is tuned twice.
void check_names(const Family& f) {
  std::vector<std::string> names = slot_names(f);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end())
    throw_input(str(f.what, ": two slots of a block have the name '", *twice, "'; each needs a tensor of its own"));
}

// Numbers that `pattern` spells, and 0: among them is one of a block whose tensors it fits, if there is any.
std::vector<std::string> numbers_in(const std::string& pattern) {
  std::vector<std::string> numbers = {"0"};
  for (size_t i = 0; i < pattern.size(); ++i) {
    const bool digit = pattern[i] >= '0' && pattern[i] <= '9';
    const bool goes_on = i > 0 && pattern[i - 1] >= '0' && pattern[i - 1] <= '9';
    if (digit && !goes_on) numbers.emplace_back();
    if (digit) numbers.back() += pattern[i];
  }
  return numbers;
}

// What a slot reads is not ignored, and a pattern that fits it fits whatever else a block needs and no slot reads.
void check_ignored(const Family& f) {
  for (const std::string& pattern : f.ignored)
    for (const std::string& number : numbers_in(pattern))
      for (const std::string& slot : slot_names(f)) {
        const std::string tensor = str(f.tensors.prefix, f.tensors.blocks, ".", number, ".", slot, ".weight");
        if (fits_pattern(tensor, pattern))
          throw_input(str(f.what, ": [ignore] 'tensors': '", pattern, "' fits '", tensor,
                          "', which a slot of the family reads; name only what nothing reads"));
      }
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
  const FamilyTable norms = top.table("norms");
  read_norms(norms, family);
  read_attention(top.table("attention"), family);
  read_window(top.table("window"), family);
  read_mlp(top.table("mlp"), family);
  read_scales(top.table("scales"), family);
  read_block(top.table("block"), family);
  read_ignore(top.table("ignore"), family);
  family.when = top.table("when").flags();
  if (top.has("unsupported")) family.unsupported = top.names("unsupported");
  top.done();
  if (always_shares_norm(family) && norms.has("before_mlp") && !family.norms.before_mlp.empty())
    throw_input(str(norms.place("before_mlp"), " beside [block] parallel_norm = \"shared\", where before_attention is ",
                    "the norm of both halves; leave it out"));
  check_names(family);
  check_ignored(family);
  return family;
}

}  // namespace arkit::sdk
