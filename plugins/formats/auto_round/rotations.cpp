#include "rotations.h"

#include <cmath>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <variant>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/hadamard.h>
#include <arkit/str.h>

namespace arkit::auto_round {
namespace {

using Rotation = std::shared_ptr<const InputRotation>;
using Place = StoredRotation::Place;

// Members of quantization_config.
constexpr std::string_view kLayers = "rotation_config", kModel = "spinquant_config";
constexpr std::string_view kMatrix = "hadamard_matrix";
constexpr int64_t kLargestSize = int64_t{1} << 20;

int64_t checked_size(int64_t size, const std::string& what) {
  if (size < 2 || size > kLargestSize) throw_input(str(what, " is ", size, ", expected 2 to ", kLargestSize));
  return size;
}

// One object for each size, so that layers which read the same input share its rotation.
class Shared {
 public:
  Rotation deterministic(int64_t size, const std::string& what) {
    if (!is_reference_hadamard(size)) throw_input(str(what, ": no Hadamard matrix of order ", size, " exists here"));
    Rotation& slot = by_size_[size];
    if (!slot) slot = std::make_shared<HadamardRotation>(size);
    return slot;
  }
  // Most checkpoints store the same matrix in every layer.
  sdk::PackedRotation stored(const at::Tensor& matrix, const std::string& what) {
    for (const auto& [known, rotation] : stored_)
      if (known.scalar_type() == matrix.scalar_type() && known.equal(matrix)) return rotation;
    const at::Tensor known = matrix.clone();
    const at::Tensor kept = known.scalar_type() == at::kChar ? known : known.to(at::kFloat);
    stored_.emplace_back(known,
                         sdk::PackedRotation{matrix_rotation(matrix, what), {.size = known.size(0), .matrix = kept}});
    return stored_.back().second;
  }

