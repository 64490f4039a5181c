#pragma once
// The tokenizer.* keys of a GGUF file as the files Hugging Face models come with (docs/spec/gguf-reading.md 6).

#include <string>

#include <arkit/json.h>

#include "gguf_file.h"

namespace arkit::gguf {

// tokenizer.json text: byte-level BPE for model "gpt2", byte-fallback BPE for model "llama". Empty when the file brings
// no tokenizer. Throws ErrorCode::unsupported for another model or an unknown pre-tokenizer, ErrorCode::input for
// arrays that do not fit together.
[[nodiscard]] std::string make_tokenizer_json(const Metadata& metadata);

// tokenizer_config.json: special tokens, chat template, length limit. Empty when the file brings no tokenizer.
[[nodiscard]] json::Object make_tokenizer_config(const Metadata& metadata, const json::Object& config);

// generation_config.json: special token ids and the sampling settings the file recommends.
[[nodiscard]] json::Object make_generation_config(const Metadata& metadata);

}  // namespace arkit::gguf
