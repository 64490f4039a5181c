#pragma once
// layer_config and ignore_layers: which layers get another scheme, or none (docs/spec/schemes.md 4 and 5).

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>

namespace arkit {

// One entry as typed: a full layer name, a part of a name, or a regular expression, and what it sets.
struct LayerRule {
  std::string key;
  std::string scheme;  // preset name; empty = start from the global scheme
  SchemeOverrides overrides;
  std::string origin;  // where it is written, for people ("mix.toml line 12"); empty = inline text or JSON
};

// `text` is JSON, AutoRound's relaxed form ({k_proj:{bits:8,sym:false}}), or the name of a .json or .toml file. Values
// are preset names or objects of scheme fields. In TOML, tables may nest: [model.layers.0.self_attn] with
// k_proj = "W8A16" means the key "model.layers.0.self_attn.k_proj". Throws ErrorCode::usage (inline text) or
// ErrorCode::input (file) naming the key at fault.
[[nodiscard]] ARKIT_INTERNAL std::vector<LayerRule> parse_layer_config(const std::string& text);

// The pattern as formats record it and layers are matched with (docs/spec/schemes.md 6): a plain text becomes
// ".*<escaped>.*"; otherwise bare dots are escaped and ".*" is added at ends that are not anchored. Matching is a
// search.
[[nodiscard]] ARKIT_INTERNAL std::string to_standard_regex(std::string_view pattern);

}  // namespace arkit
