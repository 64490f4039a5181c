#pragma once
// Writes one small safetensors file at once. Exports stream through their format plugins; this is for results such as
// the logits of `arkit forward`.

#include <filesystem>

#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit::io {

// Tensors by name, in map order. The file appears complete or not at all: written beside the target, flushed to disk,
// renamed. Throws ErrorCode::resource when it cannot be written, ErrorCode::unsupported for a dtype without a name.
ARKIT_INTERNAL void write_safetensors(const std::filesystem::path& file, const TensorMap& tensors);

}  // namespace arkit::io
