#include <arkit/sdk/packed_source.h>

#include <utility>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/sdk/bit_decode.h>
#include <arkit/sdk/group.h>
#include <arkit/sdk/group_index.h>
#include <arkit/sdk/packed_folder.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr std::string_view kQweight = ".qweight";
constexpr int64_t kGrain = 16;  // outputs a thread decodes at least

bool is_gptq(IntPacking layout) {
  return layout != IntPacking::awq;
}

// A config without group_size: the rows of the scales tell it.
int64_t group_from_scales(const LayerTensors& tensors, int64_t in) {
  const int64_t groups = tensors.matrix("scales", {at::kHalf, at::kBFloat16, at::kFloat}).shape[0];
  if (groups == 1) return -1;
  if (in % groups != 0)
    tensors.fail(
        arkit::str("its config has no group_size, and ", groups, " rows of 'scales' do not divide ", in, " inputs"));
  return in / groups;
}

// Shapes follow from qweight and the bits; everything else must agree with them.
LinearSpec checked_spec(const LayerTensors& tensors, const std::string& packing, IntPacking layout, bool act_order,
                        LayerQuant quant) {
  const int64_t bits = quant.weight.bits;
  if (!quant.weight.quantized()) tensors.fail("is packed but its config says 16 bits");
  const TensorInfo& qweight = tensors.matrix("qweight", {at::kInt});
  const int64_t packed_dim = is_gptq(layout) ? qweight.shape[0] : qweight.shape[1];
  const int64_t packed_bits = checked_mul(packed_dim, 32, "qweight");
  if (packed_bits % bits != 0) tensors.fail(arkit::str("'qweight' does not hold whole ", bits, "-bit codes"));
  LinearSpec spec{.name = tensors.layer(), .packing = packing, .quant = quant};
  spec.out_features = is_gptq(layout) ? qweight.shape[1] : packed_bits / bits;
  spec.in_features = is_gptq(layout) ? packed_bits / bits : qweight.shape[0];
  if (is_gptq(layout) && spec.in_features % 32 != 0)
    tensors.fail(arkit::str("'qweight' does not hold blocks of 32 ", bits, "-bit codes"));
  if (spec.out_features * bits % 32 != 0 || spec.out_features % 8 != 0)
    tensors.fail(arkit::str("zero points of ", spec.out_features, " outputs do not fill whole words"));
  if (quant.weight.group_size == kGroupUnknown)
    spec.quant.weight.group_size = group_from_scales(tensors, spec.in_features);
  const GroupShape groups = group_shape(spec.out_features, spec.in_features, spec.quant.weight.group_size);
  tensors.expect("qzeros", {at::kInt}, {groups.per_row, spec.out_features * bits / 32});
  tensors.expect("scales", {at::kHalf, at::kBFloat16, at::kFloat}, {groups.per_row, spec.out_features});
  spec.has_bias = tensors.has_bias(spec.out_features);
  if (tensors.find(kGroupIndex) == nullptr) return spec;
  tensors.expect(kGroupIndex, {at::kInt}, {spec.in_features});
  if (scattered_index(tensors.load(kGroupIndex), groups, act_order, spec.name).defined()) spec.packing += kActOrder;
  return spec;
}

QuantizedWeight decode(const LinearSpec& spec, const TensorMap& packed, IntPacking layout, bool act_order) {
  const int64_t out = spec.out_features;
  const int64_t in = spec.in_features;
  const int bits = spec.quant.weight.bits;
  const at::Tensor qweight = packed.at("qweight").contiguous();
  const at::Tensor qzeros = packed.at("qzeros").contiguous();
  const auto* words = static_cast<const uint32_t*>(qweight.const_data_ptr());
  const auto* zero_words = static_cast<const uint32_t*>(qzeros.const_data_ptr());
  const int64_t groups = qzeros.size(0);
  QuantizedWeight weight;
  if (const auto stored = packed.find(kGroupIndex); stored != packed.end()) {
    const GroupShape shape = group_shape(out, in, spec.quant.weight.group_size);
    const at::Tensor index = scattered_index(stored->second, shape, act_order, spec.name);
    if (index.defined()) weight.extra[kGroupIndex] = index;
  }
  weight.codes = at::empty({out, in}, at::kByte);
  auto* codes = static_cast<uint8_t*>(weight.codes.data_ptr());
  at::parallel_for(0, out, kGrain, [&](int64_t begin, int64_t end) {
    if (is_gptq(layout))
      decode_gptq_words(words, out, in, bits, begin, end, codes);
    else
      decode_awq_words(words, out, in, bits, begin, end, codes);
  });
  at::Tensor zeros = at::empty({out, groups}, at::kByte);
  auto* zero_codes = static_cast<uint8_t*>(zeros.data_ptr());
  if (is_gptq(layout))
    decode_row_words(zero_words, out, groups, bits, zero_codes);
  else
    decode_awq_words(zero_words, out, groups, bits, 0, out, zero_codes);
  weight.scale = packed.at("scales").t().contiguous();
  at::Tensor zero_point = zeros.to(at::kFloat);
  if (layout == IntPacking::gptq_minus_one) zero_point.add_(1);
  // A symmetric layer has one zero point; if the file says otherwise, what it says is what loaders compute with.
  const bool implied = spec.quant.weight.sym && zero_point.eq(double(1 << (bits - 1))).all().item<bool>();
  if (!implied) weight.zero_point = zero_point;
  return weight;
}

