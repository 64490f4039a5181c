#pragma once
// What users ask of a file beside its kind: types of tensors by name, whose rules, parts (docs/spec/gguf-writing.md 2).

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/exporter_options.h>
#include <arkit/regex.h>
#include <arkit/sdk/gguf_blocks.h>

#include "gguf_rules.h"
#include "gguf_types.h"

namespace arkit::gguf {

// --tensor_type REGEX=TYPE.
struct TypeWish {
  std::string text;  // as typed
  Regex regex;
  TensorType type;
};

struct FileOptions {
  RuleSet rules = RuleSet::llama_cpp;
  std::vector<TypeWish> wishes;  // the first whose expression is found in a tensor's name decides
  std::optional<TensorType> output, embedding;
  std::optional<int64_t> part_bytes;  // most bytes of a part; unset = one file

  // What the user wants a tensor of the file to be; null = nothing. `is_head`: the head, or the embeddings where they
  // are it. Programs ask in this order: the option for this very tensor, patterns, the head's for tied embeddings.
  [[nodiscard]] std::optional<TensorType> wish_for(std::string_view tensor, bool is_head) const;
};

[[nodiscard]] std::span<const std::string_view> file_option_names();
// Throws ErrorCode::usage for unknown types and rules, ErrorCode::input for a file that cannot be read.
[[nodiscard]] FileOptions read_file_options(const FormatWords& words);

// A block type a scheme can round into; null = F32, F16, BF16.
[[nodiscard]] std::optional<sdk::BlockType> block_type_of(TensorType type);

}  // namespace arkit::gguf
