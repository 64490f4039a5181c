#include "io/weight_names.h"

#include <algorithm>
#include <array>
#include <string>

#include <arkit/str.h>

namespace arkit::io {
namespace {

constexpr std::string_view kWholeModel = ".gguf";
constexpr std::array<std::string_view, 22> kWeightEndings{
    ".safetensors", ".bin",    ".pt",        ".pth",    ".ckpt",  ".pkl",     ".pickle", kWholeModel,
    ".ggml",        ".onnx",   ".onnx_data", ".h5",     ".keras", ".msgpack", ".npz",    ".ot",
    ".mlmodel",     ".tflite", ".nemo",      ".engine", ".pte",   ".distcp"};

}  // namespace

bool is_weight_name(std::string_view name) {
  const std::string small = lower(name);
  if (small.ends_with(".index.json")) return true;  // of shards: model.safetensors, pytorch_model.bin, tf_model.h5
  return std::any_of(kWeightEndings.begin(), kWeightEndings.end(),
                     [&](std::string_view ending) { return small.ends_with(ending); });
}

bool is_whole_model_name(std::string_view name) {
  return lower(name).ends_with(kWholeModel);
}

}  // namespace arkit::io
