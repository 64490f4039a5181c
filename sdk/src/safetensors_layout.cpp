#include <arkit/sdk/safetensors_layout.h>

#include <algorithm>
#include <array>
#include <cstring>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

struct DtypeName {
  at::ScalarType dtype;
  std::string_view name;
};

// In the order of descending rank.
constexpr std::array kDtypes = {
    DtypeName{at::ScalarType::UInt64, "U64"},
    DtypeName{at::ScalarType::Long, "I64"},
    DtypeName{at::ScalarType::Double, "F64"},
    DtypeName{at::ScalarType::Float, "F32"},
    DtypeName{at::ScalarType::UInt32, "U32"},
    DtypeName{at::ScalarType::Int, "I32"},
    DtypeName{at::ScalarType::BFloat16, "BF16"},
    DtypeName{at::ScalarType::Half, "F16"},
    DtypeName{at::ScalarType::UInt16, "U16"},
    DtypeName{at::ScalarType::Short, "I16"},
    DtypeName{at::ScalarType::Float8_e8m0fnu, "F8_E8M0"},
    DtypeName{at::ScalarType::Float8_e4m3fn, "F8_E4M3"},
    DtypeName{at::ScalarType::Float8_e5m2, "F8_E5M2"},
    DtypeName{at::ScalarType::Char, "I8"},
    DtypeName{at::ScalarType::Byte, "U8"},
    DtypeName{at::ScalarType::Bool, "BOOL"},
};

size_t rank(at::ScalarType dtype) {
  const auto* found =
      std::find_if(kDtypes.begin(), kDtypes.end(), [&](const DtypeName& entry) { return entry.dtype == dtype; });
  if (found == kDtypes.end()) throw_unsupported(str("safetensors has no dtype for ", c10::toString(dtype), " tensors"));
  return static_cast<size_t>(found - kDtypes.begin());
}

std::string header_entry(const FileTensor& tensor) {
  std::string entry = json::dump(json::Value(tensor.name)) + ":{\"dtype\":\"" +
                      std::string(safetensors_dtype(tensor.dtype)) + "\",\"shape\":[";
  for (size_t d = 0; d < tensor.shape.size(); ++d) {
    if (d > 0) entry += ",";
    entry += std::to_string(tensor.shape[d]);
  }
  const int64_t begin = tensor.offset;  // still relative to the data
  return entry + "],\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(begin + tensor.bytes) + "]}";
}

}  // namespace

std::string_view safetensors_dtype(at::ScalarType dtype) {
  return kDtypes[rank(dtype)].name;
}

int64_t tensor_bytes(const std::vector<int64_t>& shape, at::ScalarType dtype, std::string_view name) {
  int64_t bytes = static_cast<int64_t>(c10::elementSize(dtype));
  for (const int64_t size : shape) bytes = checked_mul(bytes, size, name);
  return bytes;
}

FileLayout layout_file(std::vector<FileTensor> tensors) {
  FileLayout layout;
  std::sort(tensors.begin(), tensors.end(), [](const FileTensor& a, const FileTensor& b) {
    const size_t rank_a = rank(a.dtype);
    const size_t rank_b = rank(b.dtype);
    return rank_a != rank_b ? rank_a < rank_b : a.name < b.name;
  });
  int64_t at = 0;
  std::string header = R"({"__metadata__":{"format":"pt"})";
  for (FileTensor& tensor : tensors) {
    tensor.bytes = tensor_bytes(tensor.shape, tensor.dtype, tensor.name);
    tensor.offset = at;
    at = checked_add(at, tensor.bytes, tensor.name);
    header += "," + header_entry(tensor);
  }
  header += "}";
  header.append((8 - header.size() % 8) % 8, ' ');
  const auto length = static_cast<uint64_t>(header.size());
  layout.header.resize(sizeof(length));
  std::memcpy(layout.header.data(), &length, sizeof(length));
  layout.header += header;
  const auto data_begin = static_cast<int64_t>(layout.header.size());
  for (FileTensor& tensor : tensors) tensor.offset += data_begin;
  layout.total_bytes = checked_add(at, data_begin, "safetensors file");
  layout.tensors = std::move(tensors);
  return layout;
}

}  // namespace arkit::sdk
