#include "gguf_vocabulary.h"

#include <algorithm>
#include <array>
#include <unordered_map>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_pretokenizers.h"

namespace arkit::gguf {
namespace {

// Keep the quadratic work of merges_from_scores, and what comes out of it, small for hostile files. Real pieces have at
// most some 200 bytes, 10 on the average of their bytes, and are made of others in two ways.
constexpr size_t kMaxPieceBytes = 512;
constexpr size_t kMeanPieceBytes = 64, kSpareBytes = size_t{1} << 16;
constexpr size_t kWaysOfAPiece = 8, kSpareWays = 4096;

std::vector<TokenType> read_types(const Metadata& metadata, size_t count) {
  const std::vector<int64_t> ids = metadata.integers("tokenizer.ggml.token_type", count);
  if (ids.empty()) return std::vector<TokenType>(count, TokenType::normal);
  if (ids.size() != count)
    throw_input(
        str(metadata.file(), ": 'tokenizer.ggml.token_type' has ", ids.size(), " entries for ", count, " tokens"));
  std::vector<TokenType> types;
  types.reserve(count);
  for (const int64_t id : ids) {
    if (id < 1 || id > 6) throw_input(str(metadata.file(), ": token type ", id, " is unknown, expected 1 to 6"));
    types.push_back(static_cast<TokenType>(id));
  }
  return types;
}

std::optional<int64_t> special_id(const Metadata& metadata, const char* kind, size_t count) {
  const std::string key = str("tokenizer.ggml.", kind, "_token_id");
  const auto id = metadata.integer(key);
  if (id && (*id < 0 || *id >= static_cast<int64_t>(count)))
    throw_input(str(metadata.file(), ": '", key, "' is ", *id, " but there are ", count, " tokens"));
  return id;
}

// Does llama.cpp add the token when the file does not say?
bool adds_bos_by_default(const Vocabulary& vocabulary) {
  if (vocabulary.model == "llama") return true;
  const PreTokenizer* pre = find_pre_tokenizer(vocabulary.pre);
  return pre != nullptr && pre->adds_bos;
}

bool is_continuation_byte(char c) {
  return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
}

struct Merge {
  float score;
  size_t id;  // of the result
  std::string_view left, right;
};

}  // namespace

std::optional<Vocabulary> read_vocabulary(const Metadata& metadata) {
  Vocabulary vocabulary;
  vocabulary.model = metadata.text("tokenizer.ggml.model").value_or("none");
  if (vocabulary.model == "none") return std::nullopt;
  vocabulary.pre = metadata.text("tokenizer.ggml.pre").value_or("default");
  vocabulary.tokens = metadata.texts("tokenizer.ggml.tokens");
  if (vocabulary.tokens.empty()) throw_input(str(metadata.file(), ": key 'tokenizer.ggml.tokens' is missing"));
  const size_t count = vocabulary.tokens.size();
  vocabulary.types = read_types(metadata, count);
  vocabulary.bos = special_id(metadata, "bos", count);
  vocabulary.eos = special_id(metadata, "eos", count);
  vocabulary.unk = special_id(metadata, "unknown", count);
  vocabulary.pad = special_id(metadata, "padding", count);
  vocabulary.add_bos = metadata.boolean("tokenizer.ggml.add_bos_token").value_or(adds_bos_by_default(vocabulary));
  vocabulary.add_eos = metadata.boolean("tokenizer.ggml.add_eos_token").value_or(false);
  return vocabulary;
}

std::vector<std::pair<std::string_view, std::string_view>> merges_from_scores(const Vocabulary& vocabulary,
                                                                              std::span<const float> scores,
                                                                              const std::string& file) {
  std::unordered_map<std::string_view, size_t> pieces;
  size_t bytes = 0, work = 0;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view piece = vocabulary.tokens[id];
    if (vocabulary.types[id] != TokenType::normal || !pieces.emplace(piece, id).second) continue;
    bytes += piece.size();
    if (piece.size() <= kMaxPieceBytes) work += piece.size() * piece.size();
  }
  if (work > kMeanPieceBytes * (bytes + kSpareBytes))
    throw_input(str(file, ": 'tokenizer.ggml.tokens' holds ", pieces.size(), " pieces of ", bytes,
                    " bytes, which is longer than pieces of words are"));
  const size_t most = kWaysOfAPiece * pieces.size() + kSpareWays;
  std::vector<Merge> merges;
  for (size_t id = 0; id < vocabulary.tokens.size(); ++id) {
    const std::string_view piece = vocabulary.tokens[id];
    if (vocabulary.types[id] != TokenType::normal || piece.size() > kMaxPieceBytes || pieces[piece] != id) continue;
    for (size_t cut = 1; cut < piece.size(); ++cut) {
      if (is_continuation_byte(piece[cut])) continue;
      const std::string_view left = piece.substr(0, cut), right = piece.substr(cut);
      if (!pieces.contains(left) || !pieces.contains(right)) continue;
      if (merges.size() == most)
        throw_input(str(file, ": the pieces of 'tokenizer.ggml.tokens' are made of each other in more than ", most,
                        " ways, which no vocabulary of words is"));
      merges.push_back({scores[id], id, left, right});
    }
  }
  std::stable_sort(merges.begin(), merges.end(), [](const Merge& a, const Merge& b) {
    if (a.score != b.score) return a.score > b.score;
    return a.id != b.id ? a.id < b.id : a.left.size() > b.left.size();
  });
  std::vector<std::pair<std::string_view, std::string_view>> out;
  out.reserve(merges.size());
  for (const Merge& merge : merges) out.emplace_back(merge.left, merge.right);
  return out;
}

}  // namespace arkit::gguf
