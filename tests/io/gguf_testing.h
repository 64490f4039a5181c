#pragma once
// Writes GGUF bytes by hand, so that a test can bend any single field.

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "io_testing.h"

namespace arkit::testing {

inline std::string gguf_string(const std::string& text) {
  return little_endian(text.size()) + text;
}

// Values of metadata: type id and payload.
inline std::string gguf_u32(uint32_t value) {
  return little_endian(4, 4) + little_endian(value, 4);
}
inline std::string gguf_f32(float value) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  return little_endian(6, 4) + little_endian(bits, 4);
}
inline std::string gguf_bool(bool value) {
  return little_endian(7, 4) + std::string(1, value ? '\1' : '\0');
}
inline std::string gguf_text(const std::string& text) {
  return little_endian(8, 4) + gguf_string(text);
}
inline std::string gguf_texts(const std::vector<std::string>& texts) {
  std::string out = little_endian(9, 4) + little_endian(8, 4) + little_endian(texts.size());
  for (const std::string& text : texts) out += gguf_string(text);
  return out;
}
inline std::string gguf_i32s(const std::vector<int32_t>& values) {
  std::string out = little_endian(9, 4) + little_endian(5, 4) + little_endian(values.size());
  for (const int32_t value : values) out += little_endian(static_cast<uint32_t>(value), 4);
  return out;
}
inline std::string gguf_f32s(const std::vector<float>& values) {
  std::string out = little_endian(9, 4) + little_endian(6, 4) + little_endian(values.size());
  for (const float value : values) out += gguf_f32(value).substr(4);
  return out;
}

struct GgufTensor {
  std::string name;
  std::vector<uint64_t> dims;  // contiguous one first
  uint32_t type = 0;           // F32
  uint64_t offset = 0;
};

// Everything but tensor data is written as given; data are `data_bytes` zeros.
struct GgufBuilder {
  std::string magic = "GGUF";
  uint32_t version = 3;
  std::vector<std::pair<std::string, std::string>> pairs;
  std::vector<GgufTensor> tensors;
  size_t data_bytes = 0;
  size_t alignment = 32;

  [[nodiscard]] std::string bytes() const {
    std::string out = magic + little_endian(version, 4) + little_endian(tensors.size()) + little_endian(pairs.size());
    for (const auto& [key, value] : pairs) out += gguf_string(key) + value;
    for (const GgufTensor& tensor : tensors) {
      out += gguf_string(tensor.name) + little_endian(tensor.dims.size(), 4);
      for (const uint64_t dim : tensor.dims) out += little_endian(dim);
      out += little_endian(tensor.type, 4) + little_endian(tensor.offset);
    }
    out.resize((out.size() + alignment - 1) / alignment * alignment, '\0');
    return out + std::string(data_bytes, '\0');
  }
};

// A llama model of one block with 2 heads of 4 over 8 channels, F32; `rows` of the embedding are the vocabulary.
inline GgufBuilder tiny_gguf(uint64_t rows = 4) {
  GgufBuilder file;
  file.pairs = {{"general.architecture", gguf_text("llama")},
                {"llama.block_count", gguf_u32(1)},
                {"llama.context_length", gguf_u32(64)},
                {"llama.embedding_length", gguf_u32(8)},
                {"llama.feed_forward_length", gguf_u32(16)},
                {"llama.attention.head_count", gguf_u32(2)},
                {"llama.attention.layer_norm_rms_epsilon", gguf_f32(1e-5F)},
                {"llama.rope.freq_base", gguf_f32(10000.0F)}};
  file.tensors = {{"token_embd.weight", {8, rows}, 0, 0}, {"blk.0.attn_q.weight", {8, 8}, 0, rows * 32}};
  file.data_bytes = rows * 32 + 256;
  return file;
}

}  // namespace arkit::testing
