#pragma once
// What the tests of convert and diff share: exports of the tiny golden models in any format, and copies of exports with
// a tensor changed.

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/jobs.h>
#include <arkit/model_source.h>

#include "jobs/job_testing.h"

namespace arkit::testing {

// A plainly rounded export of a golden source in one or several formats (then one folder a format below `folder`).
void make_export(const std::filesystem::path& folder, const std::string& source, int bits, bool sym, int64_t group_size,
                 const std::vector<std::string>& formats);

// `arkit convert` with defaults. Several formats: one folder each below `to`.
json::Object converted(const std::filesystem::path& from, const std::filesystem::path& to,
                       const std::vector<std::string>& formats, bool allow_rounding = false);
json::Object compared(const std::filesystem::path& a, const std::filesystem::path& b);

// Tensors of two folders: names, types, bytes. Empty = equal.
std::string tensor_difference(const std::filesystem::path& a, const std::filesystem::path& b);

void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors);
// A copy of `from` whose tensors went through `change`.
void rewrite(const std::filesystem::path& from, const std::filesystem::path& to,
             const std::function<void(TensorMap&)>& change);

}  // namespace arkit::testing
