#pragma once
// The keys of a GGUF file, and its header (docs/spec/gguf-reading.md 1).

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "gguf_file.h"
#include "gguf_types.h"

namespace arkit::gguf {

// In the order they are put. Each key once; empty texts and arrays are left out, as readers want it.
class KeyValues {
 public:
  void put_u16(std::string_view key, int64_t value);  // these throw ErrorCode::unsupported for what they do not hold
  void put_u32(std::string_view key, int64_t value);
  void put_i32(std::string_view key, int64_t value);
  void put_f32(std::string_view key, double value);
  void put_bool(std::string_view key, bool value);
  void put_text(std::string_view key, std::string_view value);
  void put_texts(std::string_view key, std::span<const std::string> values);
  void put_i32s(std::string_view key, std::span<const int32_t> values);
  void put_f32s(std::string_view key, std::span<const float> values);
  void put(std::string_view key, const Value& value);  // as another file has it, empty ones, too

  [[nodiscard]] uint64_t count() const noexcept { return count_; }
  [[nodiscard]] const std::string& bytes() const noexcept { return bytes_; }

 private:
  void begin(std::string_view key, uint32_t type);
  std::string bytes_;
  uint64_t count_ = 0;
};

struct StoredTensor {
  std::string name;
  std::vector<int64_t> shape;  // PyTorch order
  TensorType type = TensorType::f32;
  int64_t offset = 0;  // in the data; set by lay_out()
  int64_t bytes = 0;   // set by lay_out()
};

inline constexpr int64_t kAlignment = 32;
[[nodiscard]] constexpr int64_t padded(int64_t bytes, int64_t alignment = kAlignment) noexcept {
  return (bytes + alignment - 1) / alignment * alignment;
}

// Sets offsets and sizes, tensor after tensor, each padded. Returns the bytes of the data. Throws ErrorCode::unsupported
// for names and shapes the format does not hold.
int64_t lay_out(std::span<StoredTensor> tensors, int64_t alignment = kAlignment);

// Everything before the data, padded.
[[nodiscard]] std::string header_of(const KeyValues& keys, std::span<const StoredTensor> tensors,
                                    int64_t alignment = kAlignment);
// What a tensor takes of it.
[[nodiscard]] int64_t header_bytes(const StoredTensor& tensor) noexcept;

}  // namespace arkit::gguf
