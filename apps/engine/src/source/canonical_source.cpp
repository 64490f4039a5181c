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
#include <arkit/sdk/forwarding_source.h>
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
    std::vector<TensorInfo> tensors;
    for (TensorInfo info : stored.tensors()) {
      if (info.name.ends_with(kBias) && denied.contains(layer_of_bias(info.name))) continue;
      if (const auto found = shown_of.find(info.name); found != shown_of.end()) {
        stored_name_.emplace(found->second, info.name);
        info.name = found->second;
      }
      tensors.push_back(std::move(info));
    }
    set_tensors(std::move(tensors));
  }
  at::Tensor load(std::string_view name) const override {
    if (find(name) == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    return stored_.load(stored_name(name));
  }
  bool decodes_rows(std::string_view name) const override { return stored_.decodes_rows(stored_name(name)); }
  at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const override {
    if (find(name) == nullptr) throw_input(str("no tensor named '", printable(name), "'"));
    return stored_.load_rows(stored_name(name), first, count);
  }
  void release(std::string_view name) const noexcept override { stored_.release(stored_name(name)); }

 private:
  [[nodiscard]] std::string_view stored_name(std::string_view shown) const noexcept {
    const auto found = stored_name_.find(shown);
    return found == stored_name_.end() ? shown : std::string_view(found->second);
  }

  const WeightSource& stored_;
  Names stored_name_;  // by the name shown, where they differ
};

// Packed layers without the biases that are denied.
class WithoutBiases final : public sdk::PackedSelection {
 public:
  WithoutBiases(const ModelSource& source, const Layers& denied)
      : PackedSelection(source, [](const LinearSpec&) { return true; }), denied_(denied) {
    for (LinearSpec& spec : selected()) spec.has_bias = spec.has_bias && !denied.contains(spec.name);
  }
  TensorMap tensors(std::string_view layer) const override {
    TensorMap tensors = PackedSelection::tensors(layer);
    if (denied_.contains(layer)) tensors.erase("bias");
    return tensors;
  }

 private:
  const Layers& denied_;
};

class CanonicalSource final : public sdk::ForwardingSource {
 public:
  CanonicalSource(std::unique_ptr<ModelSource> source, const Names& shown_of, Layers denied, json::Object config)
      : ForwardingSource(std::move(source)),
        weights_(inner().weights(), shown_of, denied),
        config_(std::move(config)),
        denied_(std::move(denied)),
        packed_(inner(), denied_) {}
  // How many of the biases that are not shown are more than zeros.
  [[nodiscard]] int64_t lost_biases() const {
    int64_t lost = 0;
    for (const std::string& layer : denied_) {
      const std::string name = str(layer, kBias);
      if (inner().weights().find(name) == nullptr) continue;
      lost += inner().weights().load(name).ne(0).any().item<bool>() ? 1 : 0;
      inner().weights().release(name);
    }
    return lost;
  }
  [[nodiscard]] const Layers& denied() const { return denied_; }

  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  const PackedLayers* packed() const override { return packed_.facet(); }

 private:
  RenamedWeights weights_;
  json::Object config_;
  Layers denied_;
  WithoutBiases packed_;
};

bool is_decoder_part(std::string_view name) {
  return name.starts_with("layers.") || name == "embed_tokens.weight" || name.starts_with("norm.");
}

// Packed layers are named in many places of their configuration: exports keep the names they have.
bool is_bare_decoder(const ModelSource& source) {
  const WeightSource& weights = source.weights();
  const auto tensors = weights.tensors();
  const bool has_table = weights.find("embed_tokens.weight") != nullptr || weights.find("lm_head.weight") != nullptr;
  return sdk::packed_layers(source).empty() && has_table && weights.find("norm.weight") != nullptr &&
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
    for (const LayerPlan& layer : adapter_for(source, registry).layout(source).linears())
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
