#include "mlx_reader.h"

#include <string>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/packed_folder.h>
#include <arkit/str.h>

#include "mlx_config.h"
#include "mlx_experts.h"
#include "mlx_layout.h"

namespace arkit::mlx {
namespace {

constexpr std::string_view kScales = ".scales";

}  // namespace

const ReaderInfo& MlxReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"mlx", "MLX checkpoints of affine quantization"};
  return kInfo;
}

Verdict MlxReader::matches(const std::filesystem::path&, const json::Object* config) const {
  if (find_quantization(config) == nullptr)
    return Verdict::no("its config.json has no 'quantization' with bits and group_size");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> MlxReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = unstack_experts(open_hf_folder(path));
  const json::Object* quantization = find_quantization(&folder->config());
  if (quantization == nullptr) throw_input(str("'", path.string(), "': config.json has no 'quantization'"));
  sdk::PackedFolder packed{.kind = "mlx", .layers = {}, .suffixes = {"weight", "scales", "biases"}, .decode = {}};
  for (const TensorInfo& info : folder->weights().tensors()) {
    if (!info.name.ends_with(kScales)) continue;
    const sdk::LayerTensors tensors(folder->weights(), info.name.substr(0, info.name.size() - kScales.size()));
    if (tensors.layer().ends_with("embed_tokens"))
      throw_unsupported(str("'", path.string(), "': its embedding '", printable(tensors.layer()),
                            "' is quantized, which is not read; convert the model with embeddings left in 16 bits"));
    packed.layers.push_back(checked_spec(tensors, scheme_of(*quantization, stacked_name(tensors.layer()))));
  }
  packed.decode = [](const LinearSpec& spec, const TensorMap& tensors) {
    return decode_layer(tensors, spec.quant.weight, spec.in_features);
  };
  return sdk::make_packed_source(std::move(folder), std::move(packed));
}

}  // namespace arkit::mlx
