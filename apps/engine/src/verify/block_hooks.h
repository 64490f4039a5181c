#pragma once
// What "linear" means while an export is compared with its source.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "inference/attention_quantizer.h"
#include "verify/tensor_check.h"

namespace arkit {

// The export's model with the source's weights in its quantized layers, and the source's norms and biases where these
// were tuned.
class SourceWeightsHook final : public BlockHook {
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

// The export as it is: packed layers compute with their decoded weight, their bias and rounded inputs.
class DecodedHook final : public BlockHook {
 public:
  DecodedHook(const ModelSource& exported, const Registry& registry);

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override;
  at::Tensor attention_state(std::string_view module, AttentionState state, const at::Tensor& x) override;

  // ||x - xq|| / ||x|| of the inputs of a layer that were rounded, at most; 0 for others. Numbers that stand out make
  // it larger than that of normally distributed ones.
  [[nodiscard]] double input_error(std::string_view layer) const;
  // The square of what rounding keys, values and queries costs.
  [[nodiscard]] double attention_error() const;
  // Mapped pages of a packed layer may go.
  void release(const std::string& layer) const noexcept;

 private:
  const ModelSource& exported_;
  const Registry& registry_;
  AttentionQuantizer attention_;
  std::map<std::string_view, const LinearSpec*> specs_;
  std::map<std::string, double, std::less<>> input_errors_;
};

}  // namespace arkit
