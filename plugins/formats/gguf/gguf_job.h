#pragma once
// One file being written: every tensor goes to its place as it comes.

#include <memory>

#include <arkit/exporter.h>

#include "gguf_rules.h"

namespace arkit::gguf {

// `kind`: what the file is called after; null = of its own mixture. Throws ErrorCode::unsupported for models that files
// cannot hold, ErrorCode::resource for a disk without room.
[[nodiscard]] std::unique_ptr<ExportJob> open_job(const ExportRequest& request, const FileKind* kind);

// Bytes of the file that such a job writes; request.output_dir is not looked at. Throws what open_job throws of the
// model.
[[nodiscard]] int64_t bytes_of_file(const ExportRequest& request, const FileKind* kind);

}  // namespace arkit::gguf
