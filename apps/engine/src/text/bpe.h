#pragma once
// Byte-pair encoding of one pre-token (docs/spec/tokenizers.md 2).

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <arkit/json.h>

#include "text/vocabulary.h"

namespace arkit::text {

class BpeModel {
 public:
  // Working memory of one encoding thread, with the words met so far. Borrowed from and given back to the model.
  class Workspace;
  // Returns its workspace to the model when it dies.
  struct Returner {
    const BpeModel* model;
    void operator()(Workspace* workspace) const;
  };
  using Borrowed = std::unique_ptr<Workspace, Returner>;

  // `model` is the "model" object of tokenizer.json; its vocab goes into `vocabulary`, which outlives this object. With
  // `bytes_in` the words given to encode() are raw bytes that stand for characters of the byte alphabet.
  BpeModel(const json::Object& model, Vocabulary& vocabulary, bool bytes_in);
  ~BpeModel();

  [[nodiscard]] Borrowed borrow() const;

  // Appends the ids of one word. Linear-logarithmic in its length.
  void encode(std::string_view word, Workspace& workspace, std::vector<int64_t>& out) const;

 private:
  void load_vocab(const json::Object& model);
  void load_merges(const json::Object& model);
  void find_symbols(std::string_view word, Workspace& workspace) const;
  void merge(Workspace& workspace) const;
  bool append_byte_tokens(std::string_view symbol, Workspace& workspace) const;

  Vocabulary& vocabulary_;
  const bool bytes_in_;
  std::string prefix_, suffix_;  // continuing_subword_prefix, end_of_word_suffix
  std::optional<int32_t> unk_;
  bool fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false;
  std::vector<int32_t> byte_tokens_;    // ids of <0x00> ... <0xFF>, -1 = absent; empty without byte_fallback
  std::vector<int32_t> short_symbols_;  // ids of single characters below U+0200, -1 = absent
  PairTable merges_{0};

  mutable std::mutex mutex_;
  mutable std::vector<std::unique_ptr<Workspace>> idle_;
};

}  // namespace arkit::text
