#pragma once
// compressed-tensors' QuantizationArgs and QuantizationScheme, as recipes state them and exports record them
// (docs/spec/modifier-recipes.md 3 and 4).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::oneshot {

enum class Dynamic { no, yes, local };  // local: scales at run time under one calibrated global scale

// How one tensor is quantized. `strategy` is filled in by read_args where a recipe leaves it to the group size.
struct QuantArgs {
  int num_bits = 8;
  std::string type = "int";  // or "float"
  bool symmetric = true;
  std::optional<int64_t> group_size;
  std::string strategy = "tensor";  // channel, group, block, token, tensor_group, attn_head
  std::optional<std::pair<int64_t, int64_t>> block_structure;
  Dynamic dynamic = Dynamic::no;
  std::optional<std::string> actorder, scale_dtype, zp_dtype, observer;
  json::Object observer_kwargs;

  bool operator==(const QuantArgs&) const = default;
};

enum class Role { weights, input, output, kv_cache };

struct QuantScheme {
  std::vector<std::string> targets;
  std::optional<QuantArgs> weights, input_activations, output_activations;
  std::optional<std::string> format;
};

// Throws ErrorCode::input for an unknown field, a wrong type or a contradiction; `where` opens the message.
[[nodiscard]] ARKIT_INTERNAL QuantArgs read_args(const json::Object& fields, Role role, const std::string& where);
[[nodiscard]] ARKIT_INTERNAL QuantScheme read_scheme(const json::Object& fields, const std::string& where);

// All twelve fields in the order the class declares them.
[[nodiscard]] json::Object to_json(const QuantArgs& args);
[[nodiscard]] json::Object to_json(const QuantScheme& scheme);

// The preset called `name`, case apart; nullopt for an unknown one. Targets are left to the caller.
[[nodiscard]] ARKIT_INTERNAL std::optional<QuantScheme> preset_scheme(std::string_view name);
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> preset_names();

// Gives `args` the observer it has when neither the recipe nor a preset names one.
ARKIT_INTERNAL void set_default_observer(QuantArgs& args, Role role);

// A string, or a list of strings. Throws ErrorCode::input.
[[nodiscard]] std::vector<std::string> read_names(const json::Value& value, const std::string& where);

// Refuses a member of `fields` that is not in `known`. Throws ErrorCode::input.
void refuse_unknown(const json::Object& fields, const std::vector<std::string>& known, const std::string& where);

}  // namespace arkit::oneshot
