#include <arkit/sdk/attention_scales.h>

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr double kFp8Top = 448.0;
constexpr double kFp8Floor = 1.0 / (448.0 * 512.0);
constexpr double kNvTop = 2688.0;  // 448 * 6

struct State {
  char letter;
  at::Tensor AttentionRanges::*range;
};
constexpr State kKey{'k', &AttentionRanges::key}, kValue{'v', &AttentionRanges::value},
    kQuery{'q', &AttentionRanges::query};

std::vector<State> states_of(const AttentionQuant& quant) {
  std::vector<State> states;
  if (quant.kv.quantized()) states = {kKey, kValue};
  if (quant.query.quantized()) states.push_back(kQuery);
  return states;
}

const TensorQuant& type_of(const State& state, const AttentionQuant& quant) {
  return state.letter == 'q' ? quant.query : quant.kv;
}

bool is_fp8(const TensorQuant& quant) {
  return quant.bits == 8;
}

std::string tensor_name(const std::string& module, const State& state, const AttentionQuant& quant) {
  return arkit::str(module, ".", std::string(1, state.letter),
                    is_fp8(type_of(state, quant)) ? "_scale" : "_global_scale");
}

double top_of(const TensorQuant& quant) {
  return is_fp8(quant) ? kFp8Top : kNvTop;
}

}  // namespace

std::vector<PlannedTensor> attention_scale_tensors(const AttentionPlan& module, const AttentionQuant& quant,
                                                   const AttentionScaleLayout& layout) {
  std::vector<PlannedTensor> tensors;
  for (const State& state : states_of(quant)) {
    const bool query = state.letter == 'q';
    const int64_t heads = query ? module.heads : module.kv_heads;
    const bool per_head = query ? quant.query_per_head : quant.kv_per_head;
    std::vector<int64_t> shape = {per_head ? heads : 1};
    if (per_head && layout.broadcast_heads) shape.insert(shape.end(), {1, 1});
    tensors.push_back({tensor_name(module.name, state, quant), layout.dtype, std::move(shape)});
  }
  return tensors;
}

TensorMap attention_scales(const AttentionRanges& ranges, const AttentionQuant& quant,
                           const AttentionScaleLayout& layout) {
  TensorMap scales;
  for (const State& state : states_of(quant)) {
    const at::Tensor& range = ranges.*state.range;
    const TensorQuant& type = type_of(state, quant);
    ARKIT_CHECK(range.defined(), arkit::str("'", ranges.module, "' was not calibrated"));
    at::Tensor scale = range.to(layout.dtype).div(top_of(type));
    if (is_fp8(type)) scale = scale.clamp_min(kFp8Floor);
    const bool per_head = state.letter == 'q' ? quant.query_per_head : quant.kv_per_head;
    if (per_head && layout.broadcast_heads) scale = scale.view({-1, 1, 1});
    scales.emplace(tensor_name(ranges.module, state, quant), scale);
  }
  return scales;
}

std::vector<AttentionSpec> find_attention_scales(const WeightSource& weights, const AttentionQuant& quant) {
  std::vector<AttentionSpec> specs;
  if (!quant.quantized()) return specs;
  const std::vector<State> states = states_of(quant);
  const std::string suffix = tensor_name("", states.front(), quant);
  for (const TensorInfo& info : weights.tensors()) {
    if (!info.name.ends_with(suffix)) continue;
    AttentionSpec spec{.name = info.name.substr(0, info.name.size() - suffix.size()), .quant = quant, .tensors = {}};
    for (const State& state : states) {
      const std::string name = tensor_name(spec.name, state, quant);
      const TensorInfo* found = weights.find(name);
      if (found == nullptr)
        throw_input(
            str("'", printable(name), "' is missing; the configuration asks for it and its siblings are there"));
      const bool real = found->dtype == at::kFloat || found->dtype == at::kBFloat16 || found->dtype == at::kHalf;
      if (!real || found->numel() < 1)
        throw_input(arkit::str("'", printable(name), "' is ", found->stored_type, " ", at::IntArrayRef(found->shape),
                               ", expected one floating-point number, or one a head"));
      spec.tensors.push_back(name);
    }
    specs.push_back(std::move(spec));
  }
  if (specs.empty())
    throw_input(arkit::str("the configuration says that keys and values have static scales, but no tensor ends in '",
                           suffix, "'; the export is damaged"));
  return specs;
}

AttentionRanges read_attention_scales(const WeightSource& weights, const AttentionSpec& spec) {
  AttentionRanges ranges{.module = spec.name, .key = {}, .value = {}, .query = {}};
  for (const State& state : states_of(spec.quant)) {
    const std::string name = tensor_name(spec.name, state, spec.quant);
    const at::Tensor scale = weights.load(name).to(at::kFloat).reshape({-1});
    if (!scale.isfinite().all().item<bool>() || !scale.gt(0).all().item<bool>())
      throw_input(arkit::str("'", printable(name), "': a static scale is not a positive number"));
    ranges.*state.range = scale.mul(top_of(type_of(state, spec.quant)));
  }
  return ranges;
}

std::string attention_type_name(const TensorQuant& quant) {
  if (!quant.quantized()) return {};
  return is_fp8(quant) ? "fp8" : "nvfp4";
}

std::optional<TensorQuant> attention_type(const std::string& name) {
  TensorQuant quant;
  if (name == "fp8" || name == "float8_e4m3fn") {
    quant.data_type = "fp";
    quant.bits = 8;
    quant.group_size = 0;
    quant.dynamic = false;
    return quant;
  }
  if (name != "nvfp4") return std::nullopt;
  quant.data_type = "nv_fp4_with_static_gs";
  quant.bits = 4;
  quant.group_size = 16;
  return quant;
}

void add_static_attention(json::Object& config, const AttentionQuant& quant) {
  const auto granularity = [](bool per_head) { return per_head ? "head" : "tensor"; };
  if (quant.kv.quantized() && !quant.query.quantized()) {
    config["static_kv_dtype"] = attention_type_name(quant.kv);
    config["static_kv_granularity"] = granularity(quant.kv_per_head);
  }
  if (quant.query.quantized()) {
    config["static_attention_dtype"] = attention_type_name(quant.query);
    config["static_attention_granularity"] = granularity(quant.query_per_head);
  }
}

AttentionQuant read_static_attention(const json::Object& config, const std::string& what) {
  AttentionQuant quant;
  const auto read = [&](const std::string& key, TensorQuant& type, bool& per_head) {
    const auto name = json::get_string(config, "static_" + key + "_dtype", what);
    if (!name) return;
    std::string plain = lower(*name);
    if (plain.starts_with("torch.")) plain.erase(0, std::string_view("torch.").size());
    const auto known = attention_type(plain);
    if (!known)
      throw_unsupported(
          arkit::str(what, ": static_", key, "_dtype '", printable(*name), "' is not one of fp8 and nvfp4"));
    type = *known;
    per_head = json::get_string(config, "static_" + key + "_granularity", what).value_or("tensor") == "head";
  };
  read("attention", quant.query, quant.query_per_head);
  if (quant.query.quantized()) {
    quant.kv = quant.query;
    quant.kv_per_head = quant.query_per_head;
  }
  read("kv", quant.kv, quant.kv_per_head);
  return quant;
}

}  // namespace arkit::sdk
