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
#include <arkit/sdk/forwarding_source.h>
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
    for (const LinearSpec& layer : sdk::packed_layers(source))
      if (!view.tables_only || is_embedding_table(layer.name))
        origins_.emplace(layer.name + ".weight", Origin{.tensor = layer.name, .packed = &layer});
    std::set<std::string, std::less<>> hidden;
    if (!view.attention_scales)
      for (const AttentionSpec& spec : sdk::attention_modules(source))
        hidden.insert(spec.tensors.begin(), spec.tensors.end());
    for (const TensorInfo& tensor : source.weights().tensors())
      if (!hidden.contains(tensor.name) && !add_packed_part(tensor)) add(tensor);
    set_tensors(std::move(shown_));
  }

  [[nodiscard]] bool changes_anything() const { return !origins_.empty(); }

  at::Tensor load(std::string_view name) const override {
    const TensorInfo* shown = find(name);
    if (shown == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    const auto found = origins_.find(name);
    if (found == origins_.end()) return source_.weights().load(name);
    const Origin& origin = found->second;
    if (origin.packed != nullptr) {
      const TensorQuant& quant = origin.packed->quant.weight;
      return registry_.scheme_for(quant.data_type)
          .dequantize(sdk::packed_of(source_).unpack(origin.packed->name), quant, view_.dtype);
    }
    return source_.weights().load(origin.tensor).select(0, origin.expert).narrow(0, origin.first_row, shown->shape[0]);
  }

  bool decodes_rows(std::string_view name) const override {
    return !origins_.contains(name) && source_.weights().decodes_rows(name);
  }
  at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const override {
    if (find(name) == nullptr || origins_.contains(name)) return WeightSource::load_rows(name, first, count);
    return source_.weights().load_rows(name, first, count);
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
      places_.emplace(layer->first, shown_.size());
      shown_.push_back({.name = layer->first,
                        .dtype = view_.dtype,
                        .stored_type = origin.packed->packing,
                        .shape = {origin.packed->out_features, origin.packed->in_features},
                        .stored_bytes = 0,
                        .file = tensor.file});
    }
    shown_[places_.at(layer->first)].stored_bytes += tensor.stored_bytes;
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
      shown_.push_back(tensor);
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
        shown_.push_back(std::move(slice));
      }
  }

  [[nodiscard]] bool is_last_slice(const Origin& origin) const noexcept {
    const TensorInfo* whole = source_.weights().find(origin.tensor);
    return whole != nullptr && origin.expert == whole->shape[0] - 1;
  }

  const ModelSource& source_;
  const Registry& registry_;
  const CheckpointView view_;
  std::vector<TensorInfo> shown_;                       // while they are looked for
  std::map<std::string, Origin, std::less<>> origins_;  // only tensors that are not the source's own
  std::map<std::string, size_t, std::less<>> places_;   // of packed layers in shown_
};

// What is left packed is the source's affair.
class CheckpointSource final : public sdk::ForwardingSource {
 public:
  CheckpointSource(const ModelSource& source, const Registry& registry, const CheckpointView& view)
      : ForwardingSource(source),
        weights_(source, registry, view),
        config_(source.config()),
        keeps_layers_(view.tables_only),
        packed_(source, [&](const LinearSpec& layer) { return view.tables_only && !is_embedding_table(layer.name); }) {
    if (!keeps_layers_ && !sdk::packed_layers(source).empty()) erase_quantization(config_);
  }

  using ForwardingSource::own;
  [[nodiscard]] bool changes_anything() const { return weights_.changes_anything(); }

  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  const PackedLayers* packed() const override { return packed_.facet(); }
  const AttentionScales* attention_scales() const override {
    return keeps_layers_ ? inner().attention_scales() : nullptr;
  }

 private:
  CheckpointWeights weights_;
  json::Object config_;
  bool keeps_layers_;
  sdk::PackedSelection packed_;
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
  const auto layers = sdk::packed_layers(source);
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
