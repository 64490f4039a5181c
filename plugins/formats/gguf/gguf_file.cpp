#include "gguf_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <set>

#include <arkit/error.h>
#include <arkit/str.h>

#include "utf8.h"

namespace arkit::gguf {
namespace {

constexpr uint64_t kMaxPairs = 1 << 16;
constexpr uint64_t kMaxTensors = 1 << 16;  // of a file; the largest models have some 2^12
constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 63;                  // ggml's own limit
constexpr uint64_t kMaxArrayCount = uint64_t{1} << 24;  // vocabularies have some 2^18 entries
constexpr uint32_t kMaxDims = 4;
constexpr int64_t kMaxAlignment = 1 << 20;

// Reads forward and never past the end.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& what) : bytes_(bytes), what_(what) {}

  [[nodiscard]] size_t position() const noexcept { return at_; }
  [[nodiscard]] size_t left() const noexcept { return bytes_.size() - at_; }

  std::span<const std::byte> take(uint64_t size, std::string_view thing) {
    if (size > left())
      throw_input(str(what_, ": ", thing, " of ", size, " bytes at byte ", at_, " but only ", left(),
                      " are left; the file is cut short or damaged, copy it again"));
    const auto out = bytes_.subspan(at_, static_cast<size_t>(size));
    at_ += static_cast<size_t>(size);
    return out;
  }

  template <typename T>
  T number(std::string_view thing) {
    T value;
    std::memcpy(&value, take(sizeof(T), thing).data(), sizeof(T));
    return value;
  }

