#pragma once
// YAML as llm-compressor writes recipe.yaml: blocks indented by 2, lists and mappings of plain values in one line.

#include <string>

#include <arkit/json.h>

namespace arkit::llm_compressor {

[[nodiscard]] std::string yaml_text(const json::Object& document);

}  // namespace arkit::llm_compressor
