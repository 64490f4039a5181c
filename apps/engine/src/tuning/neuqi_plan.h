#pragma once
// --enable_neuqi in a plan (docs/spec/rtn.md 6): which weights get a searched grid.

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/log.h>

#include "quant/recipes.h"
#include "quant/scheme_traits.h"

namespace arkit {

// Gives every integer weight of `plan`, its global scheme and its rules the observer "neuqi" where tuning.options ask
// for it; weights with a scale rule of their own keep it. Says through `reporter` what stays without. Throws
// ErrorCode::usage when nothing of the plan is searched.
ARKIT_INTERNAL void apply_neuqi(QuantPlan& plan, const ResolvedTuning& tuning, const SchemeFor& scheme_for,
                                Reporter& reporter);

}  // namespace arkit
