#pragma once
// A GGUF file as arkit sees every model: Hugging Face names, configuration and texts over mapped blocks.

#include <filesystem>
#include <memory>

#include <arkit/model_source.h>

namespace arkit::gguf {

// Throws ErrorCode::input for a malformed file, ErrorCode::unsupported for what arkit does not read.
[[nodiscard]] std::unique_ptr<ModelSource> open_gguf(const std::filesystem::path& path);

}  // namespace arkit::gguf
