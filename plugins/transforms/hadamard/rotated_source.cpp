#include "rotated_source.h"

#include <algorithm>
#include <bit>
#include <utility>
#include <variant>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::rotation {
namespace {

constexpr std::string_view kHeadWeight = "lm_head.weight";
constexpr int64_t kDefaultBlock = 32, kNvBlock = 16;
constexpr int64_t kLargestStored = 4096;  // signs of a random rotation go into every layer: 16 MiB at most

enum Which : int64_t { kR1 = 1, kR2 = 2, kR3 = 3, kR4 = 4, kBlock = 5 };

}  // namespace

// The original's tensors, turned on load, and the head that was tied.
class RotatedSource::Weights final : public WeightSource {
 public:
  explicit Weights(const RotatedSource& owner) : owner_(owner) {
    const WeightSource& original = owner.inner().weights();
    std::vector<TensorInfo> tensors(original.tensors().begin(), original.tensors().end());
    // Tensors that one stored tensor serves twice.
    for (const auto& [name, turn] : owner.turns_) {
      if (original.find(name) != nullptr) continue;
      TensorInfo info = *original.find(turn.origin);
      info.name = name;
      tensors.push_back(std::move(info));
    }
    set_tensors(std::move(tensors));
  }
  at::Tensor load(std::string_view name) const override {
    const auto turn = owner_.turns_.find(name);
    const WeightSource& original = owner_.inner().weights();
    if (turn == owner_.turns_.end()) return original.load(name);
    at::Tensor tensor = turned(turn->second, original);
    original.release(turn->second.origin);
    return tensor;
  }
  void release(std::string_view name) const noexcept override {
    if (!owner_.turns_.contains(name)) owner_.inner().weights().release(name);
  }

 private:
  const RotatedSource& owner_;
};

RotatedSource::RotatedSource(std::unique_ptr<ModelSource> original, RotationSpec spec, const RolesOf& roles)
    : ForwardingSource(std::move(original)), spec_(std::move(spec)), config_(inner().config()) {
  if (spec_.kind == RotationSpec::Kind::model) fuse(roles);
  weights_ = std::make_unique<Weights>(*this);
}

RotatedSource::~RotatedSource() = default;

const WeightSource& RotatedSource::weights() const {
  return *weights_;
}

RotatedSource::Rotation RotatedSource::matrix(int64_t size, bool random, int64_t which) {
  Rotation& slot = matrices_[{size, random ? which : 0}];
  if (!slot)
    slot = std::make_shared<HadamardRotation>(
        size, random ? std::optional(spec_.seed + static_cast<uint64_t>(which)) : std::nullopt);
  return slot;
}

void RotatedSource::fuse(const RolesOf& roles) {
  layout_ = roles(inner());
  for (const BlockRoles& block : layout_.blocks) {
    readers_.insert({block.q, block.k, block.v, block.gate, block.up});
    downs_.insert(block.down);
  }
  const int64_t r1_size = spec_.rotation_size.value_or(layout_.hidden);
  if (layout_.hidden % r1_size != 0)
    throw_unsupported(str("rotation: 'rotation_size' ", r1_size, " does not divide hidden_size ", layout_.hidden));
  if (spec_.fuses_r1()) fuse_residual(matrix(r1_size, spec_.random_r1, kR1));
  if (spec_.r2) fuse_heads(matrix(layout_.head_dim, spec_.random_r2, kR2));
}

// docs/spec/rotations.md 5, R1 in the weights: the stream is E R; what reads it gets its norm's gain and R, what writes
// it R^T.
void RotatedSource::fuse_residual(const Rotation& r1) {
  turns_[layout_.embedding] = {.origin = layout_.embedding_origin, .gain = {}, .input = r1, .output = nullptr};
  turns_[std::string(kHeadWeight)] = {
      .origin = layout_.head_origin, .gain = layout_.final_norm, .input = r1, .output = nullptr};
  turns_[layout_.final_norm] = {
      .origin = layout_.final_norm, .gain = {}, .input = nullptr, .output = nullptr, .ones = true};
  const auto reads = [&](const std::string& layer, const std::string& norm) {
    turns_[layer + ".weight"] = {.origin = layer + ".weight", .gain = norm, .input = r1, .output = nullptr};
  };
  const auto writes = [&](const std::string& layer) {
    turns_[layer + ".weight"] = {.origin = layer + ".weight", .gain = {}, .input = nullptr, .output = r1};
    add_bias_turn(layer, r1);
  };
  for (const BlockRoles& block : layout_.blocks) {
    for (const std::string* layer : {&block.q, &block.k, &block.v}) reads(*layer, block.attention_norm);
    for (const std::string* layer : {&block.gate, &block.up}) reads(*layer, block.feed_forward_norm);
    for (const std::string* layer : {&block.o, &block.down}) writes(*layer);
    for (const std::string* norm : {&block.attention_norm, &block.feed_forward_norm})
      turns_[*norm] = {.origin = *norm, .gain = {}, .input = nullptr, .output = nullptr, .ones = true};
  }
  untie();
}

