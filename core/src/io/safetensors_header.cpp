#include "io/safetensors_header.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/json.h>
#include <arkit/str.h>

namespace arkit::io {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;  // the limit of the safetensors library
constexpr size_t kMaxTensors = size_t{1} << 20;
constexpr size_t kMaxDims = 8;
constexpr size_t kMaxNameBytes = 1024;

struct StoredType {
  std::string_view name;
  at::ScalarType dtype;
};
constexpr std::array kStoredTypes{StoredType{"BOOL", at::kBool},
                                  StoredType{"U8", at::kByte},
                                  StoredType{"I8", at::kChar},
                                  StoredType{"I16", at::kShort},
                                  StoredType{"U16", at::kUInt16},
                                  StoredType{"I32", at::kInt},
                                  StoredType{"U32", at::kUInt32},
                                  StoredType{"I64", at::kLong},
                                  StoredType{"U64", at::kUInt64},
                                  StoredType{"F16", at::kHalf},
                                  StoredType{"BF16", at::kBFloat16},
                                  StoredType{"F32", at::kFloat},
                                  StoredType{"F64", at::kDouble},
                                  StoredType{"F8_E4M3", at::kFloat8_e4m3fn},
                                  StoredType{"F8_E5M2", at::kFloat8_e5m2},
                                  StoredType{"F8_E8M0", at::ScalarType::Float8_e8m0fnu},
                                  StoredType{"F8_E4M3FNUZ", at::ScalarType::Float8_e4m3fnuz},
                                  StoredType{"F8_E5M2FNUZ", at::ScalarType::Float8_e5m2fnuz}};

const StoredType& stored_type(std::string_view name, std::string_view what) {
  const auto it = std::find_if(kStoredTypes.begin(), kStoredTypes.end(), [&](const auto& t) { return t.name == name; });
  if (it == kStoredTypes.end())
    throw_unsupported(str(what, ": dtype '", printable(name, 40),
                          "' is not one arkit reads (BOOL, integers, F8, F16, BF16, F32, F64)"));
  return *it;
}

// A member that must be an integer >= 0 written without fraction or exponent.
int64_t size_value(const json::Value& value, std::string_view what, std::string_view key) {
  if (!value.is_int64() || value.get_int64() < 0)
    throw_input(
        str(what, ": '", key, "' holds ", printable(json::dump(value), 60), ", expected integers from 0 to 2^63 - 1"));
  return value.get_int64();
}

std::vector<int64_t> read_shape(const json::Object& entry, std::string_view what) {
  const json::Value* shape = json::find(entry, "shape");
  if (shape == nullptr || !shape->is_array() || shape->get_array().size() > kMaxDims)
    throw_input(str(what, ": 'shape' must be an array of at most ", kMaxDims, " sizes"));
  std::vector<int64_t> dims;
  for (const json::Value& dim : shape->get_array()) dims.push_back(size_value(dim, what, "shape"));
  return dims;
}

std::pair<int64_t, int64_t> read_offsets(const json::Object& entry, std::string_view what) {
  const json::Value* offsets = json::find(entry, "data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->get_array().size() != 2)
    throw_input(str(what, ": 'data_offsets' must be an array of two offsets"));
  const json::Array& pair = offsets->get_array();
  return {size_value(pair[0], what, "data_offsets"), size_value(pair[1], what, "data_offsets")};
}

SafetensorsEntry read_entry(std::string_view name, const json::Value& value, int64_t data_size, std::string_view file) {
  if (name.empty() || name.size() > kMaxNameBytes)
    throw_input(str(file, ": a tensor name of ", name.size(), " bytes, expected 1 to ", kMaxNameBytes));
  const std::string what = str(file, ": tensor '", printable(name), "'");
  const json::Object& object = json::as_object(value, what);
  SafetensorsEntry entry;
  entry.name = name;
  entry.stored_type = json::get_string(object, "dtype", what).value_or("");
  entry.dtype = stored_type(entry.stored_type, what).dtype;
  entry.shape = read_shape(object, what);
  std::tie(entry.begin, entry.end) = read_offsets(object, what);
  if (entry.end < entry.begin || entry.end > data_size)
    throw_input(str(what, " spans bytes ", entry.begin, " to ", entry.end, " but the file has ", data_size,
                    " bytes of data; copy it again"));
  // The sizes beside a zero are checked too: nothing later may overflow on them.
  int64_t elements = 1;
  bool empty = false;
  for (const int64_t dim : entry.shape) {
    elements = checked_mul(elements, std::max<int64_t>(dim, 1), what);
    empty = empty || dim == 0;
  }
  const int64_t bytes = checked_mul(elements, static_cast<int64_t>(c10::elementSize(entry.dtype)), what);
  const int64_t expected = empty ? 0 : bytes;
  if (expected != entry.end - entry.begin)
    throw_input(str(what, " has ", entry.end - entry.begin, " bytes, its shape and dtype ", entry.stored_type, " need ",
                    expected));
  return entry;
}

// Tensors must tile the data: the first starts at 0, each starts where the one before ends, the last ends at the end.
void require_contiguous(std::vector<SafetensorsEntry>& entries, int64_t data_size, std::string_view file) {
  std::sort(entries.begin(), entries.end(), [](const SafetensorsEntry& a, const SafetensorsEntry& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  int64_t position = 0;
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin != position)
      throw_input(str(file, ": tensor '", printable(entry.name), "' starts at data byte ", entry.begin, ", expected ",
                      position, entry.begin < position ? " (it overlaps another tensor)" : " (a hole before it)"));
    position = entry.end;
  }
  if (position != data_size)
    throw_input(str(file, ": ", data_size - position, " bytes after the last tensor belong to none"));
}

}  // namespace

std::vector<SafetensorsEntry> parse_safetensors_header(std::span<const std::byte> file, std::string_view what) {
  static_assert(std::endian::native == std::endian::little, "safetensors data are used as they lie in the file");
  refuse_lfs_pointer({reinterpret_cast<const char*>(file.data()), std::min<size_t>(file.size(), 64)}, what);
  uint64_t length = 0;
  if (file.size() < sizeof(length))
    throw_input(str(what, ": has ", file.size(), " bytes, too few for a safetensors file; copy it again"));
  std::memcpy(&length, file.data(), sizeof(length));
  const size_t available = file.size() - sizeof(length);
  if (length > kMaxHeaderBytes || length > available)
    throw_input(str(what, ": header length ", length, " does not fit (file has ", available,
                    " bytes after it, at most ", kMaxHeaderBytes,
                    " are accepted); the file is cut short or no safetensors file"));
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + sizeof(length), length);
  if (text.empty() || text.front() != '{') throw_input(str(what, ": header is not a JSON object"));
  const json::Value root = json::parse(text, str(what, " header"));
  const auto data_begin = static_cast<int64_t>(sizeof(length) + length);
  const auto data_size = static_cast<int64_t>(available - length);

  const json::Object& object = json::as_object(root, str(what, " header"));
  if (object.size() > kMaxTensors)
    throw_input(str(what, ": has ", object.size(), " tensors, at most ", kMaxTensors, " are accepted"));
  std::vector<SafetensorsEntry> entries;
  entries.reserve(object.size());
  for (const auto& member : object) {
    if (member.key() == "__metadata__") {
      for (const auto& note : json::as_object(member.value(), str(what, ": '__metadata__'")))
        if (!note.value().is_string())
          throw_input(
              str(what, ": '__metadata__' must map strings to strings, '", printable(note.key()), "' does not"));
      continue;
    }
    entries.push_back(read_entry(member.key(), member.value(), data_size, what));
  }
  require_contiguous(entries, data_size, what);
  for (SafetensorsEntry& entry : entries) {
    entry.begin += data_begin;
    entry.end += data_begin;
  }
  return entries;
}

}  // namespace arkit::io
