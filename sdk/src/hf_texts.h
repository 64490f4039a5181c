#pragma once
// config.json and generation_config.json of an export, made from the source's (docs/spec/export-folder.md 2 and 4).

#include <string>

#include <arkit/exporter.h>
#include <arkit/json.h>
#include <arkit/sdk/hf_export.h>

namespace arkit::sdk {

// The source's configuration, unknown keys and spellings kept, with the declared dtype and the quantization_config of
// the format instead of whatever the source had.
[[nodiscard]] json::Object export_config(const ExportRequest& request, const HfFormat& format);

// The source's generation_config.json with "do_sample": true, as the reference leaves it: without it transformers
// refuses to save a file that sets temperature or top_p.
[[nodiscard]] std::string export_generation_config(const std::string& text);

}  // namespace arkit::sdk
