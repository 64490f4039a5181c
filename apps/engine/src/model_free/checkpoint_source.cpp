#include "model_free/checkpoint_source.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit::model_free {
namespace {

// Where a shown tensor comes from.
struct Origin {
  std::string tensor;     // in the source; of a packed layer its name
  int64_t expert = -1;    // >= 0: this slice of a fused tensor
  int64_t first_row = 0;  // of the slice
  const LinearSpec* packed = nullptr;
  std::vector<std::string> parts = {};  // tensors of a packed layer
};

constexpr int64_t kMostExperts = 65536;

// 0 = config.json does not say.
int64_t hidden_size(const json::Object& config) {
  return json::get_int(config_with(config, "hidden_size"), "hidden_size", "config.json").value_or(0);
}

// Whoever reads the export must not take it for what its source was.
void erase_quantization(json::Object& config) {
  for (const char* key : {"quantization_config", "compression_config", "quantization"}) config.erase(key);
  for (auto& member : config)
    if (member.value().is_object()) erase_quantization(member.value().get_object());
}

class CheckpointWeights final : public WeightSource {
 public:
  CheckpointWeights(const ModelSource& source, const Registry& registry, const CheckpointView& view)
      : source_(source), registry_(registry), view_(view) {
    for (const LinearSpec& layer : source.packed_layers())
      if (!view.tables_only || is_embedding_table(layer.name))
        origins_.emplace(layer.name + ".weight", Origin{.tensor = layer.name, .packed = &layer});
    std::set<std::string, std::less<>> hidden;
    if (!view.attention_scales)
      for (const AttentionSpec& spec : source.attention_specs())
        hidden.insert(spec.tensors.begin(), spec.tensors.end());
    for (const TensorInfo& tensor : source.weights().tensors())
      if (!hidden.contains(tensor.name) && !add_packed_part(tensor)) add(tensor);
    (void)find("");  // later calls only read the table: safe from all threads
  }

  [[nodiscard]] bool changes_anything() const { return !origins_.empty(); }

  std::span<const TensorInfo> tensors() const override { return tensors_; }

  at::Tensor load(std::string_view name) const override {
    const TensorInfo* shown = find(name);
    if (shown == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    const auto found = origins_.find(name);
    if (found == origins_.end()) return source_.weights().load(name);
    const Origin& origin = found->second;
    if (origin.packed != nullptr) {
      const TensorQuant& quant = origin.packed->quant.weight;
      return registry_.scheme_for(quant.data_type).dequantize(source_.unpack(origin.packed->name), quant, view_.dtype);
    }
    return source_.weights().load(origin.tensor).select(0, origin.expert).narrow(0, origin.first_row, shown->shape[0]);
  }

  void release(std::string_view name) const noexcept override {
    const auto found = origins_.find(name);
    if (found == origins_.end())
      source_.weights().release(name);
    else if (found->second.packed != nullptr)
      for (const std::string& part : found->second.parts) source_.weights().release(part);
    // Slices of a fused tensor are neighbours in the file: its pages go with the last one.
    else if (is_last_slice(found->second))
      source_.weights().release(found->second.tensor);
  }

 private:
  // Is this a part of a packed layer ("qweight", "scales" ...)? The layer lies where its first part does. Its bias is
  // no part.
  bool add_packed_part(const TensorInfo& tensor) {
    const size_t dot = tensor.name.rfind('.');
    if (dot == std::string::npos || tensor.name.substr(dot) == ".bias") return false;
    const auto layer = origins_.find(tensor.name.substr(0, dot) + ".weight");
    if (layer == origins_.end() || layer->second.packed == nullptr) return false;
    Origin& origin = layer->second;
    if (origin.parts.empty()) {
      places_.emplace(layer->first, tensors_.size());
      tensors_.push_back({.name = layer->first,
                          .dtype = view_.dtype,
                          .stored_type = origin.packed->packing,
                          .shape = {origin.packed->out_features, origin.packed->in_features},
                          .stored_bytes = 0,
                          .file = tensor.file});
    }
    tensors_[places_.at(layer->first)].stored_bytes += tensor.stored_bytes;
    origin.parts.push_back(tensor.name);
    return true;
  }

  // Some families store experts transposed, [experts, in, out]; cut the same way they would become noise. Projections
  // into the experts read the hidden state, the one out of them writes it.
  void check_orientation(const TensorInfo& tensor, bool out) const {
    const std::string_view name = tensor.name;
    const int64_t hidden = hidden_size(source_.config());
    if (hidden > 0 && (out ? tensor.shape[1] : tensor.shape[2]) == hidden) return;
    throw_unsupported(str("tensor '", printable(name), "' of shape [", tensor.shape[0], ", ", tensor.shape[1], ", ",
                          tensor.shape[2], "] does not hold experts as [experts, out, in] of a model with hidden_size ",
                          hidden, "; model-free rounding cannot cut it, a plugin for the family can"));
  }

  void add(const TensorInfo& tensor) {
    const std::optional<FusedExperts> fused = view_.cut_experts ? fused_experts(tensor) : std::nullopt;
    if (!fused) {
      tensors_.push_back(tensor);
      return;
    }
    const auto count = static_cast<int64_t>(fused->parts.size());
    const int64_t experts = tensor.shape[0];
    check_orientation(tensor, fused->out);
    if (experts < 1 || experts > kMostExperts || tensor.shape[1] < count || tensor.shape[1] % count != 0)
      throw_input(str("tensor '", printable(tensor.name), "' of shape [", tensor.shape[0], ", ", tensor.shape[1], ", ",
                      tensor.shape[2], "] cannot be cut into ", count, " projections of its experts"));
    const int64_t rows = tensor.shape[1] / count;
    for (int64_t expert = 0; expert < experts; ++expert)
      for (int64_t part = 0; part < count; ++part) {
        TensorInfo slice = tensor;
        slice.name = str(fused->parent, ".", expert, ".", fused->parts[static_cast<size_t>(part)], ".weight");
        slice.shape = {rows, tensor.shape[2]};
        slice.stored_bytes = tensor.stored_bytes / (experts * count);
        origins_.emplace(slice.name, Origin{.tensor = tensor.name, .expert = expert, .first_row = part * rows});
        tensors_.push_back(std::move(slice));
      }
  }

  [[nodiscard]] bool is_last_slice(const Origin& origin) const noexcept {
    const TensorInfo* whole = source_.weights().find(origin.tensor);
    return whole != nullptr && origin.expert == whole->shape[0] - 1;
  }

  const ModelSource& source_;
  const Registry& registry_;
  const CheckpointView view_;
  std::vector<TensorInfo> tensors_;
  std::map<std::string, Origin, std::less<>> origins_;  // only tensors that are not the source's own
  std::map<std::string, size_t, std::less<>> places_;   // of packed layers in tensors_
};

class CheckpointSource final : public ModelSource {
 public:
  CheckpointSource(const ModelSource& source, const Registry& registry, const CheckpointView& view)
      : source_(source), weights_(source, registry, view), config_(source.config()), keeps_layers_(view.tables_only) {
    if (!keeps_layers_ && !source.packed_layers().empty()) erase_quantization(config_);
    for (const LinearSpec& layer : source.packed_layers())
      if (keeps_layers_ && !is_embedding_table(layer.name)) layers_.push_back(layer);
  }

