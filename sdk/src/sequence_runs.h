#pragma once
// Parts of a row in which sequences stand one behind the other.

#include <cstdint>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

namespace arkit::sdk {

// `n` sequences of `count` positions each, from position `first` of the row on: x [1, heads, total, dim] -> [n, heads,
// count, dim]. A view.
[[nodiscard]] inline at::Tensor heads_of_run(const at::Tensor& x, int64_t first, int64_t n, int64_t count) {
  const at::Tensor part = x.size(2) == n * count ? x : x.narrow(2, first, n * count);
  return n == 1 ? part : part.squeeze(0).unflatten(1, {n, count}).transpose(0, 1);
}

// The same of x [1, total, ...] -> [n, count, ...].
[[nodiscard]] inline at::Tensor rows_of_run(const at::Tensor& x, int64_t first, int64_t n, int64_t count) {
  const at::Tensor part = x.size(1) == n * count ? x : x.narrow(1, first, n * count);
  return n == 1 ? part : part.squeeze(0).unflatten(0, {n, count});
}

// Results of all runs, [n, count, ...] each, as one row.
[[nodiscard]] inline at::Tensor row_of_runs(std::vector<at::Tensor> parts) {
  for (at::Tensor& part : parts) part = part.flatten(0, 1).unsqueeze(0);
  return parts.size() == 1 ? std::move(parts.front()) : at::cat(parts, 1);
}

}  // namespace arkit::sdk
