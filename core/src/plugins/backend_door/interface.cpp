// What InferenceBackend and its units do by themselves.
#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/str.h>

namespace arkit {

PreparedUnit::~PreparedUnit() = default;

at::Tensor QuantLinear::forward(const at::Tensor& x) const {
  std::vector<at::Tensor> y = forward_all(x);
  ARKIT_CHECK(y.size() == 1, "one layer is wanted of several");
  return std::move(y.front());
}
std::string BackendDevice::id() const {
  return str(kind, ":", index);
}
bool BackendDevice::is(std::string_view wanted) const {
  return wanted.empty() || wanted == kind || wanted == id();
}
InferenceBackend::~InferenceBackend() = default;
BackendVerdict InferenceBackend::supports_all(std::span<const LinearSpec* const> layers,
                                              std::string_view wanted) const {
  const std::span<const BackendDevice> all = devices();
  BackendVerdict best;
  std::string reasons;
  for (size_t i = 0; i < all.size(); ++i) {
    if (!all[i].is(wanted)) continue;
    BackendVerdict verdict = supports_on(layers, i);
    if (verdict.score == 0)
      reasons += str(reasons.empty() ? "" : "; ", all.size() == 1 ? "" : all[i].id() + ": ", verdict.why_not);
    if (verdict.score > best.score) best = std::move(verdict);
  }
  if (best.score > 0) return best;
  best.why_not = all.empty() ? probe().why_not : reasons.empty() ? str("has no device '", wanted, "' here") : reasons;
  return best;
}
BackendVerdict InferenceBackend::supports(const LinearSpec& spec, std::string_view wanted) const {
  const LinearSpec* const one = &spec;
  return supports_all({&one, 1}, wanted);
}
std::unique_ptr<QuantLinear> InferenceBackend::make_linears(std::span<const LayerWeights> layers, size_t device,
                                                            at::ScalarType compute_dtype) const {
  return make_linears(layers, device, compute_dtype, {});
}
BackendVerdict InferenceBackend::supports_block(const BlockSpec& block, size_t /*device*/) const {
  BackendVerdict no;
  no.why_not = str("block '", block.layout->name, "': this backend runs layers, not blocks");
  return no;
}
std::unique_ptr<QuantBlock> InferenceBackend::make_block(const BlockWeights& block, size_t, at::ScalarType,
                                                         const at::Tensor&) const {
  ARKIT_CHECK(false, str("block '", block.spec.layout->name, "' was given to a backend that runs layers"));
}
std::unique_ptr<QuantLinear> InferenceBackend::make_linear(const LayerWeights& layer, size_t device,
                                                           at::ScalarType compute_dtype) const {
  return make_linears({&layer, 1}, device, compute_dtype);
}

}  // namespace arkit
