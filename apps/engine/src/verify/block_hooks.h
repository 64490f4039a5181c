#pragma once
// What "linear" means while an export is compared with its source.

#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/sdk/block_hooks.h>

#include "inference/attention_quantizer.h"
#include "verify/tensor_check.h"

namespace arkit {

// The export's model with the source's weights in its quantized layers, and the source's norms and biases where these
// were tuned.
class SourceWeightsHook final : public sdk::PlainHook {
 public:
  SourceWeightsHook(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts)
      : exported_(exported), source_(source), facts_(facts) {}

  // Layers of the source that are loaded now.
  void lend(const std::vector<const Linear*>& layers);

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor norm_weight(std::string_view name, const at::Tensor& weight) override;

 private:
  const ModelSource& exported_;
  const ModelSource& source_;
  const ExportFacts& facts_;
  std::map<std::string, const Linear*, std::less<>> lent_;
};

// The export as it is: packed layers compute with their decoded weight, their bias and rounded inputs, attention with
// rounded keys, values and queries where these have scales.
class DecodedHook final : public sdk::PlainHook {
 public:
  DecodedHook(const ModelSource& exported, const Registry& registry);

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor attention(AttentionCall call) override;

  // ||x - xq|| / ||x|| of the inputs of a layer that were rounded, at most; 0 for others. Numbers that stand out make
  // it larger than that of normally distributed ones.
  [[nodiscard]] double input_error(std::string_view layer) const;
  // These layers are decoded once, until they are released.
  void keep(const std::vector<const Linear*>& layers);
  // The square of what rounding keys, values and queries costs.
  [[nodiscard]] double attention_error() const;
  // Mapped pages of a packed layer, and its decoded weight, may go.
  void release(const std::string& layer) noexcept;

 private:
  const ModelSource& exported_;
  const Registry& registry_;
  AttentionQuantizer attention_;
  std::map<std::string_view, const LinearSpec*> specs_;
  std::map<std::string, double, std::less<>> input_errors_;
  struct Decoded {
    at::Tensor weight, bias, act_max;  // undefined where the layer has none
  };
  [[nodiscard]] Decoded decode(const Linear& layer, const LinearSpec& spec) const;

  std::map<std::string, std::optional<Decoded>, std::less<>> kept_;
};

// What rounding errors of a given size make of a block, by trying: every layer's product is off by as much as errors of
// its weights and inputs would put it, up or down by chance, keys and queries likewise.
class DisturbedHook final : public sdk::PlainHook {
 public:
  // `errors` by layer and `state_error` relative; the same seed disturbs in the same way everywhere.
  DisturbedHook(std::map<std::string, double, std::less<>> errors, double state_error, uint32_t seed)
      : errors_(std::move(errors)), state_error_(state_error), chance_(seed) {}

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor attention(AttentionCall call) override;

 private:
  at::Tensor signs(at::IntArrayRef sizes);
  at::Tensor disturbed(const at::Tensor& state);

  std::map<std::string, double, std::less<>> errors_;
  double state_error_;
  std::mt19937 chance_;
};

}  // namespace arkit
