#pragma once
// Models that a test writes tensor by tensor.

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

namespace arkit::testing {

// Safetensors file of bf16 tensors.
inline void write_weights(const std::filesystem::path& file, const TensorMap& tensors) {
  std::string header = "{", body;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.contiguous();
    std::string shape;
    for (const int64_t size : dense.sizes()) shape += str(shape.empty() ? "" : ",", size);
    const size_t begin = body.size();
    body.append(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
    header += str(header.size() > 1 ? "," : "", '"', name, R"(":{"dtype":"BF16","shape":[)", shape,
                  R"(],"data_offsets":[)", begin, ",", body.size(), "]}");
  }
  header += "}";
  const auto length = static_cast<uint64_t>(header.size());
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << header << body;
}

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

inline json::Object config_of(const std::string& model) {
  return json::read_file(std::filesystem::path(model) / "config.json").as_object();
}

// A model of these tensors.
inline std::filesystem::path write_model(const std::filesystem::path& folder, const TensorMap& tensors,
                                         json::Object config) {
  std::filesystem::create_directories(folder);
  write_weights(folder / "model.safetensors", tensors);
  write_config(folder, std::move(config));
  return folder;
}

}  // namespace arkit::testing
