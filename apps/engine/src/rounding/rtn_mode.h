#pragma once
// Which layers of a run without tuning search their scales, and which are rounded plainly.

#include <optional>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/scheme.h>

namespace arkit {

// How quantize_rtn treats a layer of a run without tuning (docs/spec/rtn.md 2). `plain_by_default` as the scheme says
// of the plan's global quantization (SchemeTraits).
[[nodiscard]] ARKIT_EXPORT RtnMode rtn_mode(const LayerPlan& layer, bool plain_by_default,
                                            std::optional<bool> disable_opt_rtn);

}  // namespace arkit
