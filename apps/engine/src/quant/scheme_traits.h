#pragma once
// What schemes say of themselves (SchemeTraits), asked by data type.

#include <functional>
#include <string_view>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/registry.h>
#include <arkit/scheme.h>

namespace arkit {

// The scheme of a data type; throws ErrorCode::unsupported for a type that none understands.
using SchemeFor = std::function<const Scheme&(std::string_view data_type)>;

// `registry` outlives the result.
[[nodiscard]] ARKIT_EXPORT SchemeFor schemes_of(const Registry& registry);

// What the scheme of `quant.weight` says, as for a layer that is quantized like that.
[[nodiscard]] ARKIT_EXPORT SchemeTraits traits_of(const LayerQuant& quant, const SchemeFor& scheme_for);

}  // namespace arkit
