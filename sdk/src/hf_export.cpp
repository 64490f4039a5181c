#include <arkit/sdk/hf_export.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <limits>
#include <map>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/sdk/attention_scales.h>
#include <arkit/sdk/export_folder.h>
#include <arkit/sdk/old_buffers.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

#include "hf_texts.h"
#include "tensor_fate.h"

namespace arkit::sdk {
namespace {

constexpr std::string_view kBias = ".bias";

// The dtype a plain tensor keeps: the one it is stored in, when that is one of the three models come in; values decoded
// from another encoding (a GGUF embedding) are written in the model dtype. Integers stay what they are.
at::ScalarType plain_dtype(const TensorInfo& info, at::ScalarType model_dtype) {
  if (!at::isFloatingType(info.dtype) || c10::elementSize(info.dtype) < 2) return info.dtype;
  const bool stored_plainly = info.stored_type == "F32" || info.stored_type == "BF16" || info.stored_type == "F16";
  return stored_plainly ? info.dtype : model_dtype;
}

// A format may store scales in a narrower type than the one they were found in.
void require_finite(const LayerPlan& layer, std::string_view suffix, const at::Tensor& stored) {
  constexpr int64_t kAtOnce = int64_t{1} << 20;
  if (!at::isFloatingType(stored.scalar_type()) || c10::elementSize(stored.scalar_type()) < 2) return;
  const at::Tensor flat = stored.reshape({-1});
  for (int64_t at = 0; at < flat.numel(); at += kAtOnce)
    if (!flat.narrow(0, at, std::min(kAtOnce, flat.numel() - at)).isfinite().all().item<bool>())
      throw_input(str("layer '", printable(layer.name), "': '", suffix, "' is not finite in ",
                      c10::toString(stored.scalar_type()), ", the type this format stores it in; keep the layer ",
                      "in 16 bits (--ignore_layers) or choose another --format"));
}

// Nor may all scales of a layer that is not zero become zero there.
void require_not_vanished(const LayerRecord& layer, std::string_view suffix, const at::Tensor& stored) {
  const at::Tensor& scale = layer.quantized.scale;
  if (suffix.find("scale") == std::string_view::npos) return;  // an offset of zero is one
  if (stored.scalar_type() != at::kHalf || !scale.defined() || stored.numel() != scale.numel()) return;
  if (stored.eq(0).all().item<bool>() && !scale.to(at::kFloat).eq(0).all().item<bool>())
    throw_input(str("layer '", printable(layer.plan.name), "': its weights are so small that '", suffix,
                    "' is zero in float16, the type this format stores it in; keep the layer in 16 bits ",
                    "(--ignore_layers) or choose another --format"));
}

class HfExportJob final : public ExportJob {
 public:
  HfExportJob(const ExportRequest& request, HfFormat format)
      : request_(request), format_(std::move(format)), sorter_(request.plan, !request.run.model_free) {
    folder_ = std::make_unique<ExportFolder>(request_.output_dir, plan_tensors(), request_.max_shard_bytes,
                                             format_.extra_file);
  }

  void add_layer(const LayerRecord& layer) override {
    const std::string& name = layer.plan.name;
    for (const auto& [suffix, tensor] : format_.pack(layer)) {
      require_finite(layer.plan, suffix, tensor);
      require_not_vanished(layer, suffix, tensor);
      write_placed(name + "." + suffix, tensor);
      packed_bits_ += static_cast<double>(tensor.nbytes()) * 8.0;
    }
    packed_weights_ += static_cast<double>(layer.plan.out_features) * static_cast<double>(layer.plan.in_features);
    const std::string bias = name + std::string(kBias);
    if (layer.bias.defined()) write_as_planned(bias, layer.bias);
  }

  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) override {
    const PlannedTensor* planned = folder_->planned(place_of(name).name);
    if (planned == nullptr) {
      ARKIT_CHECK(sorter_.fate(name) != TensorFate::plain, str("tensor '", name, "' is not part of the source"));
      return;  // left out by rule: tied or rebuilt
    }
    if (written(name)) return;  // a bias that came with its layer
    // A tensor that was cast on the way here is taken from the source again: export keeps the source's values.
    if (!changed && tensor.scalar_type() != planned->dtype && request_.source.weights().find(name) != nullptr)
      copy_from_source(std::string(name));
    else
      write_as_planned(name, tensor);
  }

  void add_attention(const AttentionRanges& ranges) override {
    for (const auto& [name, scale] : attention_scales(ranges, request_.plan.attention, attention_layout()))
      folder_->write(name, scale);
  }

