#include "inference/attention_quantizer.h"

#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

namespace arkit {

AttentionQuantizer::AttentionQuantizer(const ModelSource& source, const Registry& registry) : registry_(registry) {
  for (const AttentionSpec& spec : sdk::attention_modules(source))
    modules_.emplace(spec.name, Module{spec.quant, source.attention_scales()->ranges(spec.name)});
}

at::Tensor AttentionQuantizer::operator()(std::string_view module, AttentionState state, const at::Tensor& x) const {
  const auto found = modules_.find(module);
  if (found == modules_.end()) return x;
  const auto& [quant, ranges] = found->second;
  const bool is_query = state == AttentionState::query;
  const TensorQuant& type = is_query ? quant.query : quant.kv;
  if (!type.quantized()) return x;
  const at::Tensor& range = is_query ? ranges.query : state == AttentionState::key ? ranges.key : ranges.value;
  ARKIT_CHECK(range.defined(), str("'", module, "' has no range for one of its states"));
  const Scheme& scheme = registry_.scheme_for(type.data_type);
  if (range.numel() == 1) return scheme.fake_quant_act(x, type, range.reshape({1}));
  if (range.numel() != x.size(1))
    throw_input(str("'", module, "': has ", range.numel(), " static scales for ", x.size(1), " heads"));
  std::vector<at::Tensor> heads;
  for (int64_t head = 0; head < x.size(1); ++head)
    heads.push_back(scheme.fake_quant_act(x.select(1, head), type, range.narrow(0, head, 1)));
  return at::stack(heads, 1);
}

AttentionCall AttentionQuantizer::rounded(AttentionCall call) const {
  if (empty()) return call;
  call.query = (*this)(call.module, AttentionState::query, call.query);
  call.key = (*this)(call.module, AttentionState::key, call.key);
  call.value = (*this)(call.module, AttentionState::value, call.value);
  return call;
}

}  // namespace arkit
