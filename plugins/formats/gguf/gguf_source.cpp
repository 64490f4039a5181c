#include "gguf_source.h"

#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/mapped_file.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "gguf_architecture.h"
#include "gguf_dequantize.h"
#include "gguf_file.h"
#include "gguf_packed.h"
#include "gguf_parts.h"
#include "gguf_provenance.h"
#include "gguf_tokenizer.h"
#include "gguf_weights.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

std::vector<float> rope_factors(const Parts& parts) {
  const File& file = parts.file;
  for (const TensorEntry& tensor : file.tensors) {
    if (tensor.name != "rope_freqs.weight") continue;
    if (tensor.type->type != TensorType::f32 || tensor.shape.size() != 1)
      throw_input(str(file.metadata.file(), ": tensor 'rope_freqs.weight' is no vector of F32"));
    std::vector<float> factors(static_cast<size_t>(tensor.shape[0]));
    dequantize(TensorType::f32, parts.map_of(tensor).bytes().data() + tensor.offset, tensor.shape[0], factors.data());
    return factors;
  }
  return {};
}

// All matrices as real numbers.
class PlainGguf final : public sdk::ForwardingSource {
 public:
  PlainGguf(const ModelSource& packed, const WeightSource& weights) : ForwardingSource(packed), weights_(weights) {}
  [[nodiscard]] const WeightSource& weights() const override { return weights_; }
  [[nodiscard]] const PackedLayers* packed() const override { return nullptr; }

 private:
  const WeightSource& weights_;
};

class GgufSource final : public ModelSource, private TokenizerTexts {
 public:
  explicit GgufSource(const fs::path& path)
      : parts_(open_parts(path)), path_(parts_.maps.front()->path()), file_(parts_.file) {
    const Metadata& metadata = file_.metadata;
    const Architecture& architecture = architecture_of(metadata);
    const HyperParameters parameters = read_hyper_parameters(metadata, architecture);
    const TensorScales scales = read_tensor_scales(
        file_, [this](const TensorEntry& tensor) { return parts_.map_of(tensor).bytes().data() + tensor.offset; });
    weights_.emplace(parts_, architecture, parameters, scales, View::packed);
    plain_weights_.emplace(parts_, architecture, parameters, scales, View::plain);
    layers_.emplace(file_, parameters, scales, *weights_);
    config_ = make_config(file_, architecture, parameters, rope_factors(parts_));
  }

  [[nodiscard]] std::string kind() const override { return "gguf"; }
  [[nodiscard]] const fs::path& path() const override { return path_; }
  [[nodiscard]] const json::Object& config() const override { return config_; }
  [[nodiscard]] const WeightSource& weights() const override { return *weights_; }
  [[nodiscard]] const TokenizerTexts* tokenizer() const override { return this; }
  [[nodiscard]] const PackedLayers* packed() const override { return layers_->layers().empty() ? nullptr : &*layers_; }
  [[nodiscard]] std::unique_ptr<ModelSource> plain() const override {
    return std::make_unique<PlainGguf>(*this, *plain_weights_);
  }

  [[nodiscard]] std::vector<CompanionFile> companions() const override {
    std::vector<CompanionFile> files;
    const auto add = [&](const char* name, std::string content) { files.push_back({name, {}, std::move(content)}); };
    if (std::string card = card_of(file_.metadata); !card.empty()) add("README.md", std::move(card));
    add("generation_config.json", json::dump(make_generation_config(file_.metadata), 2) + "\n");
    std::string tokenizer = tokenizer_json();
    if (tokenizer.empty()) return files;
    add("tokenizer.json", std::move(tokenizer));
    add("tokenizer_config.json", json::dump(tokenizer_config(), 2) + "\n");
    return files;
  }

 private:
  // Empty, both, when the metadata hold no vocabulary.
  [[nodiscard]] std::string tokenizer_json() const override {
    std::call_once(tokenizer_once_, [this] { tokenizer_ = make_tokenizer_json(file_.metadata); });
    return tokenizer_;
  }
  [[nodiscard]] json::Object tokenizer_config() const override {
    return make_tokenizer_config(file_.metadata, config_);
  }

  Parts parts_;
  fs::path path_;  // of the first part
  const File& file_;
  json::Object config_;
  std::optional<GgufWeights> weights_, plain_weights_;
  std::optional<GgufLayers> layers_;
  // Asked for several times in a run, and as much work as all other keys together.
  mutable std::once_flag tokenizer_once_;
  mutable std::string tokenizer_;
};

}  // namespace

std::unique_ptr<ModelSource> open_gguf(const fs::path& path) {
  return std::make_unique<GgufSource>(path);
}

}  // namespace arkit::gguf
