#pragma once
// What transforms did to a model, as arkit-run.json keeps it: enough to do it again to the source.

#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/json.h>

#include "transform/channel_fold.h"

namespace arkit {

struct TransformRecord {
  std::string name;
  json::Object settings;
  at::ScalarType weights = at::ScalarType::Float;  // dtype layers had when their scales were folded into them
  at::ScalarType norms = at::ScalarType::BFloat16;
  std::vector<ChannelFold> folds;  // in the order they were done
  std::vector<std::string> notes;  // places left out, and why
};

[[nodiscard]] ARKIT_INTERNAL json::Object to_json(const TransformRecord& record);

// The member "transforms" of a run's record; empty where there is none. Throws ErrorCode::input naming `what` for
// members that make no sense.
[[nodiscard]] ARKIT_INTERNAL std::vector<TransformRecord> read_transforms(const json::Object& run,
                                                                          const std::string& what);

}  // namespace arkit
