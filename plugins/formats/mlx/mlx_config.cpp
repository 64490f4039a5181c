#include "mlx_config.h"

#include <set>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::mlx {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr int64_t kOutMultiple = 64;  // mlx-lm asks this of every layer it would quantize

json::Object fields_of(const TensorQuant& quant) {
  json::Object fields;
  fields["group_size"] = quant.group_size;
  fields["bits"] = quant.bits;
  return fields;
}

int64_t in_range(const json::Object& fields, std::string_view key, int64_t low, int64_t high, const std::string& what) {
  const auto value = json::get_int(fields, key, what);
  if (!value) throw_input(str(what, ": has no '", key, "'"));
  if (*value < low || *value > high)
    throw_input(str(what, ": '", key, "' is ", *value, ", expected ", low, " to ", high));
  return *value;
}

}  // namespace

json::Object quantization_of(const ExportRequest& request, const ExpertStacks& stacks) {
  const TensorQuant& global = request.plan.global.weight;
  json::Object quantization = fields_of(global);
  // mlx-lm would quantize what has the right shape and is not named; every such module is named.
  const auto mentions = [&](int64_t out, int64_t in) { return in % global.group_size == 0 && out % kOutMultiple == 0; };
  std::set<std::string, std::less<>> planned;
  for (const LayerPlan& layer : request.plan.layers) {
    planned.insert(layer.name);
    if (layer.quantized())
      quantization[stacks.place(layer.name).name] = fields_of(layer.quant.weight);
    else if (mentions(layer.out_features, layer.in_features))
      quantization[stacks.place(layer.name).name] = false;
  }
  for (const TensorInfo& info : request.source.weights().tensors()) {
    if (!info.name.ends_with(kWeight) || info.shape.size() != 2 || !mentions(info.shape[0], info.shape[1])) continue;
    const std::string module = info.name.substr(0, info.name.size() - kWeight.size());
    if (!planned.contains(module)) quantization[module] = false;
  }
  return quantization;
}

const json::Object* find_quantization(const json::Object* config) {
  if (config == nullptr) return nullptr;
  const json::Value* found = json::find(*config, "quantization");
  if (found == nullptr || !found->is_object()) return nullptr;
  const json::Object& quantization = found->get_object();
  return quantization.contains("bits") && quantization.contains("group_size") ? &quantization : nullptr;
}

TensorQuant scheme_of(const json::Object& quantization, const std::string& layer) {
  const std::string what = str("quantization of '", printable(layer), "'");
  const json::Object* fields = &quantization;
  if (const json::Value* own = quantization.if_contains(layer)) {
    if (own->is_bool() && !own->get_bool()) throw_input(what + ": says false, but the layer has packed tensors");
    if (own->is_object()) fields = &own->get_object();
  }
  TensorQuant quant;
  quant.data_type = "int";
  quant.bits = static_cast<int>(in_range(*fields, "bits", 2, 8, what));
  quant.group_size = in_range(*fields, "group_size", 1, int64_t{1} << 20, what);
  quant.sym = false;  // biases are stored for every group
  const std::string mode = json::get_string(*fields, "mode", what).value_or("affine");
  if (mode != "affine") throw_unsupported(str(what, ": mode '", printable(mode), "' is not read, only 'affine'"));
  return quant;
}

}  // namespace arkit::mlx
