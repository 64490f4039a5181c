#include "calibration/parquet_json.h"

#include <charconv>
#include <cmath>
#include <stdexcept>
#include <string_view>

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/util/utf8.h>

namespace arkit::parquet {
namespace {

class Writer {
 public:
  Writer(int64_t max_bytes, std::string& out) : max_bytes_(max_bytes), out_(out) {}

  void value(const arrow::Array& array, int64_t i);
  void text(std::string_view text);
  void put(std::string_view piece) {
    if (static_cast<int64_t>(out_.size() + piece.size()) > max_bytes_)
      throw std::runtime_error("a row has more than " + std::to_string(max_bytes_ >> 20) + " MiB");
    out_ += piece;
  }

 private:
  template <typename T>
  void number(T value) {
    char digits[64];
    const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
    put({digits, static_cast<size_t>(end - digits)});
  }
  template <typename T>
  void real(T value) {
    if (!std::isfinite(value)) return put("null");
    const size_t before = out_.size();
    number(value);
    // A whole number stays a real one, as the column says.
    if (std::string_view(out_).substr(before).find_first_of(".e") == std::string_view::npos) put(".0");
  }
  // Pictures and the like are nobody's text.
  void bytes(std::string_view value) {
    if (arrow::util::ValidateUTF8(value))
      text(value);
    else
      put("null");
  }
  template <typename Array>
  void list(const arrow::Array& array, int64_t i) {
    const auto& lists = static_cast<const Array&>(array);
    elements(*lists.values(), lists.value_offset(i), lists.value_length(i));
  }
  void elements(const arrow::Array& values, int64_t begin, int64_t count) {
    put("[");
    for (int64_t k = 0; k < count; ++k) {
      if (k != 0) put(",");
      value(values, begin + k);
    }
    put("]");
  }
  void structure(const arrow::StructArray& array, int64_t i);
  void map(const arrow::MapArray& array, int64_t i);

  int64_t max_bytes_;
  std::string& out_;
};

void Writer::text(std::string_view text) {
  put("\"");
  size_t plain = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c >= 0x20 && c != '"' && c != '\\') continue;
    put(text.substr(plain, i - plain));
    plain = i + 1;
    constexpr std::string_view kDigits = "0123456789abcdef";
    if (c == '"' || c == '\\') {
      const char escaped[2] = {'\\', static_cast<char>(c)};
      put({escaped, 2});
    } else {
      const char escaped[6] = {'\\', 'u', '0', '0', kDigits[c >> 4], kDigits[c & 15]};
      put({escaped, 6});
    }
  }
  put(text.substr(plain));
  put("\"");
}

void Writer::structure(const arrow::StructArray& array, int64_t i) {
  put("{");
  for (int k = 0; k < array.num_fields(); ++k) {
    if (k != 0) put(",");
    text(array.struct_type()->field(k)->name());
    put(":");
    value(*array.field(k), i);
  }
  put("}");
}

void Writer::map(const arrow::MapArray& array, int64_t i) {
  put("[");
  for (int64_t k = 0; k < array.value_length(i); ++k) {
    put(k == 0 ? "{\"key\":" : ",{\"key\":");
    value(*array.keys(), array.value_offset(i) + k);
    put(",\"value\":");
    value(*array.items(), array.value_offset(i) + k);
    put("}");
  }
  put("]");
}

void Writer::value(const arrow::Array& array, int64_t i) {
  using arrow::Type;
  if (array.IsNull(i)) return put("null");
  switch (array.type_id()) {
    case Type::NA:
      return put("null");
    case Type::BOOL:
      return put(static_cast<const arrow::BooleanArray&>(array).Value(i) ? "true" : "false");
    case Type::INT8:
      return number<int64_t>(static_cast<const arrow::Int8Array&>(array).Value(i));
    case Type::INT16:
      return number<int64_t>(static_cast<const arrow::Int16Array&>(array).Value(i));
    case Type::INT32:
      return number<int64_t>(static_cast<const arrow::Int32Array&>(array).Value(i));
    case Type::INT64:
      return number<int64_t>(static_cast<const arrow::Int64Array&>(array).Value(i));
    case Type::UINT8:
      return number<uint64_t>(static_cast<const arrow::UInt8Array&>(array).Value(i));
    case Type::UINT16:
      return number<uint64_t>(static_cast<const arrow::UInt16Array&>(array).Value(i));
    case Type::UINT32:
      return number<uint64_t>(static_cast<const arrow::UInt32Array&>(array).Value(i));
    case Type::UINT64:
      return number<uint64_t>(static_cast<const arrow::UInt64Array&>(array).Value(i));
    case Type::FLOAT:
      return real(static_cast<const arrow::FloatArray&>(array).Value(i));
    case Type::DOUBLE:
      return real(static_cast<const arrow::DoubleArray&>(array).Value(i));
    case Type::STRING:
      return text(static_cast<const arrow::BinaryArray&>(array).GetView(i));
    case Type::LARGE_STRING:
      return text(static_cast<const arrow::LargeBinaryArray&>(array).GetView(i));
    case Type::STRING_VIEW:
      return text(static_cast<const arrow::BinaryViewArray&>(array).GetView(i));
    case Type::BINARY:
      return bytes(static_cast<const arrow::BinaryArray&>(array).GetView(i));
    case Type::LARGE_BINARY:
      return bytes(static_cast<const arrow::LargeBinaryArray&>(array).GetView(i));
    case Type::BINARY_VIEW:
      return bytes(static_cast<const arrow::BinaryViewArray&>(array).GetView(i));
    case Type::LIST:
      return list<arrow::ListArray>(array, i);
    case Type::LARGE_LIST:
      return list<arrow::LargeListArray>(array, i);
    case Type::FIXED_SIZE_LIST:
      return list<arrow::FixedSizeListArray>(array, i);
    case Type::MAP:
      return map(static_cast<const arrow::MapArray&>(array), i);
    case Type::STRUCT:
      return structure(static_cast<const arrow::StructArray&>(array), i);
    case Type::DICTIONARY: {
      const auto& coded = static_cast<const arrow::DictionaryArray&>(array);
      const int64_t code = coded.GetValueIndex(i);
      if (code < 0 || code >= coded.dictionary()->length()) throw std::runtime_error("a value outside its dictionary");
      return value(*coded.dictionary(), code);
    }
    case Type::EXTENSION:
      return value(*static_cast<const arrow::ExtensionArray&>(array).storage(), i);
    default: {
      const auto scalar = array.GetScalar(i);
      if (!scalar.ok()) throw std::runtime_error(scalar.status().message());
      return text((*scalar)->ToString());
    }
  }
}

}  // namespace

void write_row(const arrow::RecordBatch& batch, int64_t row, int64_t max_bytes, std::string& out) {
  Writer writer(max_bytes, out);
  writer.put("{");
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (i != 0) writer.put(",");
    writer.text(batch.column_name(i));
    writer.put(":");
    writer.value(*batch.column(i), row);
  }
  writer.put("}");
}

}  // namespace arkit::parquet
