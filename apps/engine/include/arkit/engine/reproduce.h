#pragma once
// Runs a quantization again from the record it left, and says whether the files are the same.

#include <filesystem>
#include <string>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

struct ReproduceOptions {
  std::filesystem::path directory;   // an export of `arkit quantize`, or the folder of several of one run
  std::string model;                 // where the source model lies now; empty = where it lay
  std::filesystem::path output_dir;  // empty = "<directory>-again" in the working directory
  bool allow_changed = false;        // run although something differs from what the record names
  bool dry_run = false;              // only say what differs
  bool force = false;
};

// "differences": one sentence for each thing that is not as recorded: versions, plugins, the model's files, data and
// other files that options name. With any of them nothing is run, unless they are allowed. "ran", and then "equal" and
// "unequal": the files of the export that came out otherwise. The record is compared without times, memory and places.
// Throws ErrorCode::input for a record that is none, ErrorCode::unsupported for that of a conversion.
[[nodiscard]] ARKIT_EXPORT json::Object reproduce(const ReproduceOptions&, const Registry&, Reporter&);

}  // namespace arkit
