#pragma once
// `arkit convert` of a model of which nothing is packed: a GGUF file as a Hugging Face folder, the folder as a GGUF file.
// Nothing is rounded but to the type that is asked for.

#include <filesystem>

#include <arkit/engine/jobs.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// `source` has no packed layers. Throws ErrorCode::unsupported for formats that hold quantized layers only, and for models
// that a format has no words for, before anything is written; ErrorCode::verification where what was written is not what
// was read.
[[nodiscard]] json::Object convert_plain(const ConvertOptions& options, const ModelSource& source,
                                         const Registry& registry, Reporter& reporter);

// Where a conversion goes that is not told.
[[nodiscard]] std::filesystem::path conversion_folder(const ConvertOptions& options, const ModelSource& source);

}  // namespace arkit
