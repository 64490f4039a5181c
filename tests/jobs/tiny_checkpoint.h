#pragma once
// Checkpoints made for one test: the tensors and the configuration of a tiny model, changed, and written again.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"

namespace arkit::testing {

inline void write_tensors(const std::filesystem::path& file, const TensorMap& tensors) {
  const auto name_of = [](at::ScalarType dtype) {
    return dtype == at::kBFloat16 ? "BF16"
           : dtype == at::kHalf   ? "F16"
           : dtype == at::kByte   ? "U8"
           : dtype == at::kLong   ? "I64"
                                  : "F32";
  };
  std::string header = "{", body;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.contiguous();
    std::string shape;
    for (const int64_t size : dense.sizes()) shape += str(shape.empty() ? "" : ",", size);
    const size_t begin = body.size();
    body.append(static_cast<const char*>(dense.const_data_ptr()), dense.nbytes());
    header += str(header.size() > 1 ? "," : "", '"', name, R"(":{"dtype":")", name_of(dense.scalar_type()),
                  R"(","shape":[)", shape, R"(],"data_offsets":[)", begin, ",", body.size(), "]}");
  }
  header += "}";
  const auto length = static_cast<uint64_t>(header.size());
  std::ofstream out(file, std::ios::binary);
  out.write(reinterpret_cast<const char*>(&length), sizeof length);
  out << header << body;
}

struct Checkpoint {
  TensorMap tensors;
  json::Object config;

  void rename(const std::string& from, const std::string& to) {
    tensors[to] = tensors.at(from);
    tensors.erase(from);
  }

  // The folder again.
  [[nodiscard]] std::string write(const std::filesystem::path& folder) const {
    std::filesystem::create_directories(folder);
    write_tensors(folder / "model.safetensors", tensors);
    std::ofstream(folder / "config.json") << json::dump(config, 2);
    return folder.string();
  }
};

inline Checkpoint tiny_checkpoint(const std::string& name) {
  const std::unique_ptr<ModelSource> source = open_hf_folder(tiny_model(name));
  Checkpoint checkpoint{.tensors = {}, .config = source->config()};
  for (const TensorInfo& info : source->weights().tensors())
    checkpoint.tensors[info.name] = source->weights().load(info.name).clone();
  return checkpoint;
}

inline json::Object config_of(const std::filesystem::path& folder) {
  return json::read_file(folder / "config.json").as_object();
}

}  // namespace arkit::testing
