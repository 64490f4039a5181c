#include <arkit/sdk/attention.h>

#include <limits>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>

#include "attention_tiles.h"
#include "fixed_kernels.h"

namespace arkit::sdk {
namespace {

constexpr int64_t kSmallCall = 4096;  // scores

// attention() under a FixedOrder: f32, one query after the other.
at::Tensor attention_fixed(const at::Tensor& query, const at::Tensor& key, const at::Tensor& value,
                           const at::Tensor& mask, double scale, double softcap) {
  const at::NoGradGuard no_grad;
  const int64_t batch = query.size(0), heads = query.size(1), seqlen = query.size(2), head_dim = query.size(3);
  const int64_t keys = key.size(2), value_dim = value.size(3), repeat = heads / key.size(1);
  const auto prepared = [](const at::Tensor& x) {
    const at::Tensor wide = x.to(at::kFloat);
    return wide.stride(3) == 1 ? wide : wide.contiguous();
  };
  const at::Tensor q = prepared(query), k = prepared(key), v = prepared(value);
  at::Tensor bias;
  if (mask.defined()) bias = mask.to(at::kFloat).expand({batch, 1, seqlen, keys}).contiguous();
  at::Tensor out = at::empty({batch, seqlen, heads, value_dim}, at::kFloat);
  const auto at = [](const at::Tensor& x, int64_t b, int64_t h, int64_t s) {
    return x.const_data_ptr<float>() + b * x.stride(0) + h * x.stride(1) + s * x.stride(2);
  };
  at::parallel_for(0, batch * heads, 1, [&](int64_t begin, int64_t end) {
    std::vector<float> shares(static_cast<size_t>(keys));
    for (int64_t i = begin; i < end; ++i)
      for (int64_t s = 0; s < seqlen; ++s) {
        const int64_t b = i / heads, h = i % heads;
        const kernels::FixedQuery call{.query = at(q, b, h, s),
                                       .key = at(k, b, h / repeat, 0),
                                       .value = at(v, b, h / repeat, 0),
                                       .mask = bias.defined() ? at(bias, b, 0, s) : nullptr,
                                       .key_stride = k.stride(2),
                                       .value_stride = v.stride(2),
                                       .keys = bias.defined() || seqlen == 1 ? keys : s + 1,
                                       .head_dim = head_dim,
                                       .value_dim = value_dim,
                                       .scale = static_cast<float>(scale),
                                       .softcap = static_cast<float>(softcap)};
        kernels::fixed_attend(call, shares.data(),
                              out.mutable_data_ptr<float>() + ((b * seqlen + s) * heads + h) * value_dim);
      }
  });
  return out.view({batch, seqlen, heads * value_dim}).to(query.scalar_type());
}

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
                         const at::Tensor& mask, double scale, double softcap) {
  const at::ScalarType dtype = query.scalar_type();
  const int64_t seqlen = query.size(2), keys = key.size(2), repeat = query.size(1) / key.size(1);
  at::Tensor scores = at::matmul(query, key.repeat_interleave(repeat, 1).transpose(2, 3)) * scale;
  if (softcap > 0.0) scores = at::tanh(scores / softcap) * softcap;
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
                     double scale, double softcap) {
  const int64_t seqlen = query.size(2), keys = key.size(2);
  ARKIT_CHECK(mask.defined() || seqlen == 1 || seqlen == keys,
              "attention: a causal call needs as many keys as queries");
  if (FixedOrder::active()) return attention_fixed(query, key, value, mask, scale, softcap);
  // In bf16 the operator chain rounds scores and shares, the fused kernel does not; where speed is no concern the
  // results are the reference's bit for bit.
  const int64_t scores = query.size(0) * query.size(1) * seqlen * keys;
  const bool deterministic = at::globalContext().deterministicAlgorithms();
  const bool small = query.scalar_type() != at::kFloat && scores <= kSmallCall && !deterministic;
  if (small) return attention_ref(query, key, value, mask, scale, softcap);
  if ((deterministic || softcap > 0.0) && query.scalar_type() != at::kFloat) {
    // Kernels for bf16 split by the number of threads; f32 takes one way for all, and the result is rounded once.
    const at::Tensor wide_mask = mask.defined() ? mask.to(at::kFloat) : mask;
    return attention(query.to(at::kFloat), key.to(at::kFloat), value.to(at::kFloat), wide_mask, scale, softcap)
        .to(query.scalar_type());
  }
  if (softcap > 0.0)  // no fused kernel bends scores
    return capped_tiles_apply(query, key, value)
               ? capped_tiles(query, key, value, {.scale = scale, .cap = softcap, .mask = mask})
               : attention_ref(query, key, value, mask, scale, softcap);
  const bool causal = !mask.defined() && seqlen > 1;
  if (causal && attention_tiles_apply(query, key, value)) return attention_tiles(query, key, value, scale);
  const at::Tensor out = at::scaled_dot_product_attention(
      query, key, value, mask.defined() ? std::optional<at::Tensor>(mask) : std::nullopt, 0.0, causal, scale,
      query.size(1) != key.size(1));
  // The fused kernel lays its result out as [batch, S, heads, head_dim] already: no copy.
  return out.transpose(1, 2).reshape({query.size(0), seqlen, query.size(1) * value.size(3)});
}

}  // namespace arkit::sdk