  ExportReport finish() override {
    if (format_.finish_config) format_.finish_config(format_.quantization_config);
    for (const std::string& planned : folder_->unwritten()) {
      const auto parts = parts_.find(planned);
      for (const std::string& name : parts == parts_.end() ? std::vector{planned} : parts->second) {
        if (written(name)) continue;
        ARKIT_CHECK(request_.source.weights().find(name) != nullptr,
                    str("layer of tensor '", name, "' was never added to the export"));
        copy_from_source(name);
      }
    }
    add_texts();
    ExportReport report;
    report.files = folder_->finish();
    report.bytes = folder_->bytes();
    if (packed_weights_ > 0) report.bits_per_weight = packed_bits_ / packed_weights_;
    return report;
  }

 private:
  // Everything the export will hold, in the order shards are filled: block by block, then what lies outside blocks with
  // the heads last, then the extras.
  std::vector<PlannedTensor> plan_tensors() {
    if (request_.run.model_free) return plan_as_source();
    struct Ordered {
      std::pair<int64_t, int64_t> key;  // block (or a number behind all blocks), position in the block
      PlannedTensor tensor;
    };
    std::vector<Ordered> ordered;
    const int64_t behind = std::numeric_limits<int64_t>::max() - 2;
    for (const LayerPlan& layer : request_.plan.layers) {
      if (!layer.quantized()) continue;
      const int64_t block = layer.block >= 0 ? layer.block : behind + 1;
      for (PackedTensorShape& shape : format_.shapes(layer))
        ordered.push_back({{block, 1}, {layer.name + "." + shape.suffix, shape.dtype, std::move(shape.shape)}});
    }
    for (const AttentionPlan& module : request_.plan.attentions)
      for (PlannedTensor& tensor : attention_scale_tensors(module, request_.plan.attention, attention_layout()))
        ordered.push_back({{module.block, 1}, std::move(tensor)});
    for (const TensorInfo& info : request_.source.weights().tensors()) {
      const TensorFate fate = fate_of(info);
      if (fate != TensorFate::plain && fate != TensorFate::extra) continue;
      PlannedTensor tensor{info.name, planned_dtype(info), info.shape, fate == TensorFate::extra};
      ordered.push_back({{order_of(info.name, behind), 0}, std::move(tensor)});
    }
    std::stable_sort(ordered.begin(), ordered.end(), [](const Ordered& a, const Ordered& b) { return a.key < b.key; });
    std::vector<PlannedTensor> tensors;
    tensors.reserve(ordered.size());
    for (Ordered& entry : ordered) add_planned(tensors, std::move(entry.tensor));
    return tensors;
  }

  // What is rounded as it comes lies in the order of the source, so that writing goes from end to end too.
  std::vector<PlannedTensor> plan_as_source() {
    std::vector<PlannedTensor> tensors;
    for (const TensorInfo& info : request_.source.weights().tensors()) {
      const TensorFate fate = fate_of(info);
      if (fate == TensorFate::plain || fate == TensorFate::extra)
        add_planned(tensors, {info.name, planned_dtype(info), info.shape, fate == TensorFate::extra});
      if (fate != TensorFate::packed) continue;
      const LayerPlan* layer = sorter_.layer(std::string_view(info.name).substr(0, info.name.rfind('.')));
      ARKIT_CHECK(layer != nullptr, str("tensor '", info.name, "' is packed but belongs to no layer"));
      for (PackedTensorShape& shape : format_.shapes(*layer))
        add_planned(tensors, {layer->name + "." + shape.suffix, shape.dtype, std::move(shape.shape)});
    }
    return tensors;
  }

  TensorFate fate_of(const TensorInfo& info) const {
    const TensorFate fate = sorter_.fate(info.name);
    if (fate != TensorFate::plain) return fate;
    const bool is_extra = is_old_buffer(info) || (format_.is_extra && format_.is_extra(info));
    return is_extra ? TensorFate::extra : fate;
  }

  TensorPlace place_of(std::string_view name) const {
    return format_.place ? format_.place(name) : TensorPlace{.name = std::string(name)};
  }

  // Parts of one tensor lie where the first of them does.
  void add_planned(std::vector<PlannedTensor>& tensors, PlannedTensor tensor) {
    TensorPlace place = place_of(tensor.name);
    if (place.name != tensor.name) {
      std::vector<std::string>& parts = parts_[place.name];
      parts.push_back(tensor.name);
      if (parts.size() > 1) return;
    }
    if (place.slice >= 0) tensor.shape.insert(tensor.shape.begin(), place.slices);
    tensor.name = std::move(place.name);
    tensors.push_back(std::move(tensor));
  }

  bool written(std::string_view name) const {
    const TensorPlace place = place_of(name);
    return place.slice < 0 ? folder_->written(place.name) : folder_->slice_written(place.name, place.slice);
  }

  void write_placed(std::string_view name, const at::Tensor& tensor, const std::function<void()>& after_piece = {}) {
    const TensorPlace place = place_of(name);
    if (place.slice < 0)
      folder_->write(place.name, tensor, after_piece);
    else
      folder_->write_slice(place.name, place.slice, tensor);
  }

