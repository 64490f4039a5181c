#pragma once
// Settings of config.json that mlx-lm's classes do not look at, and those they do not start without.

#include <arkit/descriptors.h>
#include <arkit/json.h>

namespace arkit::mlx {

// Does the class for this model_type compute what the settings ask for? Of a config.json as the source has it.
[[nodiscard]] Verdict supports_settings(const json::Object& config);

// Does this config.json, as an export has it, hold what the class does not start without?
[[nodiscard]] Verdict has_needed_settings(const json::Object& config);

// Does the class load these packed layers as they are?
[[nodiscard]] Verdict supports_packed(const QuantPlan& plan);

}  // namespace arkit::mlx
