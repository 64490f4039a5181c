#include "auto_round_reader.h"

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/regex.h>
#include <arkit/sdk/attention_scales.h>
#include <arkit/sdk/float_layouts.h>
#include <arkit/sdk/packed_folder.h>
#include <arkit/sdk/packed_source.h>
#include <arkit/str.h>

#include "packing.h"
#include "rotations.h"

namespace arkit::auto_round {
namespace {

constexpr std::string_view kMethod = "auto-round";

// extra_config: an exact layer name wins, then the first pattern that matches, then the global scheme.
class LayerSchemes {
 public:
  explicit LayerSchemes(const json::Object& config) {
    global_ = sdk::read_scheme_fields(config, LayerQuant{.weight = {.bits = 4}}, "quantization_config");
    const json::Value* extra = json::find(config, "extra_config");
    if (extra == nullptr) return;
    for (const auto& member : json::as_object(*extra, "'extra_config' of quantization_config")) {
      const std::string key(member.key());
      const std::string what = str("extra_config of '", printable(key), "'");
      LayerQuant quant = sdk::read_scheme_fields(json::as_object(member.value(), what), global_, what);
      if (key.find_first_of("*^$|()[]?+\\") != std::string::npos) patterns_.emplace_back(compile(key, what), quant);
      exact_.emplace(key, std::move(quant));
    }
  }

  // What decides how tensors are stored: the global scheme, or where that leaves layers in 16 bits the first exception.
  [[nodiscard]] const TensorQuant& leading() const {
    if (global_.weight.quantized()) return global_.weight;
    for (const auto& [name, quant] : exact_)
      if (quant.weight.quantized()) return quant.weight;
    return global_.weight;
  }

  [[nodiscard]] LayerQuant operator()(const std::string& layer) const {
    if (const auto found = exact_.find(layer); found != exact_.end()) return found->second;
    for (const auto& [regex, quant] : patterns_)
      if (regex->search(layer)) return quant;
    return global_;
  }

 private:
  static std::shared_ptr<Regex> compile(const std::string& pattern, const std::string& what) {
    try {
      return std::make_shared<Regex>(pattern, what);
    } catch (const Error& error) {  // the file's fault, not the command line's
      throw_input(error.what());
    }
  }

  LayerQuant global_;
  std::map<std::string, LayerQuant> exact_;
  std::vector<std::pair<std::shared_ptr<Regex>, LayerQuant>> patterns_;
};

sdk::IntPacking layout_of(Packing packing) {
  if (packing == Packing::gptq) return sdk::IntPacking::gptq_minus_one;
  return packing == Packing::awq ? sdk::IntPacking::awq : sdk::IntPacking::gptq_direct;
}

// "model.layers.0.mlp.up_proj.weight_scale" -> the layer; empty for another tensor.
std::string layer_of_scale(const std::string& tensor) {
  for (const std::string_view suffix : {".weight_scale", ".weight_scale_inv"})
    if (tensor.ends_with(suffix)) return tensor.substr(0, tensor.size() - suffix.size());
  return {};
}

std::unique_ptr<ModelSource> open_float_folder(std::unique_ptr<ModelSource> folder, std::string packing,
                                               const LayerSchemes& schemes, const AttentionQuant& attention,
                                               std::optional<sdk::PackedRotations> rotations) {
  sdk::PackedFolder packed{.kind = packing,
                           .layers = {},
                           .suffixes = sdk::float_suffixes(),
                           .decode = {},
                           .attention = attention,
                           .rotations = std::move(rotations)};
  for (const TensorInfo& info : folder->weights().tensors()) {
    const std::string layer = layer_of_scale(info.name);
    if (layer.empty()) continue;
    const sdk::LayerTensors tensors(folder->weights(), layer);
    packed.layers.push_back(sdk::checked_float_spec(tensors, packing, schemes(layer), {}));
  }
  packed.decode = [](const LinearSpec& spec, const TensorMap& tensors) {
    return sdk::decode_float(spec.quant, spec.out_features, spec.in_features, tensors);
  };
  return sdk::make_packed_source(std::move(folder), std::move(packed));
}

}  // namespace

const ReaderInfo& AutoRoundReader::info() const noexcept {
  static constexpr ReaderInfo kInfo{"auto_round", "folders written by AutoRound or arkit (quant_method auto-round)"};
  return kInfo;
}

Verdict AutoRoundReader::matches(const std::filesystem::path&, const json::Object* config) const {
  const json::Object* quantization = sdk::quantization_config(config, kMethod);
  if (quantization == nullptr)
    return Verdict::no("its config.json has no quantization_config with quant_method auto-round");
  const json::Value* packing = json::find(*quantization, "packing_format");
  if (packing != nullptr && packing->is_string() && packing->get_string() == "mlx")
    return Verdict::no("its packing_format is mlx's");
  return Verdict::yes();
}

std::unique_ptr<ModelSource> AutoRoundReader::open(const std::filesystem::path& path) const {
  std::unique_ptr<ModelSource> folder = open_hf_folder(path);
  const json::Object* config = sdk::quantization_config(&folder->config(), kMethod);
  if (config == nullptr) throw_input(str("'", path.string(), "': has no quantization_config of auto-round"));
  const std::string name = json::get_string(*config, "packing_format", "quantization_config").value_or("");
  if (name == "auto_round:fake") return folder;  // ordinary weights; only activations are quantized
  const LayerSchemes schemes(*config);
  const auto packing = packing_from_config(name, schemes.leading());
  if (!packing)
    throw_unsupported(str("'", path.string(), "': packing_format '", printable(name), "' with data_type '",
                          printable(schemes.leading().data_type), "' is not one this plugin reads"));
  const AttentionQuant attention = sdk::read_static_attention(*config, "quantization_config");
  std::optional<sdk::PackedRotations> rotations = read_rotations(*config, *folder);
  if (!is_int(*packing))
    return open_float_folder(std::move(folder), name.empty() ? std::string("auto_round:fp8") : name, schemes, attention,
                             std::move(rotations));
  return sdk::open_packed_folder(std::move(folder), std::string(packing_name(*packing)), layout_of(*packing), schemes,
                                 attention, false, std::move(rotations));
}

}  // namespace arkit::auto_round
