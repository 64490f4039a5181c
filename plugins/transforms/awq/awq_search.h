#pragma once
// The search: which scales lose least when the layers of a place are rounded.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/transform.h>

#include "awq_scales.h"
#include "awq_settings.h"

namespace arkit::awq {

class Search final : public BlockTransform {
 public:
  explicit Search(const Settings& settings) : settings_(settings) {}
  void begin(std::span<const ScalePlace> places, const BlockScene& scene) override;
  [[nodiscard]] ScaleChoice choose(const ScalePlace& place, const BlockScene& scene) override;

 private:
  class Watch;
  class Trial;
  // What the original block gave, for the samples of the search.
  struct Seen {
    std::vector<std::string> order;                          // of the layers within the block
    std::map<std::string, std::vector<at::Tensor>> outputs;  // of measured layers, a tensor a batch
    std::map<std::string, at::Tensor> magnitudes;            // f64 [in], sum of |x|, by the first layer of a place
    std::map<std::string, int64_t> rows;
    std::map<std::string, at::Tensor> moments;  // x^T x, by layers that are alone in their place
  };

  // Sum of squared differences of the measured output, where the layers of `place` are rounded with these scales.
  [[nodiscard]] double loss(const ScalePlace& place, const at::Tensor& scales, const BlockScene& scene,
                            bool skip) const;
  [[nodiscard]] bool may_skip(const ScalePlace& place, const BlockScene& scene);

  const Settings settings_;
  std::vector<int64_t> samples_;
  Seen seen_;
  std::map<size_t, bool> may_skip_;  // by the number of layers before a place; found in the first block
};

}  // namespace arkit::awq
