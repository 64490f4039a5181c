#pragma once
// How much of a model stays in memory while it computes: one block at a time, or all of them.

#include <cstdint>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit {

struct Residency {
  bool all = false;
  int64_t model_bytes = 0, available_bytes = 0;
  std::string why;

  // {"blocks": "one" | "all", "why", "model_bytes", "available_bytes"}
  [[nodiscard]] json::Object describe() const;
};

// Memory this process may still take: what the machine has available, or what the control groups it is in leave of
// their limit where that is less.
[[nodiscard]] int64_t available_memory();

// `asked`: auto, all or one; throws ErrorCode::usage for another word. `passes`: how often every block is computed with
// after it was loaded; keeping blocks that are not needed again would only cost memory.
[[nodiscard]] Residency choose_residency(const std::string& asked, std::span<const ModelSource* const> models,
                                         at::ScalarType dtype, int64_t passes);

}  // namespace arkit
