// Rotations by Hadamard matrices as a transform of the checkpoint (README.md).
#include <memory>
#include <string>
#include <utility>

#include <arkit/plugin.h>
#include <arkit/transform.h>

#include "rotated_source.h"
#include "rotation_spec.h"

namespace {

using arkit::rotation::RotatedSource;

constexpr const char* kSummary = "inputs and weights turned by Hadamard matrices (QuaRot), fused where they can be";

// The source is owned beside it.
class Inputs final : public arkit::RunTimePart {
 public:
  explicit Inputs(RotatedSource& source) : source_(source) {}
  void apply(arkit::QuantPlan& plan) override { source_.rotate_inputs(plan); }
  void apply_as(const arkit::ModelSource& exported) override { source_.rotate_inputs_as(exported); }

 private:
  RotatedSource& source_;
};

class HadamardTransform final : public arkit::Transform {
 public:
  const arkit::TransformInfo& info() const noexcept override {
    static constexpr arkit::TransformInfo kInfo{
        .name = "hadamard", .summary = kSummary, .stage = arkit::TransformStage::checkpoint, .option = "rotation"};
    return kInfo;
  }
  arkit::json::Object settings(const arkit::json::Object& given) const override {
    if (!given.empty()) (void)arkit::rotation::parse_rotation(arkit::json::dump(given));
    return given;
  }
  arkit::TransformedCheckpoint around(std::unique_ptr<arkit::ModelSource> original, const std::string& text,
                                      const arkit::RolesOf& roles) const override {
    auto source = std::make_unique<RotatedSource>(std::move(original), arkit::rotation::parse_rotation(text), roles);
    auto inputs = std::make_unique<Inputs>(*source);
    return {std::move(source), std::move(inputs)};
  }
  std::string recorded(const arkit::ModelSource& exported) const override {
    return arkit::rotation::recorded_rotation(exported);
  }
};

}  // namespace

ARKIT_PLUGIN("org.arkit.transform.hadamard", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::Transform, HadamardTransform>("hadamard", kSummary));
