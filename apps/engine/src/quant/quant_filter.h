#pragma once
// Which quantized layers a rule of share/ speaks of: every key that is given must fit.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// An empty list fits everything.
struct QuantFilter {
  std::vector<std::string> data_types;               // of the weight, as the next three
  std::vector<int64_t> bits, group_sizes, act_bits;  // act_bits 16: activations stay in floating point
  std::optional<bool> sym, act_dynamic;
};

// The keys data_type, bits, group_size, sym, act_bits and act_dynamic of a table. Throws ErrorCode::input.
[[nodiscard]] ARKIT_INTERNAL QuantFilter read_quant_filter(const json::Object& table, const std::string& what);

[[nodiscard]] ARKIT_INTERNAL bool fits(const QuantFilter& filter, const LayerQuant& quant);

// Is `value` wanted, where an empty list and nothing want everything?
template <typename T>
[[nodiscard]] bool fits(const std::vector<T>& wanted, const T& value) {
  if (wanted.empty()) return true;
  for (const T& one : wanted)
    if (one == value) return true;
  return false;
}
[[nodiscard]] inline bool fits(const std::optional<bool>& wanted, bool value) {
  return !wanted || *wanted == value;
}

}  // namespace arkit
