#pragma once
// Keys, values and queries as an engine with static scales would have them: each number rounded to the grid of its type
// and scaled back. The cache itself keeps the compute type: what is reproduced are the values, not the memory saved.

#include <map>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

class ARKIT_EXPORT AttentionQuantizer {
 public:
  // Reads the ranges of source.attention_specs(); throws what reading them throws.
  AttentionQuantizer(const ModelSource& source, const Registry& registry);

  [[nodiscard]] bool empty() const noexcept { return modules_.empty(); }
  // x itself for a module or state without scales.
  [[nodiscard]] at::Tensor operator()(std::string_view module, AttentionState state, const at::Tensor& x) const;

 private:
  struct Module {
    AttentionQuant quant;
    AttentionRanges ranges;
  };
  const Registry& registry_;
  std::map<std::string, Module, std::less<>> modules_;
};

}  // namespace arkit
