#pragma once
// That a written export holds the numbers of the one it was made from: both are opened and unpacked again.

#include <filesystem>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// `shown` is `source` with every packed layer as a plain weight. Codes and zero points must be equal, scales and
// offsets too unless `allow_rounding`; every other tensor must be equal byte for byte. Returns counts for people.
// Throws ErrorCode::verification naming the first layer or tensor that is not.
[[nodiscard]] ARKIT_INTERNAL json::Object prove_equal(const ModelSource& source, const ModelSource& shown,
                                                      const std::filesystem::path& written, const QuantPlan& plan,
                                                      bool allow_rounding, const Registry& registry,
                                                      Reporter& reporter);

}  // namespace arkit
