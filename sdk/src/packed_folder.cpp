#include <arkit/sdk/packed_folder.h>

#include <algorithm>
#include <map>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/attention_scales.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

constexpr std::string_view kBias = "bias";

std::string names_of(std::initializer_list<at::ScalarType> dtypes) {
  std::string names;
  for (const at::ScalarType dtype : dtypes) names += (names.empty() ? "" : " or ") + std::string(c10::toString(dtype));
  return names;
}

// A tensor of another type of the same kind, such as scales in F64 where BF16 was known, is somebody's layout and no
// damage, and one byte may hold any code; another integer in place of packed words is.
bool is_relative_of(at::ScalarType dtype, std::initializer_list<at::ScalarType> dtypes) {
  const auto real = [](at::ScalarType type) { return at::isFloatingType(type) || at::isComplexType(type); };
  const auto byte = [](at::ScalarType type) { return c10::elementSize(type) == 1; };
  return std::any_of(dtypes.begin(), dtypes.end(), [&](at::ScalarType known) {
    return (real(known) && real(dtype)) || (byte(known) && byte(dtype));
  });
}

bool is_one_of(at::ScalarType dtype, std::initializer_list<at::ScalarType> dtypes) {
  return std::find(dtypes.begin(), dtypes.end(), dtype) != dtypes.end();
}

class PackedSource final : public ForwardingSource, private PackedLayers, private AttentionScales, private Rotations {
 public:
  PackedSource(std::unique_ptr<ModelSource> folder, PackedFolder packed)
      : ForwardingSource(std::move(folder)), packed_(std::move(packed)) {
    for (size_t i = 0; i < packed_.layers.size(); ++i) by_name_.emplace(packed_.layers[i].name, i);
    attention_ = find_attention_scales(weights(), packed_.attention);
    if (packed_.rotations) find_rotations(*packed_.rotations);
  }

  [[nodiscard]] std::string kind() const override { return packed_.kind; }
  [[nodiscard]] const PackedLayers* packed() const override { return packed_.layers.empty() ? nullptr : this; }
  [[nodiscard]] const AttentionScales* attention_scales() const override { return attention_.empty() ? nullptr : this; }
  [[nodiscard]] const Rotations* rotations() const override { return packed_.rotations ? this : nullptr; }

 private:
  [[nodiscard]] std::span<const LinearSpec> layers() const override { return packed_.layers; }

  [[nodiscard]] TensorMap tensors(std::string_view layer) const override {
    const std::string& name = spec_of(layer).name;
    TensorMap tensors;
    const auto take = [&](std::string_view suffix) {
      const std::string full = str(name, ".", suffix);
      if (weights().find(full) != nullptr) tensors.emplace(suffix, weights().load(full));
    };
    for (const std::string_view suffix : packed_.suffixes) take(suffix);
    if (packed_.rotations)
      for (const std::string_view suffix : packed_.rotations->suffixes) take(suffix);
    take(kBias);
    return tensors;
  }

  [[nodiscard]] QuantizedWeight unpack(std::string_view layer) const override {
    return packed_.decode(spec_of(layer), tensors(layer));
  }

  [[nodiscard]] std::shared_ptr<const InputRotation> of_input(std::string_view layer) const override {
    const auto found = rotated_.find(layer);
    return found == rotated_.end() ? nullptr : found->second.turns;
  }
  [[nodiscard]] std::shared_ptr<const InputRotation> of_query_key() const override {
    return packed_.rotations->query_key;
  }
  [[nodiscard]] const RotationRecord& record() const override { return packed_.rotations->record; }
  [[nodiscard]] std::optional<StoredRotation> stored(std::string_view layer) const override {
    const auto found = rotated_.find(layer);
    return found == rotated_.end() ? std::nullopt : std::optional(found->second.stored);
  }

  [[nodiscard]] std::span<const AttentionSpec> modules() const override { return attention_; }

  [[nodiscard]] AttentionRanges ranges(std::string_view module) const override {
    for (const AttentionSpec& spec : attention_)
      if (spec.name == module) return read_attention_scales(weights(), spec);
    throw_input(str("'", path().string(), "': has no static scales of '", printable(module), "'"));
  }

