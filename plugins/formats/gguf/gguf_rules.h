#pragma once
// Which type each tensor of a file gets by the file's name: llama.cpp's rules, and AutoRound's, which differ from them in
// little (docs/spec/gguf-writing.md 2).

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

enum class RuleSet { llama_cpp, auto_round };
[[nodiscard]] std::optional<RuleSet> find_rules(std::string_view name);  // "llama.cpp", "auto_round"
[[nodiscard]] std::string_view name_of(RuleSet rules);

struct RuleModel {
  RuleSet rules = RuleSet::llama_cpp;
  bool is_llama = false, is_qwen2 = false, is_falcon = false;
  int64_t blocks = 0, heads = 1, kv_heads = 1;
  int64_t experts = 0;      // routed ones of a block
  bool importance = false;  // an importance matrix is given
};

// output: the head, or the embeddings where they are it. value: also of layers that make queries, keys and values at
// once. down: also of experts.
enum class Part { output, embedding, key, value, attention_output, down, other };

// `block` counts from 0: the place among the layers of this part that the rules choose for.
[[nodiscard]] sdk::BlockType type_of_part(const FileKind& kind, const RuleModel& model, Part part, int64_t block);

// The type for rows that hold no whole blocks of `wanted`; null = none fits and the tensor stays in 16 bits.
[[nodiscard]] std::optional<sdk::BlockType> fitting_type(sdk::BlockType wanted, int64_t row, RuleSet rules);

}  // namespace arkit::gguf
