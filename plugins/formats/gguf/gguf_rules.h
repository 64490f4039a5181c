#pragma once
// Which type each tensor of a file gets: llama.cpp's rules by the file's name (docs/spec/gguf-writing.md 2).

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <arkit/sdk/gguf_blocks.h>

namespace arkit::gguf {

// What a file is called after: "q4_k_m".
struct FileKind {
  std::string_view name;
  uint32_t id;  // general.file_type
  sdk::BlockType base;
};
[[nodiscard]] std::span<const FileKind> file_kinds();
[[nodiscard]] const FileKind* find_kind(std::string_view name);  // null = unknown; upper or lower case
// ASCII capitals, as names of files and schemes are written: "Q4_K_M".
[[nodiscard]] std::string upper(std::string_view text);

struct RuleModel {
  bool is_llama = false, is_qwen2 = false;
  int64_t blocks = 0, heads = 1, kv_heads = 1;
  bool importance = false;  // an importance matrix is given
};

// output: the head, or the embeddings where they are it.
enum class Part { output, embedding, value, attention_output, down, other };

// `block` counts from 0. Models without experts.
[[nodiscard]] sdk::BlockType type_of_part(const FileKind& kind, const RuleModel& model, Part part, int64_t block);

// The type for rows that hold no whole blocks of `wanted`; null = none fits and the tensor stays in 16 bits.
[[nodiscard]] std::optional<sdk::BlockType> fitting_type(sdk::BlockType wanted, int64_t row);

}  // namespace arkit::gguf
