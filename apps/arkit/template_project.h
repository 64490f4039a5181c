#pragma once
// `arkit plugin new`: a folder that builds and passes a test, made from share/arkit/template/<kind>.

#include <filesystem>
#include <string>
#include <vector>

namespace arkit::cli {

struct NewProject {
  std::string kind;                // scheme, exporter, backend, model, transform
  std::string name;                // what users type
  std::filesystem::path folder;    // where it is written
  std::vector<std::string> files;  // relative, sorted
};

// Copies the template below `templates`, replacing sample_plugin by `name` and SamplePlugin by its CamelCase form in
// texts and file names. Throws ErrorCode::usage for a bad kind, name or a folder that is in use.
[[nodiscard]] NewProject write_project(const std::filesystem::path& templates, const std::string& kind,
                                       const std::string& name, const std::filesystem::path& folder);

}  // namespace arkit::cli
