#include <arkit/sdk/forward_context.h>

#include <vector>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/sdk/attention.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

at::Tensor key_mask_of(const at::Tensor& attention_mask, int64_t batch, int64_t seqlen) {
  if (!attention_mask.defined()) return {};
  ARKIT_CHECK(attention_mask.dim() == 2 && attention_mask.size(0) == batch && attention_mask.size(1) == seqlen,
              str("attention_mask must be [", batch, ", ", seqlen, "]"));
  at::Tensor real = attention_mask.to(at::kBool);
  return real.all().item<bool>() ? at::Tensor() : real;
}

at::Tensor positions_of(std::span<const SequenceSpan> sequences) {
  std::vector<at::Tensor> parts;
  for (const SequenceSpan& span : sequences) parts.push_back(at::arange(span.past, span.past + span.count, at::kLong));
  return (parts.size() == 1 ? parts.front() : at::cat(parts)).unsqueeze(0);
}

void check_sequences(int64_t batch, int64_t seqlen, bool masked, std::span<const SequenceSpan> sequences) {
  int64_t positions = 0;
  for (const SequenceSpan& span : sequences) {
    ARKIT_CHECK(span.count > 0 && span.past >= 0, "a sequence of a batch has new positions");
    positions += span.count;
  }
  ARKIT_CHECK(
      batch == 1 && positions == seqlen && !masked,
      str("sequences stand in one row without a mask, ", positions, " positions in [", batch, ", ", seqlen, "]"));
}

}  // namespace

ForwardContext forward_context(int64_t batch, int64_t seqlen, const at::Tensor& attention_mask,
                               const at::Tensor& position_ids, std::span<const SequenceSpan> sequences) {
  const c10::NoGradGuard no_grad;
  ForwardContext out;
  out.batch = batch;
  out.seqlen = seqlen;
  if (!sequences.empty()) check_sequences(batch, seqlen, attention_mask.defined(), sequences);
  out.sequences.assign(sequences.begin(), sequences.end());
  out.key_mask = key_mask_of(attention_mask, batch, seqlen);
  if (position_ids.defined())
    out.positions = position_ids;
  else
    out.positions = sequences.empty() ? at::arange(seqlen, at::kLong).unsqueeze(0) : positions_of(sequences);
  ARKIT_CHECK(out.positions.dim() == 2 && out.positions.size(1) == seqlen,
              str("position_ids must be [batch, ", seqlen, "]"));
  return out;
}

const at::Tensor& shared_mask(const ForwardContext& forward, int64_t past, int64_t count, int64_t window,
                              at::ScalarType dtype) {
  const auto [found, fresh] = forward.masks.try_emplace({past, count, window});
  if (fresh) {
    const c10::NoGradGuard no_grad;
    found->second =
        attention_mask({.past = past, .seqlen = count, .window = window, .key_mask = forward.key_mask}, dtype);
  }
  return found->second;
}

}  // namespace arkit::sdk
