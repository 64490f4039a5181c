#include <arkit/sdk/attention.h>

#include <limits>

#include <ATen/ATen.h>

#include <arkit/error.h>

#include "attention_tiles.h"

namespace arkit::sdk {
namespace {

constexpr int64_t kSmallCall = 4096;  // scores

double lowest(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return static_cast<double>(std::numeric_limits<c10::BFloat16>::lowest());
  if (dtype == at::kHalf) return static_cast<double>(std::numeric_limits<c10::Half>::lowest());
  return static_cast<double>(std::numeric_limits<float>::lowest());
}

}  // namespace

at::Tensor attention_mask(const MaskSpec& spec, at::ScalarType dtype) {
  const int64_t keys = spec.past + spec.seqlen;
  const bool windowed = spec.window > 0 && spec.window < keys;
  const bool plain = spec.past == 0 || spec.seqlen == 1;
  if (!spec.key_mask.defined() && !windowed && plain) return {};
  const at::Tensor query_slot = at::arange(spec.past, keys, at::kLong).unsqueeze(1);
  const at::Tensor key_slot = at::arange(keys, at::kLong).unsqueeze(0);
  at::Tensor allowed = key_slot.le(query_slot);
  if (windowed) allowed = allowed.logical_and(key_slot.gt(query_slot - spec.window));
  allowed = allowed.unsqueeze(0).unsqueeze(0);
  if (spec.key_mask.defined()) allowed = allowed.logical_and(spec.key_mask.unsqueeze(1).unsqueeze(1));
  return at::zeros(allowed.sizes(), dtype).masked_fill_(allowed.logical_not(), lowest(dtype));
}

at::Tensor attention_ref(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                         const at::Tensor& mask, double scale) {
  const at::ScalarType dtype = query.scalar_type();
  const int64_t seqlen = query.size(2), keys = key.size(2), repeat = query.size(1) / key.size(1);
  at::Tensor scores = at::matmul(query, key.repeat_interleave(repeat, 1).transpose(2, 3)) * scale;
  if (mask.defined()) {
    scores = scores + mask;
  } else if (seqlen > 1) {
    const at::Tensor allowed = at::ones({seqlen, keys}, at::kBool).tril();
    scores = scores + at::zeros({seqlen, keys}, dtype).masked_fill_(allowed.logical_not(), lowest(dtype));
  }
  const at::Tensor shares = scores.softmax(-1, at::kFloat).to(dtype);
  return at::matmul(shares, value.repeat_interleave(repeat, 1)).transpose(1, 2).flatten(2);
}

at::Tensor attention(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value, const at::Tensor& mask,
                     double scale) {
  const int64_t seqlen = query.size(2), keys = key.size(2);
  ARKIT_CHECK(mask.defined() || seqlen == 1 || seqlen == keys,
              "attention: a causal call needs as many keys as queries");
  // In bf16 the operator chain rounds scores and shares, the fused kernel does not; where speed is no concern the
  // results are the reference's bit for bit.
  const int64_t scores = query.size(0) * query.size(1) * seqlen * keys;
  if (query.scalar_type() != at::kFloat && scores <= kSmallCall) return attention_ref(query, key, value, mask, scale);
  const bool causal = !mask.defined() && seqlen > 1;
  if (causal && attention_tiles_apply(query, key)) return attention_tiles(query, key, value, scale);
  const at::Tensor out = at::scaled_dot_product_attention(
      query, key, value, mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0, causal, scale,
      query.size(1) != key.size(1));
  // The fused kernel lays its result out as [batch, S, heads, head_dim] already: no copy.
  return out.transpose(1, 2).reshape({query.size(0), seqlen, query.size(1) * query.size(3)});
}

}  // namespace arkit::sdk
