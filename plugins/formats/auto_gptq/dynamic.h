#pragma once
// GPTQ's "dynamic": regular expressions that give single layers another scheme, or none (formats.md 4).

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/regex.h>

namespace arkit::auto_gptq {

// "+:<regex>": {bits, group_size, sym} and "-:<regex>": {}, such that the first entry that matches a layer says what
// the plan says. Empty when every layer follows the global scheme.
[[nodiscard]] json::Object dynamic_config(const QuantPlan& plan);

// "modules_in_block_to_quantize": names relative to their block that are quantized in at least one block, sorted, one
// list; empty when all linear layers of all blocks are quantized.
[[nodiscard]] json::Array modules_in_block(const QuantPlan& plan);

// The reading side: the scheme of a layer, 16 bits for one a "-:" entry matches.
class DynamicRules {
 public:
  DynamicRules(const json::Object& config, LayerQuant global);
  [[nodiscard]] LayerQuant operator()(const std::string& layer) const;

 private:
  LayerQuant global_;
  std::vector<std::pair<std::shared_ptr<Regex>, LayerQuant>> rules_;
};

}  // namespace arkit::auto_gptq