  [[nodiscard]] bool changes_anything() const { return weights_.changes_anything(); }
  void own(std::unique_ptr<ModelSource> source) { owned_ = std::move(source); }

  std::string kind() const override { return source_.kind(); }
  const std::filesystem::path& path() const override { return source_.path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  std::string tokenizer_json() const override { return source_.tokenizer_json(); }
  json::Object tokenizer_config() const override { return source_.tokenizer_config(); }
  std::vector<CompanionFile> companions() const override { return source_.companions(); }
  std::shared_ptr<const InputRotation> input_rotation(std::string_view layer) const override {
    return source_.input_rotation(layer);
  }
  std::shared_ptr<const InputRotation> query_key_rotation() const override { return source_.query_key_rotation(); }
  json::Object rotation_config() const override { return source_.rotation_config(); }
  TensorMap rotation_tensors(std::string_view layer) const override { return source_.rotation_tensors(layer); }

  // What is left packed is the source's affair.
  std::span<const LinearSpec> packed_layers() const override { return layers_; }
  TensorMap packed_tensors(std::string_view layer) const override { return source_.packed_tensors(layer); }
  QuantizedWeight unpack(std::string_view layer) const override { return source_.unpack(layer); }
  std::span<const AttentionSpec> attention_specs() const override {
    return keeps_layers_ ? source_.attention_specs() : ModelSource::attention_specs();
  }
  AttentionRanges attention_ranges(std::string_view module) const override { return source_.attention_ranges(module); }

 private:
  std::unique_ptr<ModelSource> owned_;  // null = somebody else's
  const ModelSource& source_;
  CheckpointWeights weights_;
  json::Object config_;
  bool keeps_layers_;
  std::vector<LinearSpec> layers_;  // still packed
};

}  // namespace

std::unique_ptr<ModelSource> open_checkpoint(std::unique_ptr<ModelSource> source, const Registry& registry) {
  auto shown = std::make_unique<CheckpointSource>(*source, registry, CheckpointView{});
  if (!shown->changes_anything()) return source;
  shown->own(std::move(source));
  return shown;
}

std::unique_ptr<ModelSource> view_plain_tables(const ModelSource& source, const Registry& registry,
                                               at::ScalarType dtype) {
  const auto layers = source.packed_layers();
  if (std::none_of(layers.begin(), layers.end(),
                   [](const LinearSpec& layer) { return is_embedding_table(layer.name); }))
    return nullptr;
  return view_checkpoint(source, registry, {.cut_experts = false, .dtype = dtype, .tables_only = true});
}

std::unique_ptr<ModelSource> view_checkpoint(const ModelSource& source, const Registry& registry,
                                             const CheckpointView& view) {
  return std::make_unique<CheckpointSource>(source, registry, view);
}

}  // namespace arkit::model_free
