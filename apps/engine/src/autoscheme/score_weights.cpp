#include "autoscheme/score_weights.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "rounding/global_scales.h"
#include "rounding/strip_rounding.h"
#include "util/finite.h"
#include "util/naming_layer.h"

namespace arkit::auto_scheme {

at::Tensor rounded_weight(const Linear& layer, const LayerPlan& plan, const SchemeFor& scheme_for,
                          const at::Tensor& global_scale, const Importance& importance) {
  const TensorQuant& quant = plan.quant.weight;
  if (!quant.quantized()) return layer.weight;
  const Scheme& scheme = scheme_for(quant.data_type);
  if (quant.super_bits > 0) {
    io::check_finite(layer.weight, layer.name + ".weight");
    return plugins::naming_layer(layer.name, [&] {
      const QuantizedWeight rounded = scheme.quantize_rtn(layer.weight, quant, RtnMode::searched, importance.squares,
                                                          importance.count, global_scale);
      return scheme.dequantize(rounded, quant, layer.weight.scalar_type());
    });
  }
  StripRounding rounding({.linear = layer,
                          .plan = plan,
                          .scheme = scheme,
                          .global_scale = global_scale,
                          .dequantized = layer.weight.scalar_type()});
  at::parallel_for(0, rounding.strips(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t strip = begin; strip < end; ++strip) rounding.round(strip);
  });
  return rounding.dequantized();
}

std::unordered_map<std::string_view, size_t> index_by_name(std::span<const PoolLayer> pool) {
  std::unordered_map<std::string_view, size_t> out;
  for (size_t i = 0; i < pool.size(); ++i)
    if (pool[i].plan.kind != LayerKind::embedding) out.emplace(pool[i].plan.name, i);
  return out;
}

PoolBlock::PoolBlock(std::span<Linear* const> linears, std::span<const PoolLayer> pool,
                     const std::unordered_map<std::string_view, size_t>& by_name)
    : pool_(pool) {
  for (const Linear* linear : linears) {
    const auto found = by_name.find(linear->name);
    if (found == by_name.end()) continue;
    if (!linear->weight.defined())
      throw_unsupported(str("layer '", linear->name,
                            "' is quantized already: AutoScheme needs a model in floating point; name the original"));
    layers_.push_back({linear, found->second});
  }
}

std::vector<PoolBlock::Rounding> PoolBlock::roundings(std::span<const size_t> choice,
                                                      const SchemeFor& scheme_for) const {
  std::vector<Rounding> out;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const PoolLayer& layer = pool_[layers_[i].index];
    out.push_back({.plan = layer.plan, .global_scale = {}});
    out.back().plan.quant = choice[i] == kLeftAlone ? LayerQuant{} : layer.quants[choice[i]];
  }
  std::vector<GlobalScaleMember> members;
  for (size_t i = 0; i < layers_.size(); ++i) {
    const TensorQuant& quant = out[i].plan.quant.weight;
    members.push_back(
        {&out[i].plan, quant.quantized() ? &scheme_for(quant.data_type) : nullptr, layers_[i].linear->weight, {}});
  }
  share_global_scales(members, true);
  for (size_t i = 0; i < out.size(); ++i) out[i].global_scale = members[i].scale;
  return out;
}

}  // namespace arkit::auto_scheme
