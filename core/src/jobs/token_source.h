#pragma once
// Token ids for jobs: from a safetensors file, or from a text through a model's tokenizer.

#include <filesystem>

#include <ATen/core/Tensor.h>

#include <arkit/model_source.h>
#include <arkit/tokenizer.h>

namespace arkit {

// int64 ids of tensor "input_ids" of a safetensors file, in its shape. Throws ErrorCode::input.
[[nodiscard]] at::Tensor read_input_ids(const std::filesystem::path& file);

// The model's tokenizer. Throws ErrorCode::input when the model brings none.
[[nodiscard]] Tokenizer tokenizer_of(const ModelSource& source);

// The whole file as ids [n].
[[nodiscard]] at::Tensor tokenize_file(const std::filesystem::path& file, const Tokenizer& tokenizer);

}  // namespace arkit
