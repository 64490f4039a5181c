#pragma once
// A Hugging Face folder some of whose linear layers are packed: what every reader of a packed safetensors format gives
// back, and the checks such a reader makes before it believes a tensor.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/json.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

namespace arkit::sdk {

// The tensors of one packed layer as the headers describe them. Every fault throws ErrorCode::input naming layer and
// tensor.
class LayerTensors {
 public:
  LayerTensors(const WeightSource& weights, std::string layer) : weights_(weights), layer_(std::move(layer)) {}

  [[nodiscard]] const TensorInfo* find(std::string_view suffix) const;  // null = absent
  [[nodiscard]] const TensorInfo& get(std::string_view suffix) const;
  // A matrix with at least one element of one of these dtypes.
  [[nodiscard]] const TensorInfo& matrix(std::string_view suffix, std::initializer_list<at::ScalarType> dtypes) const;
  void expect(std::string_view suffix, std::initializer_list<at::ScalarType> dtypes, at::IntArrayRef shape) const;
  [[nodiscard]] at::Tensor load(std::string_view suffix) const;  // for small tensors that say what the others are
  // Whether there is a bias, which must be [out].
  [[nodiscard]] bool has_bias(int64_t out) const;
  [[nodiscard]] const std::string& layer() const noexcept { return layer_; }
  [[nodiscard]] LayerTensors of(std::string layer) const { return {weights_, std::move(layer)}; }  // another layer's
  [[noreturn]] void fail(const std::string& what) const;

 private:
  // Throws ErrorCode::unsupported for a type that is none of `dtypes` and could be somebody's choice in their place.
  void check_dtype(const TensorInfo& info, std::string_view suffix, std::initializer_list<at::ScalarType> dtypes) const;

  const WeightSource& weights_;
  std::string layer_;
};

// How the input of a layer is turned, and what the format stores of it.
struct PackedRotation {
  std::shared_ptr<const InputRotation> turns;  // null = it is not
  StoredRotation stored;
};

// What a format's configuration says of rotations, and how it keeps those of layer inputs.
struct PackedRotations {
  RotationRecord record;
  std::function<PackedRotation(const LayerTensors&)> input_of;  // asked once a layer, at open
  std::vector<std::string_view> suffixes;                       // tensors a layer may have for it; literals
  std::shared_ptr<const InputRotation> query_key;               // null = queries and keys stay as they are
};

struct PackedFolder {
  std::string kind;  // for people
  std::vector<LinearSpec> layers;
  std::vector<std::string_view> suffixes;  // tensors a layer may have, beside "bias"; literals
  // Codes from the tensors of a layer, by suffix.
  std::function<QuantizedWeight(const LinearSpec&, const TensorMap&)> decode;
  AttentionQuant attention{};  // what the configuration says of static scales; their tensors are found by name
  std::optional<PackedRotations> rotations{};
};

[[nodiscard]] std::unique_ptr<ModelSource> make_packed_source(std::unique_ptr<ModelSource> folder, PackedFolder packed);

}  // namespace arkit::sdk
