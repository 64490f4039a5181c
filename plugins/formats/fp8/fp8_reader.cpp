#include "fp8_reader.h"

#include <string>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/packed_folder.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

namespace arkit::fp8 {
namespace {

constexpr std::string_view kMethod = "fp8";
constexpr std::string_view kScale = ".weight_scale_inv";
constexpr const char* kWhat = "quantization_config";
constexpr int64_t kBlock = 128;

// Everything but the block size is fixed; activations that cannot be read from the file are dynamic.
LayerQuant read_scheme(const json::Object& config) {
  if (const auto scheme = json::get_string(config, "activation_scheme", kWhat); scheme && *scheme != "dynamic")
    throw_unsupported(
        str("quantization_config: activation_scheme '", printable(*scheme), "' is not read, only 'dynamic'"));
  LayerQuant quant;
  quant.weight = {.data_type = "fp", .bits = 8, .group_size = kBlock, .block_rows = kBlock};
  quant.act = {.data_type = "fp", .bits = 8, .group_size = kBlock};
  if (const json::Value* block = json::find(config, "weight_block_size")) {
    const json::Object fields{{"data_type", "fp"}, {"group_size", *block}};
    quant = sdk::read_scheme_fields(fields, quant, kWhat);
    if (quant.weight.block_rows < 1)
      throw_input(
          str("quantization_config: weight_block_size ", json::dump(*block), ", expected two positive numbers"));
  }
  return quant;
}

}  // namespace

const ReaderInfo& Fp8Reader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"fp8", "fine-grained fp8 checkpoints (quant_method fp8)"};
  return kInfo;
}

Verdict Fp8Reader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (sdk::quantization_config(config, kMethod) == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method fp8");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> Fp8Reader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of fp8"));
  const LayerQuant quant = read_scheme(*config);
  sdk::PackedFolder packed{.kind = "fp8", .layers = {}, .suffixes = sdk::float_suffixes(), .decode = {}};
  for (const TensorInfo& info : folder->weights().tensors()) {
    if (!info.name.ends_with(kScale)) continue;
    const sdk::LayerTensors tensors(folder->weights(), info.name.substr(0, info.name.size() - kScale.size()));
    packed.layers.push_back(sdk::checked_float_spec(tensors, "fp8", quant, {}));
  }
  packed.decode = [](const LinearSpec& spec, const TensorMap& tensors) {
    return sdk::decode_float(spec.quant, spec.out_features, spec.in_features, tensors);
  };
  return sdk::make_packed_source(std::move(folder), std::move(packed));
}

}  // namespace arkit::fp8
