#include "tuning/attention_ranges.h"

#include <ATen/ATen.h>

namespace arkit {

at::Tensor AttentionRangeCollector::attention(AttentionCall call) {
  if (!wanted()) return inner_.attention(std::move(call));
  const auto calibrated = [&](AttentionState state, const at::Tensor& x) {
    see(call.module, state, x);
    return served(state, x);
  };
  call.query = calibrated(AttentionState::query, call.query);
  call.key = calibrated(AttentionState::key, call.key);
  call.value = calibrated(AttentionState::value, call.value);
  return inner_.attention(std::move(call));
}

void AttentionRangeCollector::see(std::string_view module, AttentionState state, const at::Tensor& x) {
  const bool is_query = state == AttentionState::query;
  if (!(is_query ? quant_.query : quant_.kv).quantized() || x.numel() == 0) return;
  const bool per_head = is_query ? quant_.query_per_head : quant_.kv_per_head;
  const std::vector<int64_t> dims = per_head ? std::vector<int64_t>{0, 2, 3} : std::vector<int64_t>{0, 1, 2, 3};
  const at::Tensor low = x.amin(dims).to(at::kFloat).reshape({-1}).clamp_max(0.0);
  const at::Tensor high = x.amax(dims).to(at::kFloat).reshape({-1}).clamp_min(0.0);
  Range& range = seen_[std::string(module)][static_cast<size_t>(state)];
  if (!range.low.defined()) {
    range = {low, high};
  } else if (quant_.averaging > 0.0) {
    range = {range.low.lerp(low, quant_.averaging), range.high.lerp(high, quant_.averaging)};
  } else {
    range = {at::minimum(range.low, low), at::maximum(range.high, high)};
  }
}

at::Tensor AttentionRangeCollector::served(AttentionState state, const at::Tensor& x) const {
  constexpr double kTop = 448.0, kFloor = 1.0 / (448.0 * 512.0);
  const bool rounded = quant_.kv.quantized() && quant_.kv.bits == 8 && quant_.averaging == 0.0;
  if (!rounded || state == AttentionState::query || x.numel() == 0) return x;
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor peak = quant_.kv_per_head ? wide.abs().amax({0, 2, 3}, true) : wide.abs().max();
  const at::Tensor scale = (peak / kTop).clamp_min(kFloor);
  return ((wide / scale).clamp(-kTop, kTop).to(at::kFloat8_e4m3fn).to(at::kFloat) * scale).to(x.scalar_type());
}

std::vector<AttentionRanges> AttentionRangeCollector::result() const {
  std::vector<AttentionRanges> all;
  for (const auto& [module, states] : seen_) {
    const auto largest = [&](AttentionState state) {
      const Range& range = states[static_cast<size_t>(state)];
      return range.low.defined() ? at::maximum(range.low.neg(), range.high) : at::Tensor();
    };
    all.push_back({.module = module,
                   .key = largest(AttentionState::key),
                   .value = largest(AttentionState::value),
                   .query = largest(AttentionState::query)});
  }
  return all;
}

}  // namespace arkit
