#pragma once
// What a model's name says of it, by the convention of GGUF files: base, size, finetune, version
// (docs/spec/gguf-writing.md 1). No LibTorch here.

#include <cstdint>
#include <string>
#include <string_view>

namespace arkit::gguf {

struct NameParts {
  std::string basename, size_label, finetune, version;  // empty = the name says nothing of it
};
// "Llama-3.2-1B-Instruct-v0.2" -> Llama-3.2, 1B, Instruct, v0.2. `parameters`: weights of the model; a size far from
// it, which is another model's, belongs to the finetune.
[[nodiscard]] NameParts parse_model_name(std::string_view name, int64_t parameters);

// "135M", "1.5B".
[[nodiscard]] std::string size_label(int64_t parameters);

// The name of a file without its kind: base (or name), size, finetune, version, with '-' between.
[[nodiscard]] std::string file_stem(std::string_view name, int64_t parameters);

// Without a type at its end, as names of files have one: "SmolLM2.Q4_1" -> "SmolLM2".
[[nodiscard]] std::string without_type(std::string name);

}  // namespace arkit::gguf
