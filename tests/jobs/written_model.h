#pragma once
// Models that a test writes tensor by tensor.

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>

#include "jobs/tiny_checkpoint.h"

namespace arkit::testing {

inline void write_config(const std::filesystem::path& folder, json::Object config) {
  std::ofstream(folder / "config.json") << json::dump(config, 2);
}

// All tensors of a model in bf16.
inline TensorMap tensors_of(const std::string& model) {
  TensorMap tensors;
  const auto source = open_safetensors(model);
  for (const TensorInfo& info : source->tensors())
    tensors.emplace(info.name, source->load(info.name).to(at::kBFloat16).clone());
  return tensors;
}

// A model of these tensors.
inline std::filesystem::path write_model(const std::filesystem::path& folder, const TensorMap& tensors,
                                         json::Object config) {
  std::filesystem::create_directories(folder);
  write_tensors(folder / "model.safetensors", tensors);
  write_config(folder, std::move(config));
  return folder;
}

}  // namespace arkit::testing
