#pragma once
// Names of the tensors of norms.

#include <string>
#include <string_view>
#include <vector>

#include <arkit/model_layout.h>

namespace arkit::sdk {

// Of the weights of the norms that a block has.
[[nodiscard]] inline std::vector<std::string> norm_weights(const Norms& n) {
  std::vector<std::string> names = {n.mixer_in, n.mixer_out, n.feed_forward_in, n.feed_forward_out, n.query, n.key};
  std::erase(names, "");
  return names;
}

// "model.norm.bias" for "model.norm.weight".
[[nodiscard]] inline std::string norm_bias(std::string_view weight) {
  constexpr std::string_view kWeight = ".weight";
  if (weight.ends_with(kWeight)) weight.remove_suffix(kWeight.size());
  return std::string(weight) + ".bias";
}

}  // namespace arkit::sdk