// docs/spec/rotations.md 5, R2: attention mixes values of a head over positions only, so each head's values may turn;
// the bias of v turns with them.
void RotatedSource::fuse_heads(const Rotation& r2) {
  for (const BlockRoles& block : layout_.blocks) {
    TensorTurn& value = turns_[block.v + ".weight"];
    value.origin = block.v + ".weight";
    value.output = r2;
    add_bias_turn(block.v, r2);
    TensorTurn& out = turns_[block.o + ".weight"];
    out.origin = block.o + ".weight";
    out.input = r2;
  }
}

void RotatedSource::add_bias_turn(const std::string& layer, const std::shared_ptr<const InputRotation>& output) {
  const std::string bias = layer + ".bias";
  if (inner().weights().find(bias) != nullptr)
    turns_[bias] = {.origin = bias, .gain = {}, .input = nullptr, .output = output};
}

void RotatedSource::untie() {
  config_["tie_word_embeddings"] = false;
}

std::shared_ptr<const InputRotation> RotatedSource::of_input(std::string_view layer) const {
  const auto found = online_.find(layer);
  return found == online_.end() ? nullptr : found->second.rotation;
}

void RotatedSource::clear_online() {
  for (const auto& [layer, online] : online_) {
    const auto turn = turns_.find(layer + ".weight");
    turn->second.input = nullptr;
    const TensorTurn& left = turn->second;
    if (!left.output && left.gain.empty()) turns_.erase(turn);
  }
  online_.clear();
  query_key_ = nullptr;
  record_.reset();
}

void RotatedSource::add_online(const std::string& layer, Online online) {
  const std::string weight = layer + ".weight";
  const TensorInfo* info = inner().weights().find(weight);
  if (info == nullptr || info->shape.size() != 2)
    throw_unsupported(str("rotation: layer '", layer, "' has no weight [out, in] of its own to rotate"));
  if (info->shape[1] % online.rotation->size() != 0)
    throw_unsupported(str("rotation: layer '", layer, "' has ", info->shape[1], " inputs, which blocks of ",
                          online.rotation->size(),
                          " do not divide; choose a smaller power of two with '\"block_size\"' (or "
                          "'\"rotation_size\"')"));
  TensorTurn& turn = turns_[weight];
  ARKIT_CHECK(turn.input == nullptr, str("layer '", layer, "' is rotated twice"));
  turn.origin = weight;
  turn.input = online.rotation;
  if (online.random && !stored_signs_.contains(online.hadamard.get()))
    stored_signs_[online.hadamard.get()] = online.hadamard->signs();
  online_[layer] = std::move(online);
}

RotatedSource::Online RotatedSource::online_for(const LayerPlan& layer, int64_t block_size) {
  using Place = StoredRotation::Place;
  const auto made = [&](std::string name, Place place, int64_t size, bool random, Which which) {
    if (!random && which != kBlock && !is_reference_hadamard(size))
      throw_unsupported(str("rotation: layer '", layer.name, "' needs a matrix of order ", size,
                            " at run time, which loaders cannot rebuild; pass \"rotation_size\": a power of two that "
                            "divides it"));
    if (random && size > kLargestStored)
      throw_unsupported(str("rotation: layer '", layer.name, "' would store a random matrix of order ", size,
                            "; pass \"rotation_size\": a power of two up to ", kLargestStored));
    const Rotation rotation = matrix(size, random, which);
    return Online{
        .name = std::move(name), .place = place, .rotation = rotation, .hadamard = rotation, .random = random};
  };
  if (spec_.kind == RotationSpec::Kind::per_layer) {
    if (layer.name.find("lm_head") != std::string::npos || layer.kind == LayerKind::embedding) return {};
    return made(spec_.random_signs ? "random_hadamard" : "hadamard", Place::layer, block_size, spec_.random_signs,
                kBlock);
  }
  const bool down = downs_.contains(layer.name), reads = readers_.contains(layer.name);
  if (spec_.r4 && down)
    return made("r4", Place::r4, spec_.rotation_size.value_or(layer.in_features), spec_.random_r4, kR4);
  if (spec_.r1 && spec_.online_r1 && reads)
    return made("r1", Place::r1, spec_.rotation_size.value_or(layer.in_features), spec_.random_r1, kR1);
  return {};
}

