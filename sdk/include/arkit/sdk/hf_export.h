#pragma once
// The part every format shares that is a Hugging Face folder of safetensors files (docs/spec/export-folder.md 2): which
// source tensor goes where and in which dtype, config.json and its relatives, companions. A format adds its packing and
// its quantization_config.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <arkit/exporter.h>
#include <arkit/json.h>

namespace arkit::sdk {

struct PackedTensorShape {
  std::string suffix;
  at::ScalarType dtype = at::ScalarType::Undefined;
  std::vector<int64_t> shape;
};

// Where a tensor of the source or of a packed layer is written: under `name`, or as part `slice` of `slices` of it.
struct TensorPlace {
  std::string name;
  int64_t slice = -1, slices = 0;  // -1 = all of it
};

struct HfFormat {
  // Tensors of one packed layer, bias excluded; `pack` gives exactly these. Both may be called until the job is done.
  std::function<std::vector<PackedTensorShape>(const LayerPlan&)> shapes;
  std::function<TensorMap(const LayerRecord&)> pack;
  json::Object quantization_config;      // empty = none
  bool quantization_config_file = true;  // also as quantization_config.json
  // Last touch on quantization_config when every layer has been added, for what only layers tell; unset = none.
  std::function<void(json::Object&)> finish_config;
  // dtype of a packed layer's bias, unless the source stores it in F32 (docs/spec/export-folder.md 4); unset = the
  // source's.
  std::optional<at::ScalarType> bias_dtype;
  // Static scales of attention (attention_scales.h), where the plan has any: their dtype, and whether those of heads
  // are [heads, 1, 1].
  at::ScalarType attention_scale_dtype = at::ScalarType::Float;
  bool attention_scale_broadcast = false;
  // Where tensors go that no model class loads (docs/spec/export-folder.md 6).
  std::string extra_file = "model_extra_tensors.safetensors";
  // Names and shapes of the target's classes, where they are not the source's; unset = they are.
  std::function<TensorPlace(std::string_view)> place;
  // Has the target's class no place for this plain tensor? It goes into `extra_file`; unset = it takes all.
  std::function<bool(const TensorInfo&)> is_extra;
  // Last touch on config.json, for formats that keep more there than quantization_config; unset = none.
  std::function<void(json::Object&)> edit_config;
  // Further small files: name and content.
  std::vector<std::pair<std::string, std::string>> texts;
  // config.json with the keys of every level sorted and no newline at its end; generation_config.json as it is.
  bool sorted_config = false;
  // What config.json declares ("dtype" and "torch_dtype"); unset = the model dtype.
  std::optional<at::ScalarType> declared_dtype;
};

// Lays out all files, claims the space and takes layers in any order. Plain tensors nobody added are copied from the
// source in finish().
[[nodiscard]] std::unique_ptr<ExportJob> open_hf_export(const ExportRequest& request, HfFormat format);

}  // namespace arkit::sdk
