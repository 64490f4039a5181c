#pragma once
// A checkpoint with rotated weights (docs/spec/rotations.md 2): calibration, tuning, rounding and exporters see just
// another source. Tensors are turned as they are loaded, so memory holds one at a time.

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/hadamard.h>
#include <arkit/transform.h>

#include "rotation_spec.h"
#include "tensor_turn.h"

namespace arkit::rotation {

class RotatedSource final : public sdk::ForwardingSource, private Rotations {
 public:
  // Rotates at once what is fused into weights; a residual stream that turns gets an untied head. Throws
  // ErrorCode::unsupported when a size has no matrix or the family is unknown.
  RotatedSource(std::unique_ptr<ModelSource> original, RotationSpec spec, const RolesOf& roles);

  ~RotatedSource() override;

  // What is left for run time: rotates the inputs of the plan's quantized layers and only of those, and says so in
  // LayerQuant::rotation and QuantPlan::rotation. Replaces what an earlier call did. Throws ErrorCode::unsupported
  // naming the first layer whose in_features no block divides.
  void rotate_inputs(QuantPlan& plan);

  // The same for the layers that an export rotates, with its matrices: the source as that export saw it.
  void rotate_inputs_as(const ModelSource& exported);

  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override;
  // Codes are of weights that nobody turned, and static scales of states that did not turn.
  const PackedLayers* packed() const override { return nullptr; }
  const AttentionScales* attention_scales() const override { return nullptr; }
  const Rotations* rotations() const override { return record_ ? this : nullptr; }

 private:
  class Weights;
  using Rotation = std::shared_ptr<const HadamardRotation>;
  struct Online {
    std::string name;  // "r1", "r4", "hadamard"
    StoredRotation::Place place = StoredRotation::Place::layer;
    std::shared_ptr<const InputRotation> rotation;
    Rotation hadamard;  // the same, when it is one of ours
    bool random = false;
  };

  std::shared_ptr<const InputRotation> of_input(std::string_view layer) const override;
  std::shared_ptr<const InputRotation> of_query_key() const override { return query_key_; }
  const RotationRecord& record() const override { return *record_; }
  std::optional<StoredRotation> stored(std::string_view layer) const override;

  [[nodiscard]] Rotation matrix(int64_t size, bool random, int64_t which);
  void fuse(const RolesOf& roles);
  void fuse_residual(const Rotation& r1);
  void fuse_heads(const Rotation& r2);
  void add_bias_turn(const std::string& layer, const std::shared_ptr<const InputRotation>& output);
  void untie();
  void clear_online();
  void add_online(const std::string& layer, Online online);
  [[nodiscard]] Online online_for(const LayerPlan& layer, int64_t block_size);
  [[nodiscard]] int64_t block_size_for(const QuantPlan& plan) const;
  void record_layers(const QuantPlan& plan, int64_t block_size);
  void record_model();

  const RotationSpec spec_;
  json::Object config_;
  ModelRoles layout_;                           // of Kind::model
  std::set<std::string, std::less<>> readers_;  // every q, k, v, gate and up
  std::set<std::string, std::less<>> downs_;
  std::map<std::string, TensorTurn, std::less<>> turns_;
  std::map<std::string, Online, std::less<>> online_;  // by layer
  std::map<std::pair<int64_t, int64_t>, Rotation> matrices_;
  std::map<const HadamardRotation*, at::Tensor> stored_signs_;
  std::shared_ptr<const InputRotation> query_key_;
  std::optional<RotationRecord> record_;  // unset = nothing is left for run time
  std::unique_ptr<Weights> weights_;
};

// The text --rotation would take for an export that is rotated at run time, from what it says of itself; empty for
// others. Throws ErrorCode::unsupported where that does not tell all of it (random signs of fused rotations).
[[nodiscard]] std::string recorded_rotation(const ModelSource& exported);

}  // namespace arkit::rotation
