#pragma once
// Tokens, types and special ids of a GGUF tokenizer, checked against each other.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "gguf_file.h"

namespace arkit::gguf {

enum class TokenType : int64_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };

struct Vocabulary {
  std::string model;  // "gpt2", "llama"
  std::string pre;
  std::vector<std::string_view> tokens;  // views of the file
  std::vector<TokenType> types;          // one a token
  std::optional<int64_t> bos, eos, unk, pad;
  bool add_bos = false, add_eos = false;
};

// nullopt when the file has no tokenizer. Throws ErrorCode::input for arrays and ids that do not fit together.
[[nodiscard]] std::optional<Vocabulary> read_vocabulary(const Metadata& metadata);

// SentencePiece-style BPE has scores instead of merges: every way to put a piece together from two pieces becomes a
// merge, best score first. Pieces of equal score (files made from a tokenizer.json give all the same) keep their order
// in the vocabulary, which is the order in which BPE training made them. Throws ErrorCode::input for pieces that are made
// of each other in more ways than those of any training; `file` is named then.
[[nodiscard]] std::vector<std::pair<std::string_view, std::string_view>> merges_from_scores(
    const Vocabulary& vocabulary, std::span<const float> scores, const std::string& file);

}  // namespace arkit::gguf
