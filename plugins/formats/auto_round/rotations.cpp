#include "rotations.h"

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/hadamard.h>
#include <arkit/str.h>

namespace arkit::auto_round {
namespace {

using Rotation = std::shared_ptr<const InputRotation>;

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
  Rotation stored(const at::Tensor& matrix, const std::string& what) {
    for (const auto& [known, rotation] : stored_)
      if (known.scalar_type() == matrix.scalar_type() && known.equal(matrix)) return rotation;
    stored_.emplace_back(matrix.clone(), matrix_rotation(matrix, what));
    return stored_.back().second;
  }

 private:
  std::map<int64_t, Rotation> by_size_;
  std::vector<std::pair<at::Tensor, Rotation>> stored_;
};

// The layer that holds the matrix of those without one: AutoRound's files keep it once, as all its layers share it.
// Empty = no layer has one.
std::string common_matrix(const WeightSource& weights) {
  for (const TensorInfo& info : weights.tensors())
    if (info.name.ends_with(str(".", kMatrix))) return info.name.substr(0, info.name.size() - kMatrix.size() - 1);
  return {};
}

// docs/spec/rotations.md 6, single layers: every packed layer but the head, in blocks. Where AutoRound's loader also
// turns the inputs of layers left in 16 bits, whose weights nobody turned, this one does not.
void read_layer_rotation(const json::Object& config, const WeightSource& weights, sdk::PackedRotations& rotations) {
  const std::string what = "rotation_config";
  const std::string type = json::get_string(config, "hadamard_type", what).value_or("hadamard");
  const int64_t block =
      checked_size(json::get_int(config, "block_size", what).value_or(32), "rotation_config: 'block_size'");
  if (type != "hadamard" && type != "random_hadamard")
    throw_unsupported(str("rotation_config: 'hadamard_type' is '", printable(type),
                          "'; expected hadamard or random_hadamard, which a loader can rebuild"));
  std::set<std::string> left;
  if (const json::Value* list = json::find(config, "not_rotated"))
    for (const json::Value& name : json::as_array(*list, "rotation_config: 'not_rotated'"))
      if (name.is_string()) left.emplace(name.get_string());
  rotations.config["rotation_config"] = config;
  rotations.suffixes = {kMatrix};
  rotations.input_of = [shared = std::make_shared<Shared>(), random = type == "random_hadamard", block,
                        common = common_matrix(weights),
                        left = std::move(left)](const sdk::LayerTensors& layer) -> Rotation {
    if (layer.layer().find("lm_head") != std::string::npos || left.contains(layer.layer())) return nullptr;
    if (!random) return shared->deterministic(block, "rotation_config");
    const sdk::LayerTensors holder = layer.find(kMatrix) != nullptr || common.empty() ? layer : layer.of(common);
    (void)holder.matrix(kMatrix, {at::kFloat, at::kBFloat16, at::kHalf, at::kDouble});
    const std::string name = str("layer '", printable(holder.layer()), "': 'hadamard_matrix'");
    return shared->stored(holder.load(kMatrix).t().contiguous(), name);
  };
}

// docs/spec/rotations.md 6, the model: type 0 is rebuilt from the size, 1 is stored as signs, 2 as floats.
Rotation model_rotation(const sdk::LayerTensors& layer, std::string_view prefix, Shared& shared) {
  const std::string type = str(prefix, "_type"), size = str(prefix, "_size"), matrix = str(prefix, "_matrix");
  if (layer.find(type) == nullptr) return nullptr;
  const auto number = [&](const std::string& suffix) {
    if (layer.get(suffix).dtype != at::kInt || layer.get(suffix).numel() != 1)
      layer.fail(str("'", suffix, "' is no single int32"));
    return layer.load(suffix).item<int>();
  };
  const std::string name = str("layer '", printable(layer.layer()), "': '", matrix, "'");
  switch (number(type)) {
    case 0:
      return shared.deterministic(checked_size(number(size), name), name);
    case 1:
      (void)layer.matrix(matrix, {at::kChar});
      break;
    case 2:
      (void)layer.matrix(matrix, {at::kFloat});
      break;
    default:
      layer.fail(str("'", type, "' is none of 0, 1 and 2"));
  }
  return shared.stored(layer.load(matrix), name);
}

void read_model_rotation(const json::Object& config, const json::Object& model, sdk::PackedRotations& rotations) {
  const std::string what = "spinquant_config";
  rotations.config["spinquant_config"] = config;
  rotations.suffixes = {"spinquant_r1_type", "spinquant_r1_size", "spinquant_r1_matrix",
                        "spinquant_r4_type", "spinquant_r4_size", "spinquant_r4_matrix"};
  rotations.input_of = [shared = std::make_shared<Shared>()](const sdk::LayerTensors& layer) -> Rotation {
    const Rotation r1 = model_rotation(layer, "spinquant_r1", *shared);
    return r1 ? r1 : model_rotation(layer, "spinquant_r4", *shared);
  };
  if (!json::get_bool(config, "r3", what).value_or(false)) return;
  if (json::get_bool(config, "random_r3", what).value_or(false))
    throw_unsupported("spinquant_config: 'random_r3' is on, but its matrix is not part of the checkpoint");
  int64_t head = json::get_int(config, "head_dim", what).value_or(0);
  if (head == 0) head = json::get_int(model, "head_dim", "config.json").value_or(0);
  rotations.query_key = Shared().deterministic(checked_size(head, "spinquant_config: 'head_dim'"), what);
}

}  // namespace

sdk::PackedRotations read_rotations(const json::Object& quantization, const ModelSource& folder) {
  sdk::PackedRotations rotations;
  if (const json::Value* config = json::find(quantization, "rotation_config"))
    read_layer_rotation(json::as_object(*config, "rotation_config"), folder.weights(), rotations);
  else if (const json::Value* other = json::find(quantization, "spinquant_config"))
    read_model_rotation(json::as_object(*other, "spinquant_config"), folder.config(), rotations);
  return rotations;
}

}  // namespace arkit::auto_round
