#include "gguf_weights.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_codes.h"
#include "gguf_dequantize.h"

namespace arkit::gguf {
namespace {

constexpr int64_t kGrain = int64_t{1} << 16;  // elements a thread dequantizes at least

bool is_float(TensorType type) {
  return code_layout(type).bits == 0;
}

at::ScalarType loaded_dtype(TensorType type) {
  switch (type) {
    case TensorType::f16:
      return at::kHalf;
    case TensorType::bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

// The other way round than source_row().
int64_t stored_row(int64_t row, int64_t heads, int64_t rows) {
  if (heads == 0) return row;
  const int64_t d = rows / heads, head = row / d, s = row % d / (d / 2), t = row % (d / 2);
  return head * d + 2 * t + s;
}

int64_t permuted_heads(const TensorEntry& tensor, const Architecture& architecture, const HyperParameters& p,
                       const std::string& file) {
  if (!architecture.permutes_q_and_k) return 0;
  const std::string_view name = tensor.name;
  const bool q = name.ends_with(".attn_q.weight") || name.ends_with(".attn_q.bias");
  const bool k = name.ends_with(".attn_k.weight") || name.ends_with(".attn_k.bias");
  if (!q && !k) return 0;
  const int64_t heads = q ? p.head_count : p.head_count_kv;
  if (tensor.shape.empty() || tensor.shape[0] != heads * p.head_dim)
    throw_input(str(file, ": tensor '", printable(tensor.name), "' has ", tensor.shape.empty() ? 0 : tensor.shape[0],
                    " rows, expected ", heads, " heads of ", p.head_dim));
  return heads;
}

}  // namespace

int64_t source_row(int64_t row, int64_t heads, int64_t rows) noexcept {
  if (heads == 0) return row;
  const int64_t d = rows / heads, head = row / d, t = row % d / 2, s = row % 2;
  return head * d + s * (d / 2) + t;
}

bool is_packed_layer(const TensorEntry& tensor) {
  const std::string_view name = tensor.name;
  return tensor.shape.size() == 2 && !is_float(tensor.type->type) && name.ends_with(".weight") &&
         name != "token_embd.weight" && name != "rope_freqs.weight";
}

GgufWeights::GgufWeights(const Parts& parts, const Architecture& architecture, const HyperParameters& parameters,
                         const TensorScales& scales, View view) {
  const File& file = parts.file;
  std::vector<TensorInfo> infos;
  for (const TensorEntry& tensor : file.tensors) {
    if (tensor.name == "rope_freqs.weight" || is_tensor_scale(tensor.name)) continue;
    const std::optional<std::string> name = hf_tensor_name(tensor.name, parameters.block_count);
    if (!name)
      throw_unsupported(str(file.metadata.file(), ": tensor '", printable(tensor.name),
                            "' is not part of architecture '", architecture.name, "' as arkit reads it"));
    // Rows are what blocks, rotary order and strips are about: a vector has none.
    if (!is_float(tensor.type->type) && tensor.shape.size() != 2)
      throw_unsupported(str(file.metadata.file(), ": tensor '", printable(tensor.name), "' has ", tensor.shape.size(),
                            " dimensions and type ", tensor.type->name, ", which arkit reads for matrices alone"));
    const MappedFile& map = parts.map_of(tensor);
    const bool as_stored = view == View::packed && is_packed_layer(tensor);
    const int64_t rows = tensor.shape.empty() ? 1 : tensor.shape[0];
    infos.push_back({.name = *name,
                     .dtype = as_stored ? at::kByte : loaded_dtype(tensor.type->type),
                     .stored_type = std::string(tensor.type->name),
                     .shape = as_stored ? std::vector<int64_t>{rows, tensor.bytes / rows} : tensor.shape,
                     .stored_bytes = tensor.bytes,
                     .file = map.path().filename().string()});
    const auto scale = scales.find(tensor.name);
    places_.push_back({&map, tensor.offset, tensor.type->type,
                       permuted_heads(tensor, architecture, parameters, file.metadata.file()), as_stored,
                       scale == scales.end() ? 1 : scale->second});
  }
  set_tensors(std::move(infos));
}

at::Tensor GgufWeights::load(std::string_view name) const {
  const TensorInfo& info = require(name);
  const Place& place = place_of(info);
  const bool stored = place.as_stored || is_float(place.type);
  if (stored && place.heads == 0) return view(info, place);
  at::Tensor out = at::empty(info.shape, info.dtype);
  stored ? copy_rows(info, place, out) : dequantize_rows(info, place, 0, out);
  return out;
}

bool GgufWeights::decodes_rows(std::string_view name) const {
  const TensorInfo* info = find(name);
  return info != nullptr && !info->shape.empty() && !place_of(*info).as_stored && !is_float(place_of(*info).type);
}

at::Tensor GgufWeights::load_rows(std::string_view name, int64_t first, int64_t count) const {
  if (!decodes_rows(name)) return WeightSource::load_rows(name, first, count);
  const TensorInfo* info = find(name);
  const Place& place = place_of(*info);
  ARKIT_CHECK(first >= 0 && count >= 0 && first <= info->shape[0] - count, "rows beyond the tensor");
  place.map->require_unchanged();
  std::vector<int64_t> shape = info->shape;
  shape[0] = count;
  const at::Tensor out = at::empty(shape, info->dtype);
  dequantize_rows(*info, place, first, out);
  // Rows in rotary order lie elsewhere in their head: its pages go with the whole tensor.
  const int64_t row_bytes = info->stored_bytes / info->shape[0];
  if (place.heads == 0)
    place.map->release(static_cast<size_t>(place.offset + first * row_bytes), static_cast<size_t>(count * row_bytes));
  return out;
}

void GgufWeights::release(std::string_view name) const noexcept {
  const TensorInfo* info = find(name);
  if (info == nullptr) return;
  const Place& place = place_of(*info);
  place.map->release(static_cast<size_t>(place.offset), static_cast<size_t>(info->stored_bytes));
}

const TensorInfo& GgufWeights::require(std::string_view name) const {
  const TensorInfo* info = find(name);
  if (info == nullptr) throw_input(str("tensor '", printable(name), "' is not in the file"));
  const Place& place = place_of(*info);
  place.map->require_unchanged();
  place.map->will_need(static_cast<size_t>(place.offset), static_cast<size_t>(info->stored_bytes));
  return *info;
}

// general.alignment is at least the element size for all files but hand-made ones.
at::Tensor GgufWeights::view(const TensorInfo& info, const Place& place) const {
  const std::byte* data = data_of(place);
  const at::Tensor view = at::from_blob(const_cast<std::byte*>(data), info.shape, at::TensorOptions(info.dtype));
  if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(info.dtype) == 0) return view;
  at::Tensor copy = at::empty(info.shape, info.dtype);
  copy_rows(info, place, copy);
  return copy;
}

void GgufWeights::copy_rows(const TensorInfo& info, const Place& place, const at::Tensor& out) const {
  const int64_t rows = info.shape.empty() ? 1 : info.shape[0], row_bytes = info.stored_bytes / rows;
  auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
  const std::byte* from = data_of(place);
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(from + stored_row(row, place.heads, rows) * row_bytes, row_bytes, to + row * row_bytes);
}

void GgufWeights::dequantize_rows(const TensorInfo& info, const Place& place, int64_t first,
                                  const at::Tensor& out) const {
  const int64_t columns = info.shape.back(), rows = info.numel() / columns, row_bytes = info.stored_bytes / rows;
  const int64_t before = first * (rows / info.shape[0]), count = out.numel() / columns;
  auto* to = out.mutable_data_ptr<float>();
  const std::byte* from = data_of(place);
  at::parallel_for(0, count, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row)
      dequantize(place.type, from + stored_row(before + row, place.heads, rows) * row_bytes, columns,
                 to + row * columns, place.scale);
  });
}

}  // namespace arkit::gguf
