#include "llm_compressor_reader.h"

#include <string>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/group_index.h>
#include <arkit/sdk/packed_folder.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

#include "config_groups.h"
#include "layouts.h"

namespace arkit::llm_compressor {
namespace {

constexpr std::string_view kMethod = "compressed-tensors";
constexpr std::string_view kScale = ".weight_scale";  // the one tensor every layout has

std::string kind_of(const std::vector<LinearSpec>& layers) {
  if (layers.empty()) return std::string(kMethod);
  for (const LinearSpec& layer : layers)
    if (layer.packing != layers.front().packing) return str(kMethod, ":mixed-precision");
  return str(kMethod, ":", layers.front().packing);
}

}  // namespace

const ReaderInfo& LlmCompressorReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"llm_compressor",
                                    "compressed-tensors checkpoints (quant_method compressed-tensors)"};
  return kInfo;
}

Verdict LlmCompressorReader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (sdk::quantization_config(config, kMethod) == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method compressed-tensors");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> LlmCompressorReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of compressed-tensors"));
  const ConfigGroups groups(*config);
  sdk::PackedFolder packed{
      .kind = {}, .layers = {}, .suffixes = all_suffixes(), .decode = {}, .attention = read_attention(*config)};
  for (const TensorInfo& info : folder->weights().tensors()) {
    if (!info.name.ends_with(kScale)) continue;
    const sdk::LayerTensors tensors(folder->weights(), info.name.substr(0, info.name.size() - kScale.size()));
    const LayerScheme* scheme = groups.find(tensors.layer());
    if (scheme == nullptr) tensors.fail("is packed but no config group targets it");
    packed.layers.push_back(checked_spec(tensors, scheme->layout, scheme->quant));
  }
  packed.kind = kind_of(packed.layers);
  packed.decode = [](const LinearSpec& spec, const TensorMap& tensors) {
    std::string_view layout = spec.packing;
    if (layout.ends_with(sdk::kActOrder)) layout.remove_suffix(sdk::kActOrder.size());
    return decode_layer(spec.quant, layout_from_name(layout).value(), spec.out_features, spec.in_features, tensors);
  };
  return sdk::make_packed_source(std::move(folder), std::move(packed));
}

}  // namespace arkit::llm_compressor
