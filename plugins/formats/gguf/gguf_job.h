#pragma once
// A run's file or parts being written: every tensor goes to its place as it comes.

#include <memory>
#include <optional>

#include <arkit/exporter.h>

#include "gguf_options.h"
#include "gguf_rules.h"

namespace arkit::gguf {

// `kind`: what the file is called after; null = of its own mixture. `plain`: type of matrices that nothing else decides
// about; null = as they are stored. Throws ErrorCode::unsupported for models that files
// cannot hold, ErrorCode::usage for parts too small, ErrorCode::resource for a disk without room.
[[nodiscard]] std::unique_ptr<ExportJob> open_job(const ExportRequest& request, const FileKind* kind,
                                                  std::shared_ptr<const FileOptions> options,
                                                  std::optional<TensorType> plain);

// Bytes of the files that such a job writes; request.output_dir is not looked at. Throws what open_job throws of the
// model.
[[nodiscard]] int64_t bytes_of_files(const ExportRequest& request, const FileKind* kind,
                                     std::shared_ptr<const FileOptions> options, std::optional<TensorType> plain);

}  // namespace arkit::gguf
