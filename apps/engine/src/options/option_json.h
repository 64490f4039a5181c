#pragma once
// Options as JSON: what arkit-run.json holds of them, and back.

#include <string_view>

#include <arkit/engine/option_table.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// null for no value, an empty path, no numbers.
[[nodiscard]] ARKIT_INTERNAL json::Value option_to_json(const OptionRow& row, const OptionValue& value);

// The inverse; null gives none. `usual` is what the field holds by itself. Throws ErrorCode::input for another type or
// a value that the option does not take, `where` first.
[[nodiscard]] ARKIT_INTERNAL OptionValue option_from_json(const OptionRow& row, const OptionValue& usual,
                                                          const json::Value& value, std::string_view where);

// Every option under its name. null: nothing was said, or it has no meaning beside the others.
template <typename Options>
[[nodiscard]] json::Object describe_options(const Options& options) {
  json::Object described;
  for (const OptionOf<Options>& one : option_table<Options>()) {
    const bool applies = one.applies == nullptr || one.applies(options);
    described[one.row.name] = applies ? option_to_json(one.row, one.get(options)) : json::Value();
  }
  return described;
}

// The options that need `needs` alone: what a cache of results keeps apart.
[[nodiscard]] ARKIT_INTERNAL json::Object describe_options(const QuantizeOptions& options, OptionNeeds needs);

// What describe_options() wrote; members it knows nothing of are left alone. Throws ErrorCode::input.
template <typename Options>
[[nodiscard]] Options read_described(const json::Object& described, std::string_view where) {
  Options options;
  const Options usual;
  for (const OptionOf<Options>& one : option_table<Options>())
    if (const json::Value* value = json::find(described, one.row.name); value != nullptr)
      one.set(options, option_from_json(one.row, one.get(usual), *value, where), str(where, ": ", one.row.name));
  return options;
}

}  // namespace arkit
