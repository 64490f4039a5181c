#include "util/safetensors_file.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

namespace arkit::io {
namespace {

namespace fs = std::filesystem;

std::string_view dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBool:
      return "BOOL";
    case at::kByte:
      return "U8";
    case at::kChar:
      return "I8";
    case at::kShort:
      return "I16";
    case at::kInt:
      return "I32";
    case at::kLong:
      return "I64";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    default:
      throw_unsupported(str("safetensors has no name for dtype ", c10::toString(dtype)));
  }
}

}  // namespace

// Layout: u64 little-endian header length, JSON header padded with blanks to 8 bytes, tensors without gaps.
void write_safetensors(const fs::path& file, const TensorMap& tensors) {
  json::Object header;
  header["__metadata__"] = json::Object{{"format", "pt"}};
  std::vector<at::Tensor> data;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    data.push_back(tensor.contiguous());
    const int64_t end = checked_add(offset, static_cast<int64_t>(data.back().nbytes()), name);
    json::Array shape;
    for (const int64_t d : tensor.sizes()) shape.emplace_back(d);
    header[name] = json::Object{
        {"dtype", dtype_name(tensor.scalar_type())}, {"shape", shape}, {"data_offsets", json::Array{offset, end}}};
    offset = end;
  }
  std::string text = json::dump(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  unsigned char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  PartFile out(file);
  int64_t at = 0;
  const auto append = [&](const void* bytes, size_t count) {
    out.write_at(at, bytes, static_cast<int64_t>(count));
    at += static_cast<int64_t>(count);
  };
  append(length, sizeof length);
  append(text.data(), text.size());
  for (const at::Tensor& tensor : data) append(tensor.const_data_ptr(), tensor.nbytes());
  out.publish();
}

}  // namespace arkit::io