int64_t RotatedSource::block_size_for(const QuantPlan& plan) const {
  if (spec_.block_size) return *spec_.block_size;
  const TensorQuant& weight = plan.global.weight;
  const int64_t group = weight.group_size;
  if (spec_.from_group_size && group > 1 && std::has_single_bit(static_cast<uint64_t>(group))) return group;
  return weight.data_type.starts_with("nv") ? kNvBlock : kDefaultBlock;
}

void RotatedSource::rotate_inputs(QuantPlan& plan) {
  clear_online();
  plan.rotation = spec_.text;
  const int64_t block_size = block_size_for(plan);
  if (spec_.kind == RotationSpec::Kind::model && spec_.r3) {
    if (!is_reference_hadamard(layout_.head_dim))
      throw_unsupported(str("rotation: r3 has no matrix for heads of ", layout_.head_dim, "; leave r3 out"));
    query_key_ = matrix(layout_.head_dim, false, kR3);
  }
  for (LayerPlan& layer : plan.layers) {
    layer.quant.rotation.clear();
    if (!layer.quantized()) continue;
    Online online = online_for(layer, block_size);
    if (online.rotation) {
      layer.quant.rotation = str(online.random ? "random " : "", online.name, " ", online.rotation->size());
      add_online(layer.name, std::move(online));
    }
    const bool turns_keys = layer.name.ends_with(".q_proj") || layer.name.ends_with(".k_proj");
    if (query_key_ && turns_keys)
      layer.quant.rotation += str(layer.quant.rotation.empty() ? "" : ", ", "r3 ", query_key_->size());
  }
  if (spec_.kind == RotationSpec::Kind::per_layer)
    record_layers(plan, block_size);
  else
    record_model();
}

void RotatedSource::rotate_inputs_as(const ModelSource& exported) {
  clear_online();
  const Rotations* rotations = exported.rotations();
  if (rotations == nullptr) return;
  for (const LinearSpec& layer : sdk::packed_layers(exported))
    if (auto rotation = rotations->of_input(layer.name))
      add_online(layer.name, {.name = "export", .rotation = std::move(rotation), .hadamard = nullptr});
  query_key_ = rotations->of_query_key();
  record_ = rotations->record();
}

// The layers that stay as they are are named: a loader must not rotate those.
void RotatedSource::record_layers(const QuantPlan& plan, int64_t block_size) {
  LayerRotations record{.block_size = block_size, .random_signs = spec_.random_signs, .left_alone = {}};
  for (const LayerPlan& layer : plan.layers)
    if (!online_.contains(layer.name)) record.left_alone.push_back(layer.name);
  record_ = std::move(record);
}

// Nothing when all of it is in the weights.
void RotatedSource::record_model() {
  if (!spec_.online()) return;
  record_ = ModelRotations{.r1 = spec_.r1,
                           .r2 = spec_.r2,
                           .r3 = spec_.r3,
                           .r4 = spec_.r4,
                           .online_r1 = spec_.online_r1,
                           .rotation_size = spec_.rotation_size,
                           .random_r1 = spec_.random_r1,
                           .random_r2 = spec_.random_r2,
                           .random_r4 = spec_.random_r4,
                           .head_dim = layout_.head_dim,
                           .hidden_size = layout_.hidden,
                           .intermediate_size = layout_.intermediate};
}

std::optional<StoredRotation> RotatedSource::stored(std::string_view layer) const {
  const auto found = online_.find(layer);
  if (found == online_.end() || !found->second.hadamard) return std::nullopt;
  const Online& online = found->second;
  return StoredRotation{.place = online.place,
                        .size = online.hadamard->size(),
                        .matrix = online.random ? stored_signs_.at(online.hadamard.get()) : at::Tensor()};
}

std::string recorded_rotation(const ModelSource& exported) {
  const Rotations* rotations = exported.rotations();
  if (rotations == nullptr) return {};
  const auto* model = std::get_if<ModelRotations>(&rotations->record());
  if (model == nullptr) return "hadamard";  // the export has the matrices
  if ((model->r2 && model->random_r2) || (model->r1 && !model->online_r1 && model->random_r1))
    throw_unsupported(str("'", exported.path().string(),
                          "': its fused rotations have random signs that only the run that made it knows"));
  json::Object known{{"algorithm", "spinquant"}, {"r1", model->r1}, {"r2", model->r2},
                     {"r3", model->r3},          {"r4", model->r4}, {"online_r1_rotation", model->online_r1}};
  if (model->rotation_size) known["rotation_size"] = *model->rotation_size;
  return json::dump(known);
}

}  // namespace arkit::rotation
