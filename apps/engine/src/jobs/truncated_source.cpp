#include "jobs/truncated_source.h"

#include <charconv>
#include <vector>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit {
namespace {

class TruncatedWeights final : public WeightSource {
 public:
  TruncatedWeights(const WeightSource& whole, int64_t num_blocks) : whole_(whole) {
    std::vector<TensorInfo> kept;
    for (const TensorInfo& tensor : whole.tensors())
      if (block_index(tensor.name) < num_blocks) kept.push_back(tensor);
    set_tensors(std::move(kept));
  }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("tensor '", name, "' is beyond num_hidden_layers"));
    return whole_.load(name);
  }
  bool decodes_rows(std::string_view name) const override { return whole_.decodes_rows(name); }
  at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const override {
    if (find(name) == nullptr) throw_input(str("tensor '", name, "' is beyond num_hidden_layers"));
    return whole_.load_rows(name, first, count);
  }
  void release(std::string_view name) const noexcept override { whole_.release(name); }

 private:
  const WeightSource& whole_;
};

class TruncatedSource final : public sdk::ForwardingSource {
 public:
  TruncatedSource(std::unique_ptr<ModelSource> whole, int64_t num_blocks)
      : ForwardingSource(std::move(whole)),
        weights_(inner().weights(), num_blocks),
        packed_(inner(), [&](const LinearSpec& layer) { return block_index(layer.name) < num_blocks; }),
        attention_scales_(inner(), [&](const AttentionSpec& module) { return block_index(module.name) < num_blocks; }),
        config_(inner().config()) {
    json::Object& text = config_with(config_, "num_hidden_layers");
    const int64_t available = json::get_int(text, "num_hidden_layers", "config.json").value_or(0);
    if (num_blocks < 1 || num_blocks > available)
      throw_usage(str("num_hidden_layers ", num_blocks, " is out of range; the model has ", available, " blocks"));
    text["num_hidden_layers"] = num_blocks;
    if (json::Value* types = config_with(config_, "layer_types").if_contains("layer_types");
        types != nullptr && types->is_array())
      types->get_array().resize(std::min<size_t>(types->get_array().size(), static_cast<size_t>(num_blocks)));
  }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  const PackedLayers* packed() const override { return packed_.facet(); }
  const AttentionScales* attention_scales() const override { return attention_scales_.facet(); }

 private:
  TruncatedWeights weights_;
  sdk::PackedSelection packed_;
  sdk::ScalesSelection attention_scales_;
  json::Object config_;
};

}  // namespace

int64_t block_index(std::string_view name) {
  if (model_free::is_other_sense(name)) return -1;
  const std::vector<std::string> parts = split(name, '.');
  for (size_t i = 1; i < parts.size(); ++i) {
    if (parts[i - 1] != "layers" && parts[i - 1] != "h") continue;
    int64_t index = -1;
    const char* end = parts[i].data() + parts[i].size();
    if (std::from_chars(parts[i].data(), end, index).ptr == end) return index;
  }
  return -1;
}

std::unique_ptr<ModelSource> truncate_blocks(std::unique_ptr<ModelSource> source, int64_t num_blocks) {
  return std::make_unique<TruncatedSource>(std::move(source), num_blocks);
}

}  // namespace arkit