int64_t in_range(int64_t value, int64_t low, int64_t high, std::string_view key, const std::string& what) {
  if (value < low || value > high) throw_input(str(what, ": '", key, "' is ", value, ", expected ", low, " to ", high));
  return value;
}

// A number, or [rows, columns] for 2-D blocks. 0, one group for the whole tensor, exists for floats only.
void read_group_size(const json::Object& fields, std::string_view key, TensorQuant& quant, const std::string& what) {
  const json::Value* value = json::find(fields, key);
  if (value == nullptr) return;
  const auto fail = [&] {
    throw_input(str(what, ": '", key, "' is ", json::dump(*value), ", expected -1 or a positive number"));
  };
  constexpr int64_t kLargest = int64_t{1} << 32;
  if (value->is_array()) {
    const json::Array& sides = value->get_array();
    if (sides.size() != 2) fail();
    for (const json::Value& side : sides)
      if (!side.is_int64() || side.get_int64() < 1 || side.get_int64() > kLargest) fail();
    quant.block_rows = sides[0].get_int64();
    quant.group_size = sides[1].get_int64();
    return;
  }
  const auto size = json::get_int(fields, key, what);
  const bool whole_tensor = *size == 0 && quant.data_type != "int";
  if (*size != -1 && *size < 1 && !whole_tensor) fail();
  if (*size > kLargest) fail();
  quant.group_size = *size;
  quant.block_rows = 0;
}

}  // namespace

std::optional<json::Object> stored_config(const std::filesystem::path& folder, const json::Object* config,
                                          const StoredConfig& which) {
  if (config == nullptr) return std::nullopt;
  if (const json::Object* found = quantization_config(config, which.method)) return *found;
  if (json::find(*config, "quantization_config") != nullptr) return std::nullopt;  // somebody else's
  for (const std::string_view file : which.files) {
    std::error_code error;
    const std::filesystem::path path = folder / file;
    if (!std::filesystem::is_regular_file(path, error)) continue;
    constexpr int64_t kLargest = int64_t{16} << 20;
    const json::Value value = json::read_file(path, kLargest);
    if (!value.is_object()) continue;
    const json::Object& object = value.get_object();
    const json::Value* method = json::find(object, "quant_method");
    const bool named =
        method != nullptr && method->is_string() && std::string_view(method->get_string()) == which.method;
    const bool recognised = method == nullptr && json::find(object, which.tell_tale) != nullptr;
    if (named || recognised) return object;
  }
  return std::nullopt;
}

const json::Object* quantization_config(const json::Object* config, std::string_view method) {
  if (config == nullptr) return nullptr;
  const json::Value* found = json::find(*config, "quantization_config");
  if (found == nullptr || !found->is_object()) return nullptr;
  const json::Value* name = json::find(found->get_object(), "quant_method");
  const bool same = name != nullptr && name->is_string() && std::string_view(name->get_string()) == method;
  return same ? &found->get_object() : nullptr;
}

LayerQuant read_scheme_fields(const json::Object& fields, LayerQuant base, const std::string& what) {
  TensorQuant& weight = base.weight;
  if (const auto type = json::get_string(fields, "data_type", what)) weight.data_type = *type;
  if (const auto bits = json::get_int(fields, "bits", what))
    weight.bits = static_cast<int>(in_range(*bits, 1, 16, "bits", what));
  read_group_size(fields, "group_size", weight, what);
  if (const auto sym = json::get_bool(fields, "sym", what)) weight.sym = *sym;
  if (const auto type = json::get_string(fields, "act_data_type", what)) base.act.data_type = *type;
  if (const auto bits = json::get_int(fields, "act_bits", what))
    base.act.bits = static_cast<int>(in_range(*bits, 1, 16, "act_bits", what));
  if (base.act.quantized()) read_group_size(fields, "act_group_size", base.act, what);
  if (const auto sym = json::get_bool(fields, "act_sym", what)) base.act.sym = *sym;
  if (const auto dynamic = json::get_bool(fields, "act_dynamic", what)) base.act.dynamic = *dynamic;
  return base;
}

std::unique_ptr<ModelSource> open_packed_folder(std::unique_ptr<ModelSource> folder, std::string packing,
                                                IntPacking layout, const LayerScheme& scheme_of,
                                                const AttentionQuant& attention, bool act_order,
                                                std::optional<PackedRotations> rotations) {
  const WeightSource& weights = folder->weights();
  PackedFolder packed{.kind = packing,
                      .layers = {},
                      .suffixes = {"qweight", "qzeros", "scales", "g_idx"},
                      .decode = {},
                      .attention = attention,
                      .rotations = std::move(rotations)};
  for (const TensorInfo& info : weights.tensors()) {
    if (!info.name.ends_with(kQweight)) continue;
    const LayerTensors tensors(weights, info.name.substr(0, info.name.size() - kQweight.size()));
    LayerQuant quant = scheme_of(tensors.layer());
    if (quant.weight.quantized() && (quant.weight.bits < 2 || quant.weight.bits > 8))
      tensors.fail(arkit::str("its config says ", quant.weight.bits, " bits, expected 2 to 8"));
    packed.layers.push_back(checked_spec(tensors, packing, layout, act_order, std::move(quant)));
  }
  packed.decode = [layout, act_order](const LinearSpec& spec, const TensorMap& tensors) {
    return decode(spec, tensors, layout, act_order);
  };
  return make_packed_source(std::move(folder), std::move(packed));
}

}  // namespace arkit::sdk
