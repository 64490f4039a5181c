#pragma once
// From compressed-tensors' words for a scheme to arkit's.

#include <string>

#include <arkit/descriptors.h>
#include <arkit/export.h>

#include "oneshot/quant_args.h"

namespace arkit::oneshot {

// `observed`: rounded by QuantizationModifier, with the observers' arithmetic in `weight_dtype`; otherwise as
// AutoRound does it. Throws ErrorCode::unsupported, `where` first, for what no scheme of arkit can say.
[[nodiscard]] ARKIT_INTERNAL LayerQuant layer_quant(const QuantScheme& scheme, bool observed,
                                                    const std::string& weight_dtype, const std::string& where);

}  // namespace arkit::oneshot
