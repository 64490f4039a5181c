#include "source/canonical_source.h"

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/model_adapter.h>
#include <arkit/sdk/text_config.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kPrefix = "model.";

constexpr std::string_view kBias = ".bias";

using Names = std::map<std::string, std::string, std::less<>>;
using Layers = std::set<std::string, std::less<>>;

std::string_view layer_of_bias(std::string_view tensor) {
  return tensor.substr(0, tensor.size() - kBias.size());
}

class RenamedWeights final : public WeightSource {
 public:
  RenamedWeights(const WeightSource& stored, const Names& shown_of, const Layers& denied) : stored_(stored) {
    for (TensorInfo info : stored.tensors()) {
      if (info.name.ends_with(kBias) && denied.contains(layer_of_bias(info.name))) continue;
      if (const auto found = shown_of.find(info.name); found != shown_of.end()) {
        stored_name_.emplace(found->second, info.name);
        info.name = found->second;
      }
      tensors_.push_back(std::move(info));
    }
    (void)find("");  // later calls only read the table: safe from all threads
  }
  std::span<const TensorInfo> tensors() const override { return tensors_; }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    return stored_.load(stored_name(name));
  }
  void release(std::string_view name) const noexcept override { stored_.release(stored_name(name)); }

 private:
  [[nodiscard]] std::string_view stored_name(std::string_view shown) const noexcept {
    const auto found = stored_name_.find(shown);
    return found == stored_name_.end() ? shown : std::string_view(found->second);
  }

  const WeightSource& stored_;
  std::vector<TensorInfo> tensors_;
  Names stored_name_;  // by the name shown, where they differ
};

class CanonicalSource final : public ModelSource {
 public:
  CanonicalSource(std::unique_ptr<ModelSource> source, const Names& shown_of, Layers denied, json::Object config)
      : source_(std::move(source)),
        weights_(source_->weights(), shown_of, denied),
        config_(std::move(config)),
        denied_(std::move(denied)) {
    for (LinearSpec spec : source_->packed_layers()) {
      spec.has_bias = spec.has_bias && !denied_.contains(spec.name);
      packed_.push_back(std::move(spec));
    }
  }
  // How many of the biases that are not shown are more than zeros.
  [[nodiscard]] int64_t lost_biases() const {
    int64_t lost = 0;
    for (const std::string& layer : denied_) {
      const std::string name = str(layer, kBias);
      if (source_->weights().find(name) == nullptr) continue;
      lost += source_->weights().load(name).ne(0).any().item<bool>() ? 1 : 0;
      source_->weights().release(name);
    }
    return lost;
  }
  [[nodiscard]] const Layers& denied() const { return denied_; }

