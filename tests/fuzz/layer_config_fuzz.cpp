// Bytes as a layer_config: inline ('{' first), or after one byte that chooses it a .json or .toml file. Every rule that
// is accepted has a key that can be matched or refused as a pattern.

#include <cstdint>
#include <cstdlib>
#include <string>

#include <arkit/error.h>
#include <arkit/regex.h>

#include "fuzz_file.h"
#include "quant/layer_config.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.empty() || text.find('\0') != std::string_view::npos) return 0;
  try {
    std::vector<LayerRule> rules;
    if (text[0] == '{') {
      rules = parse_layer_config(std::string(text));
    } else {
      const fuzz::File file(text[0] == 't' ? "layers.toml" : "layers.json", text.substr(1));
      rules = parse_layer_config(file.path().string());
    }
    for (const LayerRule& rule : rules)
      (void)Regex(to_standard_regex(rule.key), "layer_config").search("model.layers.0.self_attn.q_proj");
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