  std::string_view string(std::string_view thing) {
    const auto length = number<uint64_t>(thing);
    const auto characters = take(length, thing);
    return {reinterpret_cast<const char*>(characters.data()), characters.size()};
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& what_;
  size_t at_ = 0;
};

// Bytes of one value of a fixed-size type; 0 for strings and arrays.
uint64_t size_of(ValueType type) {
  switch (type) {
    case ValueType::u8:
    case ValueType::i8:
    case ValueType::boolean:
      return 1;
    case ValueType::u16:
    case ValueType::i16:
      return 2;
    case ValueType::u32:
    case ValueType::i32:
    case ValueType::f32:
      return 4;
    case ValueType::u64:
    case ValueType::i64:
    case ValueType::f64:
      return 8;
    case ValueType::string:
    case ValueType::array:
      return 0;
  }
  return 0;
}

ValueType value_type(uint32_t id, const std::string& what, std::string_view key) {
  if (id > static_cast<uint32_t>(ValueType::f64))
    throw_input(str(what, ": key '", printable(key), "' has value type ", id, ", expected 0 to 12"));
  return static_cast<ValueType>(id);
}

Value read_array(Cursor& in, const std::string& what, std::string_view key) {
  Value value{.type = ValueType::array};
  value.element = value_type(in.number<uint32_t>("an array type"), what, key);
  value.count = in.number<uint64_t>("an array length");
  if (value.element == ValueType::array)
    throw_unsupported(str(what, ": key '", printable(key), "' is an array of arrays, which arkit does not read"));
  // Each element takes at least one byte (a string eight), so this bounds both the loop and the product below.
  if (value.count > kMaxArrayCount || value.count > in.left())
    throw_input(str(what, ": key '", printable(key), "' announces ", value.count, " elements but only ", in.left(),
                    " bytes are left"));
  if (value.element != ValueType::string) {
    value.payload = in.take(value.count * size_of(value.element), "an array");
    return value;
  }
  Cursor start = in;
  for (uint64_t i = 0; i < value.count; ++i) (void)in.string("a string of an array");
  value.payload = start.take(in.position() - start.position(), "an array");
  return value;
}

Value read_value(Cursor& in, const std::string& what, std::string_view key) {
  const ValueType type = value_type(in.number<uint32_t>("a value type"), what, key);
  if (type == ValueType::array) return read_array(in, what, key);
  Value value{.type = type};
  if (type == ValueType::string) {
    const std::string_view text = in.string("a string");
    value.payload = std::as_bytes(std::span(text));
  } else {
    value.payload = in.take(size_of(type), "a value");
  }
  return value;
}

void read_pairs(Cursor& in, uint64_t count, Metadata& metadata) {
  const std::string& what = metadata.file();
  for (uint64_t i = 0; i < count; ++i) {
    const std::string_view key = in.string("a key");
    if (key.empty() || key.size() > kMaxKeyBytes || !is_utf8(key))
      throw_input(str(what, ": key ", i, " ('", printable(key, 60), "') is empty, longer than ", kMaxKeyBytes,
                      " bytes or no UTF-8"));
    if (!metadata.insert(key, read_value(in, what, key)))
      throw_input(str(what, ": key '", printable(key), "' appears twice"));
  }
}

int64_t alignment_of(const Metadata& metadata) {
  const int64_t alignment = metadata.integer("general.alignment").value_or(32);
  if (alignment <= 0 || alignment > kMaxAlignment || !std::has_single_bit(static_cast<uint64_t>(alignment)))
    throw_input(str(metadata.file(), ": 'general.alignment' is ", alignment, ", expected a power of two up to ",
                    kMaxAlignment));
  return alignment;
}

// Name, type and shape; the offset is still relative to the data section.
TensorEntry read_tensor(Cursor& in, const std::string& file) {
  const std::string_view name = in.string("a tensor name");
  if (name.empty() || name.size() > kMaxNameBytes || !is_utf8(name))
    throw_input(str(file, ": a tensor name ('", printable(name, 80), "') is empty, longer than ", kMaxNameBytes,
                    " bytes or no UTF-8"));
  TensorEntry tensor;
  tensor.name = name;
  const std::string what = str(file, ": tensor '", printable(tensor.name), "'");
  const auto dims = in.number<uint32_t>("a tensor record");
  if (dims > kMaxDims) throw_input(str(what, " has ", dims, " dimensions, at most ", kMaxDims, " are possible"));
  for (uint32_t d = 0; d < dims; ++d) {
    const auto size = in.number<uint64_t>("a tensor record");
    if (size == 0 || size > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
      throw_input(str(what, " has a dimension of ", size));
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(size));
  }
  const auto type = in.number<uint32_t>("a tensor record");
  tensor.type = find_type(type);
  if (tensor.type == nullptr)
    throw_unsupported(
        str(what, " has type id ", type, ", which arkit does not read (F32 F16 BF16, Q4_0 to Q8_0, the K types, IQ4)"));
  int64_t elements = 1;
  for (const int64_t size : tensor.shape) elements = checked_mul(elements, size, what);
  const int64_t row = tensor.shape.empty() ? 1 : tensor.shape.back();
  if (row % tensor.type->block_size != 0)
    throw_input(str(what, " has rows of ", row, " elements, ", tensor.type->name, " needs a multiple of ",
                    tensor.type->block_size));
  tensor.bytes = checked_mul(elements / tensor.type->block_size, tensor.type->block_bytes, what);
  const auto offset = in.number<uint64_t>("a tensor record");
  if (offset > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
    throw_input(str(what, " has offset ", offset));
  tensor.offset = static_cast<int64_t>(offset);
  return tensor;
}

int64_t padded(int64_t size, int64_t alignment, std::string_view what) {
  return checked_add(size, alignment - 1, what) / alignment * alignment;
}

// Tensors follow each other in the order of the table, each padded to the alignment: no overlap, no hole.
void place_tensors(std::vector<TensorEntry>& tensors, int64_t data_begin, int64_t alignment, int64_t file_size,
                   const std::string& file) {
  int64_t expected = 0;
  for (TensorEntry& tensor : tensors) {
    const std::string what = str(file, ": tensor '", printable(tensor.name), "'");
    if (tensor.offset != expected)
      throw_input(str(what, " starts at data byte ", tensor.offset, ", expected ", expected,
                      tensor.offset < expected ? " (it overlaps the one before)" : " (a hole before it)"));
    const int64_t end = checked_add(checked_add(data_begin, tensor.offset, what), tensor.bytes, what);
    if (end > file_size)
      throw_input(str(what, " ends at byte ", end, " but the file has ", file_size, "; copy it again"));
    expected = checked_add(tensor.offset, padded(tensor.bytes, alignment, what), what);
    tensor.offset += data_begin;
  }
}

void require_unique_names(std::span<const TensorEntry> tensors, const std::string& file) {
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : tensors)
    if (!names.insert(tensor.name).second)
      throw_input(str(file, ": tensor '", printable(tensor.name), "' appears twice"));
}

void read_magic_and_version(Cursor& in, const std::string& what) {
  const auto magic = in.take(4, "the magic number");
  if (std::memcmp(magic.data(), "GGUF", 4) != 0)
    throw_input(str(what, ": is no GGUF file (it does not begin with 'GGUF')"));
  const auto version = in.number<uint32_t>("the version");
  if (version == 2 || version == 3) return;
  if ((version & 0xFFFF) == 0) throw_unsupported(str(what, ": is a big-endian GGUF file; convert it to little endian"));
  throw_unsupported(str(what, ": is GGUF version ", version, ", arkit reads 2 and 3; convert the model again"));
}

}  // namespace

File parse_gguf(std::span<const std::byte> bytes, std::string what) {
  static_assert(std::endian::native == std::endian::little, "values are read as they lie in the file");
  File file{.metadata = Metadata(std::move(what))};
  const std::string& name = file.metadata.file();
  Cursor in(bytes, name);
  read_magic_and_version(in, name);
  const auto tensors = in.number<uint64_t>("the number of tensors");
  const auto pairs = in.number<uint64_t>("the number of keys");
  if (tensors > kMaxTensors || pairs > kMaxPairs)
    throw_input(str(name, ": announces ", tensors, " tensors and ", pairs, " keys, at most ", kMaxTensors, " and ",
                    kMaxPairs, " are accepted"));
  read_pairs(in, pairs, file.metadata);
  for (uint64_t i = 0; i < tensors; ++i) file.tensors.push_back(read_tensor(in, name));
  require_unique_names(file.tensors, name);
  const int64_t alignment = alignment_of(file.metadata);
  file.header_bytes = static_cast<int64_t>(in.position());
  place_tensors(file.tensors, padded(file.header_bytes, alignment, name), alignment, static_cast<int64_t>(bytes.size()),
                name);
  return file;
}

}  // namespace arkit::gguf