  std::string kind() const override { return source_->kind(); }
  const std::filesystem::path& path() const override { return source_->path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  std::string tokenizer_json() const override { return source_->tokenizer_json(); }
  json::Object tokenizer_config() const override { return source_->tokenizer_config(); }
  std::vector<CompanionFile> companions() const override { return source_->companions(); }
  std::span<const LinearSpec> packed_layers() const override { return packed_; }
  TensorMap packed_tensors(std::string_view layer) const override {
    TensorMap tensors = source_->packed_tensors(layer);
    if (denied_.contains(layer)) tensors.erase("bias");
    return tensors;
  }
  QuantizedWeight unpack(std::string_view layer) const override { return source_->unpack(layer); }
  std::span<const AttentionSpec> attention_specs() const override { return source_->attention_specs(); }
  AttentionRanges attention_ranges(std::string_view module) const override { return source_->attention_ranges(module); }
  std::shared_ptr<const InputRotation> input_rotation(std::string_view layer) const override {
    return source_->input_rotation(layer);
  }
  std::shared_ptr<const InputRotation> query_key_rotation() const override { return source_->query_key_rotation(); }
  json::Object rotation_config() const override { return source_->rotation_config(); }
  TensorMap rotation_tensors(std::string_view layer) const override { return source_->rotation_tensors(layer); }

 private:
  std::unique_ptr<ModelSource> source_;
  RenamedWeights weights_;
  json::Object config_;
  Layers denied_;
  std::vector<LinearSpec> packed_;
};

bool is_decoder_part(std::string_view name) {
  return name.starts_with("layers.") || name == "embed_tokens.weight" || name.starts_with("norm.");
}

// Packed layers are named in many places of their configuration: exports keep the names they have.
bool is_bare_decoder(const ModelSource& source) {
  const WeightSource& weights = source.weights();
  const auto tensors = weights.tensors();
  const bool has_table = weights.find("embed_tokens.weight") != nullptr || weights.find("lm_head.weight") != nullptr;
  return source.packed_layers().empty() && has_table && weights.find("norm.weight") != nullptr &&
         std::any_of(tensors.begin(), tensors.end(),
                     [](const TensorInfo& info) { return info.name.starts_with("layers.0."); }) &&
         std::none_of(tensors.begin(), tensors.end(),
                      [](const TensorInfo& info) { return info.name.starts_with(kPrefix); });
}

bool says(const json::Object& config, bool tied) {
  const auto parts = text_configs(config);
  return std::all_of(parts.begin(), parts.end(), [&](const json::Object* part) {
    const json::Value* flag = json::find(*part, "tie_word_embeddings");
    return flag != nullptr && flag->is_bool() && flag->get_bool() == tied;
  });
}

// Layers with a stored bias, although their family's configuration gives them none.
Layers denied_biases(const ModelSource& source, const Registry& registry) {
  Layers stored;
  for (const TensorInfo& info : source.weights().tensors())
    if (info.name.ends_with(kBias)) stored.emplace(layer_of_bias(info.name));
  if (stored.empty()) return {};
  Layers denied;
  try {
    const std::unique_ptr<Model> model = adapter_for(source, registry).open(source, at::kBFloat16);
    for (const LayerPlan& layer : model->linears())
      if (!layer.has_bias && stored.contains(layer.name)) denied.insert(layer.name);
  } catch (const Error&) {
    return {};  // without a family nothing denies them; what is wrong with the model, others say
  }
  return denied;
}

}  // namespace

std::unique_ptr<ModelSource> without_denied_biases(std::unique_ptr<ModelSource> source, const Registry& registry) {
  Layers denied = denied_biases(*source, registry);
  if (denied.empty()) return source;
  json::Object config = source->config();
  return std::make_unique<CanonicalSource>(std::move(source), Names(), std::move(denied), std::move(config));
}

void warn_of_denied_biases(const ModelSource& source, Reporter& reporter) {
  const auto* canonical = dynamic_cast<const CanonicalSource*>(&source);
  const int64_t lost = canonical == nullptr ? 0 : canonical->lost_biases();
  if (lost == 0) return;
  reporter.warn(
      str("'", source.path().string(), "': the stored biases of ", lost, " layers, '",
          printable(*canonical->denied().begin()),
          "' for one, are left out: its config.json gives these layers none, so Transformers computes without; "
          "if they belong to the model, set 'attention_bias' or 'mlp_bias'"));
}

std::unique_ptr<ModelSource> canonical_source(std::unique_ptr<ModelSource> source, const Registry& registry) {
  const TiedEmbeddings found = find_tied_embeddings(*source);
  Names shown_of;  // stored -> shown
  if (is_bare_decoder(*source))
    for (const TensorInfo& info : source->weights().tensors())
      if (is_decoder_part(info.name)) shown_of[info.name] = str(kPrefix, info.name);
  if (found.storage == HeadStorage::head_only && found.tied) {
    const std::string embedding = expected_embedding(*source);
    if (embedding.empty())
      throw_unsupported(str("'", source->path().string(), "': embeddings and head are stored as '",
                            printable(found.head), kWeight,
                            "' alone, and how this family calls the embeddings is not known; store the matrix under "
                            "their name"));
    const std::string name = str(embedding, kWeight);
    shown_of[str(found.head, kWeight)] = shown_of.empty() ? name : str(kPrefix, name);
  }
  const bool states = found.storage != HeadStorage::unknown && found.has_head && !says(source->config(), found.tied);
  Layers denied = denied_biases(*source, registry);
  if (shown_of.empty() && !states && denied.empty()) return source;
  json::Object config = source->config();
  if (states) state_tied_embeddings(config, found.tied);
  return std::make_unique<CanonicalSource>(std::move(source), shown_of, std::move(denied), std::move(config));
}

}  // namespace arkit
