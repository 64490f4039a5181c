#pragma once
// GPTQ's "dynamic": regular expressions that give single layers another scheme, or none
// (docs/spec/format-auto_gptq.md 3).

#include <memory>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/regex.h>

namespace arkit::auto_gptq {

// "+:<regex>": {bits, group_size, sym} and "-:<regex>": {}, such that the first entry that matches a layer says what
// the plan says, and all linear layers of `weights` that nothing quantizes are excluded. Empty when every layer follows
// the global scheme.
[[nodiscard]] json::Object dynamic_config(const QuantPlan& plan, const WeightSource& weights);

// "modules_in_block_to_quantize": names relative to their block that are quantized in at least one block, sorted, one
// list; empty when all linear layers of all blocks are quantized.
[[nodiscard]] json::Array modules_in_block(const QuantPlan& plan);

// The reading side: the scheme of a layer, 16 bits for one a "-:" entry matches.
class DynamicRules {
 public:
  DynamicRules(const json::Object& config, LayerQuant global);
  [[nodiscard]] LayerQuant operator()(const std::string& layer) const;

 private:
  struct Rule {
    std::string literal;           // names that hold this text; empty = `regex` decides
    std::shared_ptr<Regex> regex;  // null = `literal` decides
    LayerQuant quant;
  };

  LayerQuant global_;
  std::vector<Rule> rules_;                        // in the order of the file: the first that matches decides
  std::unordered_map<std::string, size_t> exact_;  // names a rule matches alone -> its place in rules_
};

}  // namespace arkit::auto_gptq