 private:
  std::map<int64_t, Rotation> by_size_;
  std::vector<std::pair<at::Tensor, sdk::PackedRotation>> stored_;
};

// The layer that holds the matrix of those without one: AutoRound's files keep it once, as all its layers share it.
// Empty = no layer has one.
std::string common_matrix(const WeightSource& weights) {
  for (const TensorInfo& info : weights.tensors())
    if (info.name.ends_with(str(".", kMatrix))) return info.name.substr(0, info.name.size() - kMatrix.size() - 1);
  return {};
}

// Of the model: "spinquant_r1_type" and so on.
std::string suffix_of(Place place, std::string_view what) {
  return str("spinquant_", place == Place::r4 ? "r4" : "r1", "_", what);
}

json::Object render(const LayerRotations& record) {
  json::Object config{{"algorithm", "hadamard"},
                      {"backend", "transform"},
                      {"block_size", record.block_size},
                      {"hadamard_type", record.random_signs ? "random_hadamard" : "hadamard"},
                      {"layerwise", false},
                      {"fuse_online_to_weight", nullptr},
                      {"allow_online_rotation", true}};
  if (record.left_alone.empty()) return config;
  json::Array names;
  for (const std::string& layer : record.left_alone) names.emplace_back(layer);
  config["not_rotated"] = std::move(names);
  return config;
}

json::Object render(const ModelRotations& record) {
  return {{"r1", record.r1},
          {"r2", record.r2},
          {"r3", record.r3},
          {"r4", record.r4},
          {"online_r1_rotation", record.online_r1},
          {"rotation_size", record.rotation_size ? json::Value(*record.rotation_size) : json::Value(nullptr)},
          {"random_r1", record.random_r1},
          {"random_r2", record.random_r2},
          {"random_r3", false},
          {"random_r4", record.random_r4},
          {"trainable_rotation", false},
          {"head_dim", record.head_dim},
          {"hidden_size", record.hidden_size},
          {"intermediate_size", record.intermediate_size},
          {"algorithm", "spinquant"}};
}

int64_t count_in(const json::Object& config, std::string_view key, std::string_view what) {
  const int64_t count = json::get_int(config, key, what).value_or(0);
  if (count < 0) throw_input(str(what, ": '", key, "' is ", count, ", expected a size"));
  return count;
}

// What is absent is as AutoRound has it by default.
ModelRotations read_model_record(const json::Object& config, const json::Object& model) {
  ModelRotations record;
  const auto read = [&](std::string_view key, bool& into) {
    into = json::get_bool(config, key, kModel).value_or(into);
  };
  read("r1", record.r1);
  read("r2", record.r2);
  read("r3", record.r3);
  read("r4", record.r4);
  read("online_r1_rotation", record.online_r1);
  read("random_r1", record.random_r1);
  read("random_r2", record.random_r2);
  read("random_r4", record.random_r4);
  record.rotation_size = json::get_int(config, "rotation_size", kModel);
  record.head_dim = count_in(config, "head_dim", kModel);
  if (record.head_dim == 0) record.head_dim = count_in(model, "head_dim", "config.json");
  record.hidden_size = count_in(config, "hidden_size", kModel);
  record.intermediate_size = count_in(config, "intermediate_size", kModel);
  return record;
}

// docs/spec/rotations.md 6, single layers: every packed layer but the head, in blocks. Where AutoRound's loader also
// turns the inputs of layers left in 16 bits, whose weights nobody turned, this one does not.
sdk::PackedRotations read_layer_rotation(const json::Object& config, const WeightSource& weights) {
  const std::string type = json::get_string(config, "hadamard_type", kLayers).value_or("hadamard");
  LayerRotations record{.block_size = checked_size(json::get_int(config, "block_size", kLayers).value_or(32),
                                                   "rotation_config: 'block_size'"),
                        .random_signs = type == "random_hadamard",
                        .left_alone = {}};
  if (type != "hadamard" && type != "random_hadamard")
    throw_unsupported(str("rotation_config: 'hadamard_type' is '", printable(type),
                          "'; expected hadamard or random_hadamard, which a loader can rebuild"));
  if (const json::Value* list = json::find(config, "not_rotated"))
    for (const json::Value& name : json::as_array(*list, "rotation_config: 'not_rotated'"))
      if (name.is_string()) record.left_alone.emplace_back(name.get_string());
  const auto input_of = [shared = std::make_shared<Shared>(), random = record.random_signs, size = record.block_size,
                         common = common_matrix(weights),
                         left = std::set(record.left_alone.begin(), record.left_alone.end())](
                            const sdk::LayerTensors& layer) -> sdk::PackedRotation {
    if (layer.layer().find("lm_head") != std::string::npos || left.contains(layer.layer())) return {};
    if (!random) return {shared->deterministic(size, std::string(kLayers)), {.size = size, .matrix = {}}};
    const sdk::LayerTensors holder = layer.find(kMatrix) != nullptr || common.empty() ? layer : layer.of(common);
    (void)holder.matrix(kMatrix, {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble});
    const std::string name = str("layer '", printable(holder.layer()), "': 'hadamard_matrix'");
    // Loaders compute x hadamard_matrix^T.
    return shared->stored(holder.load(kMatrix).t().contiguous(), name);
  };
  return {.record = std::move(record), .input_of = input_of, .suffixes = {kMatrix}, .query_key = nullptr};
}

// docs/spec/rotations.md 6, the model: type 0 is rebuilt from the size, 1 is stored as signs, 2 as floats.
sdk::PackedRotation model_rotation(const sdk::LayerTensors& layer, Place place, Shared& shared) {
  const std::string type = suffix_of(place, "type"), size = suffix_of(place, "size"),
                    matrix = suffix_of(place, "matrix");
  if (layer.find(type) == nullptr) return {};
  const auto number = [&](const std::string& suffix) {
    if (layer.get(suffix).dtype != at::kInt || layer.get(suffix).numel() != 1)
      layer.fail(str("'", suffix, "' is no single int32"));
    return layer.load(suffix).item<int>();
  };
  const std::string name = str("layer '", printable(layer.layer()), "': '", matrix, "'");
  switch (number(type)) {
    case 0: {
      const int64_t order = checked_size(number(size), name);
      return {shared.deterministic(order, name), {.place = place, .size = order, .matrix = {}}};
    }
    case 1:
      (void)layer.matrix(matrix, {at::kChar});
      break;
    case 2:
      (void)layer.matrix(matrix, {at::kFloat});
      break;
    default:
      layer.fail(str("'", type, "' is none of 0, 1 and 2"));
  }
  sdk::PackedRotation rotation = shared.stored(layer.load(matrix), name);
  rotation.stored.place = place;  // r1 and r4 may have the same
  return rotation;
}

sdk::PackedRotations read_model_rotation(const json::Object& config, const json::Object& model) {
  const ModelRotations record = read_model_record(config, model);
  sdk::PackedRotations rotations{
      .record = record,
      .input_of = [shared = std::make_shared<Shared>()](const sdk::LayerTensors& layer) -> sdk::PackedRotation {
        sdk::PackedRotation r1 = model_rotation(layer, Place::r1, *shared);
        return r1.turns ? r1 : model_rotation(layer, Place::r4, *shared);
      },
      .suffixes = {"spinquant_r1_type", "spinquant_r1_size", "spinquant_r1_matrix", "spinquant_r4_type",
                   "spinquant_r4_size", "spinquant_r4_matrix"},
      .query_key = nullptr};
  if (!record.r3) return rotations;
  if (json::get_bool(config, "random_r3", kModel).value_or(false))
    throw_unsupported("spinquant_config: 'random_r3' is on, but its matrix is not part of the checkpoint");
  rotations.query_key =
      Shared().deterministic(checked_size(record.head_dim, "spinquant_config: 'head_dim'"), std::string(kModel));
  return rotations;
}

}  // namespace

std::optional<sdk::PackedRotations> read_rotations(const json::Object& quantization, const ModelSource& folder) {
  if (const json::Value* config = json::find(quantization, kLayers))
    return read_layer_rotation(json::as_object(*config, kLayers), folder.weights());
  if (const json::Value* config = json::find(quantization, kModel))
    return read_model_rotation(json::as_object(*config, kModel), folder.config());
  return std::nullopt;
}

void write_rotations(const ModelSource& source, json::Object& quantization) {
  const Rotations* rotations = source.rotations();
  if (rotations == nullptr) return;
  if (const auto* layers = std::get_if<LayerRotations>(&rotations->record()))
    quantization[kLayers] = render(*layers);
  else
    quantization[kModel] = render(std::get<ModelRotations>(rotations->record()));
}

TensorMap rotation_tensors(const ModelSource& source, std::string_view layer) {
  const Rotations* rotations = source.rotations();
  const std::optional<StoredRotation> stored = rotations == nullptr ? std::nullopt : rotations->stored(layer);
  if (!stored) return {};
  const at::Tensor& matrix = stored->matrix;
  const bool signs = matrix.defined() && matrix.scalar_type() == at::kChar;
  TensorMap tensors;
  if (stored->place != Place::layer) {
    tensors[suffix_of(stored->place, "type")] = at::scalar_tensor(!matrix.defined() ? 0 : signs ? 1 : 2, at::kInt);
    tensors[suffix_of(stored->place, "size")] = at::scalar_tensor(stored->size, at::kInt);
    if (matrix.defined()) tensors[suffix_of(stored->place, "matrix")] = matrix;
  } else if (matrix.defined()) {
    const at::Tensor floats = matrix.t().to(at::kFloat);  // loaders compute x hadamard_matrix^T
    tensors[std::string(kMatrix)] =
        (signs ? floats.div(std::sqrt(static_cast<double>(stored->size))) : floats).contiguous();
  }
  return tensors;
}

}  // namespace arkit::auto_round
