#pragma once
// tokenizer.ggml.pre names how text is cut before BPE; here are the pieces of tokenizer.json that do the same.

#include <string>
#include <string_view>

#include <arkit/json.h>

namespace arkit::gguf {

enum class PreKind { byte_level, digits_byte_level, split_byte_level };

struct PreTokenizer {
  std::string_view name;  // tokenizer.ggml.pre
  PreKind kind;
  std::string_view regexes[3];  // split_byte_level: applied in order; empty = none
  bool ignore_merges = false;   // a whole word of the vocabulary is taken without merging
  bool adds_bos = false;        // when the file does not say
  bool normalizes_nfc = false;
};

// Null when the name is unknown.
[[nodiscard]] const PreTokenizer* find_pre_tokenizer(std::string_view name);

// The one that cuts text as this tokenizer.json does, its normalizer included; null when none does. Names of equal rules
// are equal to readers: the first counts. A tokenizer without NFC may be one of those that have it in their models' folders.
[[nodiscard]] const PreTokenizer* recognise_pre_tokenizer(const json::Object& tokenizer);
// "smollm, qwen2, ...": for messages.
[[nodiscard]] std::string pre_tokenizer_names();

// "pre_tokenizer" of tokenizer.json.
[[nodiscard]] json::Object pre_tokenizer_json(const PreTokenizer& pre, bool add_prefix_space);

}  // namespace arkit::gguf
