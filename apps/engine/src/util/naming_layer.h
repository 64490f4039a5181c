#pragma once
// Schemes see weights, not layers: whoever knows the layer adds its name to what a plugin's code threw.

#include <string_view>
#include <utility>

#include <arkit/str.h>

#include "plugins/guard_call.h"

namespace arkit::plugins {

template <typename Call>
decltype(auto) naming_layer(std::string_view layer, Call&& call) {
  try {
    return std::forward<Call>(call)();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    throw NamedError(error.code(), str("layer '", printable(layer), "': ", error.what()));
  }
}

}  // namespace arkit::plugins