  void find_rotations(const PackedRotations& rotations) {
    for (LinearSpec& spec : packed_.layers) {
      const LayerTensors tensors(weights(), spec.name);
      PackedRotation rotation = rotations.input_of(tensors);
      if (!rotation.turns) continue;
      const int64_t size = rotation.turns->size();
      if (spec.in_features % size != 0)
        tensors.fail(
            arkit::str("is rotated in blocks of ", size, ", which do not divide its ", spec.in_features, " inputs"));
      spec.quant.rotation = arkit::str("blocks of ", size);
      rotated_.emplace(spec.name, std::move(rotation));
    }
  }

  const LinearSpec& spec_of(std::string_view layer) const {
    const auto found = by_name_.find(layer);
    if (found == by_name_.end())
      throw_input(str("'", path().string(), "': has no packed layer '", printable(layer), "'"));
    return packed_.layers[found->second];
  }

  PackedFolder packed_;
  std::map<std::string, size_t, std::less<>> by_name_;
  std::vector<AttentionSpec> attention_;
  std::map<std::string, PackedRotation, std::less<>> rotated_;  // by layer
};

}  // namespace

void LayerTensors::check_dtype(const TensorInfo& info, std::string_view suffix,
                               std::initializer_list<at::ScalarType> dtypes) const {
  if (is_one_of(info.dtype, dtypes) || !is_relative_of(info.dtype, dtypes)) return;
  throw_unsupported(str("layer '", printable(layer_), "': '", suffix, "' is stored as ", printable(info.stored_type),
                        ", which arkit does not read there, only ", names_of(dtypes),
                        "; convert it, or quantize the model it was made from"));
}

void LayerTensors::fail(const std::string& what) const {
  throw_input(str("layer '", printable(layer_), "': ", what, "; the export is damaged or not what its config says"));
}

const TensorInfo* LayerTensors::find(std::string_view suffix) const {
  return weights_.find(str(layer_, ".", suffix));
}

const TensorInfo& LayerTensors::get(std::string_view suffix) const {
  const TensorInfo* info = find(suffix);
  if (info == nullptr) fail(arkit::str("is packed but has no '", suffix, "'"));
  return *info;
}

const TensorInfo& LayerTensors::matrix(std::string_view suffix, std::initializer_list<at::ScalarType> dtypes) const {
  const TensorInfo& info = get(suffix);
  check_dtype(info, suffix, dtypes);
  const bool good = is_one_of(info.dtype, dtypes) && info.shape.size() == 2 && info.shape[0] > 0 && info.shape[1] > 0;
  if (!good)
    fail(arkit::str("'", suffix, "' is ", info.stored_type, " ", at::IntArrayRef(info.shape), ", expected a matrix of ",
                    names_of(dtypes)));
  return info;
}

void LayerTensors::expect(std::string_view suffix, std::initializer_list<at::ScalarType> dtypes,
                          at::IntArrayRef shape) const {
  const TensorInfo& info = get(suffix);
  check_dtype(info, suffix, dtypes);
  if (!is_one_of(info.dtype, dtypes) || at::IntArrayRef(info.shape) != shape)
    fail(arkit::str("'", suffix, "' is ", info.stored_type, " ", at::IntArrayRef(info.shape), ", expected ",
                    names_of(dtypes), " ", shape));
}

at::Tensor LayerTensors::load(std::string_view suffix) const {
  return weights_.load(get(suffix).name);
}

bool LayerTensors::has_bias(int64_t out) const {
  const TensorInfo* bias = find(kBias);
  if (bias == nullptr) return false;
  if (at::IntArrayRef(bias->shape) != at::IntArrayRef({out}))
    fail(arkit::str("'bias' is ", at::IntArrayRef(bias->shape), ", expected [", out, "]"));
  return true;
}

std::unique_ptr<ModelSource> make_packed_source(std::unique_ptr<ModelSource> folder, PackedFolder packed) {
  return std::make_unique<PackedSource>(std::move(folder), std::move(packed));
}

}  // namespace arkit::sdk
