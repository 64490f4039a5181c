#include "rounding/round_units.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include <c10/core/ScalarType.h>

#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kBias = ".bias";
constexpr int64_t kStripBytes = int64_t{16} << 20;  // of a layer in strips, on all threads
constexpr int64_t kCopyBytes = int64_t{32} << 20;   // of a copied tensor, whose pages go as they are written

class Planner {
 public:
  Planner(const QuantPlan& plan, const WeightSource& weights, bool keeps_dequantized, const StripsOf& strips_of)
      : weights_(weights), keeps_dequantized_(keeps_dequantized), strips_of_(strips_of) {
    int64_t at = 0;
    std::map<std::string_view, int64_t> files;
    for (const TensorInfo& tensor : weights.tensors()) {
      const auto file = files.emplace(tensor.file, static_cast<int64_t>(files.size())).first;
      tensors_.emplace(tensor.name, Place{&tensor, at, file->second});
      at += tensor.stored_bytes;
    }
    for (const LayerPlan& layer : plan.layers) {
      if (!layer.quantized()) continue;
      if (layer.kind == LayerKind::embedding) {  // in no block: quantize_embeddings writes it
        done_.insert(str(layer.name, kWeight));
        continue;
      }
      blocks_[layer.block].push_back(&layer);
      of_layer_.emplace(str(layer.name, kWeight), &layer);
      done_.insert(str(layer.name, kBias));  // written with the layer
    }
  }

  void add_block(int64_t block) {
    const auto found = blocks_.find(block);
    if (found == blocks_.end()) return;
    const size_t begin = result_.units.size();
    std::vector<LayerStrips> strips;
    for (const LayerPlan* layer : found->second) strips.push_back(strips_of(*layer));
    // One that needs its block has all of it loaded.
    if (std::find(strips.begin(), strips.end(), LayerStrips::none) != strips.end())
      std::fill(strips.begin(), strips.end(), LayerStrips::none);
    for (size_t i = 0; i < strips.size(); ++i) add_layer(*found->second[i], strips[i]);
    // All its layers are loaded together.
    RoundUnit& first = result_.units[begin];
    for (size_t i = begin; i < result_.units.size(); ++i) {
      first.first_file = std::min(first.first_file, result_.units[i].first_file);
      first.last_file = std::max(first.last_file, result_.units[i].last_file);
    }
    for (size_t i = begin; i < result_.units.size(); ++i)
      std::tie(result_.units[i].first_file, result_.units[i].last_file) = std::pair(first.first_file, first.last_file);
    blocks_.erase(found);
  }

  void add_under(const std::string& prefix) {
    for (auto it = tensors_.lower_bound(prefix); it != tensors_.end() && it->first.starts_with(prefix); ++it)
      add_copy(*it->second.info);
  }

  void add_in_file_order() {
    for (const TensorInfo& tensor : weights_.tensors()) {
      if (const auto layer = of_layer_.find(tensor.name); layer != of_layer_.end()) add_block(layer->second->block);
      add_copy(tensor);
    }
  }

  [[nodiscard]] RoundPlan take() && { return std::move(result_); }

 private:
  struct Place {
    const TensorInfo* info;
    int64_t begin;
    int64_t file;
  };

  LayerStrips strips_of(const LayerPlan& layer) const {
    const auto found = tensors_.find(str(layer.name, kWeight));
    return found == tensors_.end() ? LayerStrips::none : strips_of_(layer, *found->second.info);
  }

  void add_layer(const LayerPlan& layer, LayerStrips strips) {
    RoundUnit unit{.layer = &layer, .strips = strips};
    const auto found = tensors_.find(str(layer.name, kWeight));
    if (found != tensors_.end()) {
      unit.tensor = found->second.info;
      unit.begin = found->second.begin;
      unit.first_file = unit.last_file = found->second.file;
      done_.insert(found->first);
    }
    if (const auto bias = tensors_.find(str(layer.name, kBias)); bias != tensors_.end()) {
      unit.first_file = std::min(unit.first_file, bias->second.file);
      unit.last_file = std::max(unit.last_file, bias->second.file);
    }
    if (unit.strips == LayerStrips::read_and_written) {
      unit.rounding_bytes = unit.writing_bytes = kStripBytes;
      result_.units.push_back(unit);
      return;
    }
    const int64_t elements = layer.out_features * layer.in_features;
    const int64_t whole = elements * element_bytes(unit.tensor);
    const int64_t mapped = unit.strips == LayerStrips::read ? std::min(kStripBytes, whole) : whole;
    const int64_t codes = elements + (keeps_dequantized_ ? 2 * elements : 0);
    unit.rounding_bytes = mapped + codes;
    unit.writing_bytes = codes + elements * std::min(layer.quant.weight.bits, 16) / 8;
    result_.units.push_back(unit);
    result_.largest_bytes =
        std::max({result_.largest_bytes, mapped, unit.strips == LayerStrips::read ? codes : 2 * elements});
  }

  void add_copy(const TensorInfo& tensor) {
    if (!done_.insert(tensor.name).second) return;
    const int64_t bytes = tensor.numel() * static_cast<int64_t>(c10::elementSize(tensor.dtype));
    const int64_t resident = std::min(bytes, kCopyBytes);
    RoundUnit unit{.tensor = &tensor, .rounding_bytes = resident, .writing_bytes = resident};
    const Place& place = tensors_.at(tensor.name);
    unit.begin = place.begin;
    unit.first_file = unit.last_file = place.file;
    result_.units.push_back(unit);
  }

  static int64_t element_bytes(const TensorInfo* tensor) {
    return tensor == nullptr ? 2 : static_cast<int64_t>(c10::elementSize(tensor->dtype));
  }

  const WeightSource& weights_;
  const bool keeps_dequantized_;
  const StripsOf& strips_of_;
  std::map<std::string, Place, std::less<>> tensors_;
  std::map<int64_t, std::vector<const LayerPlan*>> blocks_;
  std::map<std::string, const LayerPlan*, std::less<>> of_layer_;  // by the name of the weight
  std::set<std::string, std::less<>> done_;                        // tensors accounted for
  RoundPlan result_;
};

}  // namespace

RoundPlan round_plan(const QuantPlan& plan, const Model& model, const WeightSource& weights, bool model_free,
                     bool keeps_dequantized, const StripsOf& strips_of) {
  Planner planner(plan, weights, keeps_dequantized, strips_of);
  if (!model_free)
    for (int64_t block = 0; block < plan.num_blocks; ++block) {
      planner.add_block(block);
      planner.add_under(model.block_name(block) + ".");
    }
  if (!model_free) planner.add_block(-1);
  planner.add_in_file_order();
  return std::move(planner).take();
}

}  // namespace arkit
