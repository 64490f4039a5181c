#pragma once
// What the keys of a written file say of the model and its tokenizer (docs/spec/gguf-writing.md 3 and 4).

#include <string>

#include <arkit/model_source.h>

#include "gguf_architecture.h"
#include "gguf_key_values.h"

namespace arkit::gguf {

// Why files cannot say what this model is: its positions, its kind; empty = they can.
[[nodiscard]] std::string why_no_model_keys(const ModelSource& source);
// Why its tokenizer cannot be written; empty = it can. Reads the tokenizer's files.
[[nodiscard]] std::string why_no_tokenizer_keys(const ModelSource& source);

// general.* and those of the architecture. `parameters`: weights of the model; `file_type`: general.file_type.
void put_model_keys(KeyValues& keys, const ModelSource& source, const Architecture& architecture, int64_t parameters,
                    uint32_t file_type);
// tokenizer.*, for `vocabulary` rows of the embeddings. Throws what why_no_tokenizer_keys says.
void put_tokenizer_keys(KeyValues& keys, const ModelSource& source, int64_t vocabulary);

// The model's name: the folder's, or of a hub's cache the repository's; of a .gguf file its own without type and part.
[[nodiscard]] std::string model_name(const ModelSource& source);
// Of a model with rope scaling of type llama3, rope_freqs.weight; empty for all others.
[[nodiscard]] std::vector<float> rope_tensor(const ModelSource& source);

}  // namespace arkit::gguf
