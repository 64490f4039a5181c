#pragma once
// What lies beside the weights of a model folder and belongs to the model: tokenizer files of every kind, templates,
// processors, code, licences, modules of a pipeline.

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit::io {

// The texts that most models have, in the order in which an export lists them.
[[nodiscard]] ARKIT_INTERNAL std::span<const std::string_view> well_known_texts();

// Everything in the folder and its subfolders that travels with a model (docs/adr/0023-what-a-model-folder-holds.md):
// all files but weights of this and of other formats, what says how weights are quantized, hidden files, and subfolders
// with weights in them that modules.json does not name, which are models of their own. Well-known texts come first, in
// a fixed order, then the others by name. Throws ErrorCode::input for what travels and cannot: a link to nothing, a
// FIFO, a Git LFS pointer.
[[nodiscard]] std::vector<CompanionFile> companion_files(const std::filesystem::path& folder);

// What does not travel although somebody put it there. Names from the folder on, folders with a slash at their end.
struct LeftOut {
  std::vector<std::string> files;    // weights, those of the model itself among them
  std::vector<std::string> formats;  // folders with weights of other formats
  std::vector<std::string> models;   // folders with safetensors: models and adapters of their own
  std::vector<std::string> adapter;  // files of an adapter beside the model
};
[[nodiscard]] ARKIT_INTERNAL LeftOut left_out_files(const std::filesystem::path& folder);

}  // namespace arkit::io
