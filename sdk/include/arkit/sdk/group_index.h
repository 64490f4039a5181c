#pragma once
// Groups that are no runs of inputs. Act order (GPTQ's desc_act, compressed-tensors' actorder) quantizes inputs in the
// order of their importance, so that the inputs of a group lie scattered over the row. The file stores the group of
// each input, and a QuantizedWeight carries it as group_index; without it group g is the run of inputs
// g * group .. g * group + group - 1.

#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/scheme.h>
#include <arkit/sdk/group.h>

namespace arkit::sdk {

inline constexpr const char* kGroupIndex = "g_idx";
// Behind the packing of a layer whose groups are scattered: kernels that read packed tensors know runs only.
inline constexpr std::string_view kActOrder = ":act_order";

// The index of runs: 0 0 ... 0 1 1 ...
[[nodiscard]] at::Tensor run_index(const GroupShape& shape);

// What a stored index says: undefined when groups are runs, else the index as I32. Old tools wrote zeros only where
// there is no act order; `act_order` says whether the config claims there is. Throws ErrorCode::input naming `layer`
// for a group that does not exist.
[[nodiscard]] at::Tensor scattered_index(const at::Tensor& stored, const GroupShape& shape, bool act_order,
                                         const std::string& layer);

// Values [rows, groups] spread to the inputs, [rows, in]. `index` undefined = runs.
[[nodiscard]] at::Tensor spread_groups(const at::Tensor& values, const GroupShape& shape, const at::Tensor& index);

}  // namespace arkit::sdk
