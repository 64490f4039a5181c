#pragma once
// Token ids for jobs: from a safetensors file, or from a text through a model's tokenizer.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// int64 ids of tensor "input_ids" of a safetensors file, in its shape. Throws ErrorCode::input.
[[nodiscard]] at::Tensor read_input_ids(const std::filesystem::path& file);

// The model's tokenizer. Throws ErrorCode::input when the model brings none.
[[nodiscard]] Tokenizer tokenizer_of(const ModelSource& source);

// The tokenizer of a model folder, which needs neither configuration nor weights, or of whatever else a user names as a
// model. Throws ErrorCode::input when there is none.
[[nodiscard]] Tokenizer tokenizer_in(const std::string& model, const Registry& registry, Reporter& reporter);

// A text file of at most 1 GiB.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& file);

// The whole file as ids [n].
[[nodiscard]] at::Tensor tokenize_file(const std::filesystem::path& file, const Tokenizer& tokenizer);

// Throws ErrorCode::usage for values no windows can be made with.
void check_window_options(int64_t seqlen, int64_t batch_size, const std::optional<int64_t>& max_windows);

// Consecutive windows [count, seqlen], the first max_windows of them; what does not fill one at the end is left out.
// Throws ErrorCode::input for too few ids.
[[nodiscard]] at::Tensor make_windows(const at::Tensor& ids, int64_t seqlen, const std::optional<int64_t>& max_windows);

}  // namespace arkit
