#include "source/canonical_source.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/sdk/text_config.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";
constexpr std::string_view kPrefix = "model.";

using Names = std::map<std::string, std::string, std::less<>>;

class RenamedWeights final : public WeightSource {
 public:
  RenamedWeights(const WeightSource& stored, const Names& shown_of) : stored_(stored) {
    for (TensorInfo info : stored.tensors()) {
      if (const auto found = shown_of.find(info.name); found != shown_of.end()) {
        stored_name_.emplace(found->second, info.name);
        info.name = found->second;
      }
      tensors_.push_back(std::move(info));
    }
    (void)find("");  // later calls only read the table: safe from all threads
  }
  std::span<const TensorInfo> tensors() const override { return tensors_; }
  at::Tensor load(std::string_view name) const override { return stored_.load(stored_name(name)); }
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
  CanonicalSource(std::unique_ptr<ModelSource> source, const Names& shown_of, json::Object config)
      : source_(std::move(source)), weights_(source_->weights(), shown_of), config_(std::move(config)) {}
  std::string kind() const override { return source_->kind(); }
  const std::filesystem::path& path() const override { return source_->path(); }
  const json::Object& config() const override { return config_; }
  const WeightSource& weights() const override { return weights_; }
  std::string tokenizer_json() const override { return source_->tokenizer_json(); }
  json::Object tokenizer_config() const override { return source_->tokenizer_config(); }
  std::vector<CompanionFile> companions() const override { return source_->companions(); }
  std::span<const LinearSpec> packed_layers() const override { return source_->packed_layers(); }
  TensorMap packed_tensors(std::string_view layer) const override { return source_->packed_tensors(layer); }
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

}  // namespace

std::unique_ptr<ModelSource> canonical_source(std::unique_ptr<ModelSource> source) {
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
  if (shown_of.empty() && !states) return source;
  json::Object config = source->config();
  if (states) state_tied_embeddings(config, found.tied);
  return std::make_unique<CanonicalSource>(std::move(source), shown_of, std::move(config));
}

}  // namespace arkit
