#include "jobs/truncated_source.h"

#include <charconv>
#include <vector>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

namespace arkit {
namespace {

class TruncatedWeights final : public WeightSource {
 public:
  TruncatedWeights(const WeightSource& whole, int64_t num_blocks) : whole_(whole) {
    for (const TensorInfo& tensor : whole.tensors())
      if (block_index(tensor.name) < num_blocks) kept_.push_back(tensor);
    (void)find("");  // later calls only read the table: safe from all threads
  }
  std::span<const TensorInfo> tensors() const override { return kept_; }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("tensor '", name, "' is beyond num_hidden_layers"));
    return whole_.load(name);
  }
  void release(std::string_view name) const noexcept override { whole_.release(name); }

 private:
  const WeightSource& whole_;
  std::vector<TensorInfo> kept_;
};

class TruncatedSource final : public ModelSource {
 public:
  TruncatedSource(std::unique_ptr<ModelSource> whole, int64_t num_blocks)
      : whole_(std::move(whole)), weights_(whole_->weights(), num_blocks), config_(whole_->config()) {
    json::Object& text = config_with(config_, "num_hidden_layers");
    const int64_t available = json::get_int(text, "num_hidden_layers", "config.json").value_or(0);
    if (num_blocks < 1 || num_blocks > available)
      throw_usage(str("num_hidden_layers ", num_blocks, " is out of range; the model has ", available, " blocks"));
    text["num_hidden_layers"] = num_blocks;
    for (const LinearSpec& layer : whole_->packed_layers())
      if (block_index(layer.name) < num_blocks) packed_layers_.push_back(layer);
    if (json::Value* types = config_with(config_, "layer_types").if_contains("layer_types");
        types != nullptr && types->is_array())
      types->get_array().resize(std::min<size_t>(types->get_array().size(), static_cast<size_t>(num_blocks)));
  }
  std::string kind() const override { return whole_->kind(); }
  const std::filesystem::path& path() const override { return whole_->path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  std::string tokenizer_json() const override { return whole_->tokenizer_json(); }
  json::Object tokenizer_config() const override { return whole_->tokenizer_config(); }
  std::vector<CompanionFile> companions() const override { return whole_->companions(); }
  std::span<const LinearSpec> packed_layers() const override { return packed_layers_; }
  TensorMap packed_tensors(std::string_view layer) const override { return whole_->packed_tensors(layer); }
  QuantizedWeight unpack(std::string_view layer) const override { return whole_->unpack(layer); }
  std::shared_ptr<const InputRotation> input_rotation(std::string_view layer) const override {
    return whole_->input_rotation(layer);
  }
  std::shared_ptr<const InputRotation> query_key_rotation() const override { return whole_->query_key_rotation(); }
  json::Object rotation_config() const override { return whole_->rotation_config(); }
  TensorMap rotation_tensors(std::string_view layer) const override { return whole_->rotation_tensors(layer); }

 private:
  std::unique_ptr<ModelSource> whole_;
  TruncatedWeights weights_;
  json::Object config_;
  std::vector<LinearSpec> packed_layers_;
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