  int64_t order_of(std::string_view name, int64_t behind) const {
    if (const int64_t block = sorter_.block(name); block >= 0) return block;
    const LayerPlan* head = sorter_.layer(name.substr(0, name.rfind('.')));
    return head != nullptr ? behind + 1 : behind;
  }

  at::ScalarType planned_dtype(const TensorInfo& info) const {
    const at::ScalarType dtype = plain_dtype(info, request_.model_dtype);
    if (!format_.bias_dtype || as_they_are() || dtype == at::kFloat || !info.name.ends_with(kBias)) return dtype;
    const LayerPlan* layer = sorter_.layer(std::string_view(info.name).substr(0, info.name.size() - kBias.size()));
    return layer != nullptr && layer->quantized() ? *format_.bias_dtype : dtype;
  }

  [[nodiscard]] AttentionScaleLayout attention_layout() const {
    return {.dtype = format_.attention_scale_dtype, .broadcast_heads = format_.attention_scale_broadcast};
  }

  // No model class has seen the tensors and texts: they stay what they are.
  [[nodiscard]] bool as_they_are() const { return request_.run.model_free || request_.run.converted; }

  void write_as_planned(std::string_view name, const at::Tensor& tensor) {
    const TensorPlace place = place_of(name);
    const PlannedTensor* planned = folder_->planned(place.name);
    ARKIT_CHECK(planned != nullptr, str("tensor '", name, "' is not part of the source"));
    const WeightSource& weights = request_.source.weights();
    // Scales of attention, one a head, come in another format's shape.
    const at::IntArrayRef shape = at::IntArrayRef(planned->shape).slice(place.slice < 0 ? 0 : 1);
    write_placed(name, tensor.to(planned->dtype).reshape(shape), [&] { weights.release(name); });
  }

  // What the source decodes or casts comes a few rows at a time.
  void copy_from_source(const std::string& name) {
    constexpr int64_t kElements = int64_t{1} << 21;
    const WeightSource& weights = request_.source.weights();
    const TensorPlace place = place_of(name);
    const PlannedTensor* planned = folder_->planned(place.name);
    if (planned != nullptr && place.slice < 0 && weights.decodes_rows(name) &&
        planned->shape == weights.find(name)->shape) {
      const int64_t rows = planned->shape.front();
      const int64_t strip = std::max<int64_t>(1, kElements * rows / std::max<int64_t>(1, weights.find(name)->numel()));
      for (int64_t first = 0; first < rows; first += strip)
        folder_->write_rows(place.name, first,
                            weights.load_rows(name, first, std::min(strip, rows - first)).to(planned->dtype));
      return;
    }
    write_as_planned(name, request_.source.weights().load(name));
    request_.source.weights().release(name);
  }

  // Companions first, config.json last: a folder with a config.json is complete but for its weights.
  void add_texts() {
    static constexpr std::array<std::string_view, 4> kReplaced = {"config.json", "quantization_config.json",
                                                                  "quantize_config.json", "quant_config.json"};
    for (const CompanionFile& companion : request_.source.companions()) {
      if (companion.name == "README.md") continue;  // the model card is written about this export
      if (std::find(kReplaced.begin(), kReplaced.end(), companion.name) != kReplaced.end()) continue;
      const bool replaced = std::any_of(format_.texts.begin(), format_.texts.end(),
                                        [&](const auto& text) { return text.first == companion.name; });
      if (replaced) continue;
      if (companion.name == "generation_config.json" && !as_they_are() && !format_.sorted_config)
        folder_->add_text(companion.name, export_generation_config(text_of(companion)));
      else if (companion.path.empty())
        folder_->add_text(companion.name, companion.content);
      else
        folder_->add_copy(companion.name, companion.path);
    }
    if (!format_.quantization_config.empty() && format_.quantization_config_file)
      folder_->add_text("quantization_config.json", escape_json(json::dump(format_.quantization_config, 2)));
    for (const auto& [name, content] : format_.texts) folder_->add_text(name, content);
    const json::Object config = export_config(request_, format_);
    folder_->add_text("config.json",
                      escape_json(format_.sorted_config ? json::dump(config, 2, true) : json::dump(config, 2) + "\n"));
  }

  static std::string text_of(const CompanionFile& companion) {
    if (companion.path.empty()) return companion.content;
    std::ifstream in(companion.path, std::ios::binary);
    if (!in) throw_input(str("'", companion.path.string(), "': cannot be read; it is part of the export"));
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }

  const ExportRequest request_;
  HfFormat format_;
  TensorSorter sorter_;
  std::map<std::string, std::vector<std::string>, std::less<>> parts_;  // planned -> what is written there, where named
                                                                        // otherwise
  std::unique_ptr<ExportFolder> folder_;
  double packed_bits_ = 0, packed_weights_ = 0;
};

}  // namespace

std::unique_ptr<ExportJob> open_hf_export(const ExportRequest& request, HfFormat format) {
  return std::make_unique<HfExportJob>(request, std::move(format));
}

}  // namespace arkit::sdk
