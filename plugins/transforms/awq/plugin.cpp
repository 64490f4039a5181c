// AWQ: channels of activations that matter get more of a weight's range (README.md).
#include <algorithm>
#include <memory>

#include <arkit/plugin.h>
#include <arkit/transform.h>

#include "awq_search.h"
#include "awq_settings.h"

namespace {

constexpr const char* kSummary = "activation-aware channel scales, searched and folded into the weights (AWQ)";

class AwqTransform final : public arkit::Transform {
 public:
  const arkit::TransformInfo& info() const noexcept override {
    static constexpr arkit::TransformInfo kInfo{"awq", kSummary};
    return kInfo;
  }
  arkit::json::Object settings(const arkit::json::Object& given) const override {
    return arkit::awq::to_json(arkit::awq::read_settings(given));
  }
  arkit::Verdict wants(const arkit::ScalePlace& place, const arkit::QuantPlan& plan) const override {
    const bool rounded = std::any_of(place.into.begin(), place.into.end(), [&](const std::string& name) {
      const arkit::LayerPlan* layer = plan.find(name);
      return layer != nullptr && layer->quant.weight.quantized();
    });
    return rounded
               ? arkit::Verdict::yes()
               : arkit::Verdict::no("the weights that read it stay in 16 bits, so that scales would change nothing");
  }
  std::unique_ptr<arkit::BlockTransform> start(const arkit::json::Object& settings) const override {
    return std::make_unique<arkit::awq::Search>(arkit::awq::read_settings(settings));
  }
};

}  // namespace

ARKIT_PLUGIN("org.arkit.transform.awq", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Transform, AwqTransform>("awq", kSummary));
