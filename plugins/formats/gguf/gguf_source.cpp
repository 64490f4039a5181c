#include "gguf_source.h"

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/mapped_file.h>
#include <arkit/str.h>

#include "gguf_architecture.h"
#include "gguf_dequantize.h"
#include "gguf_file.h"
#include "gguf_tokenizer.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kGrain = int64_t{1} << 16;  // elements a thread dequantizes at least

at::ScalarType loaded_dtype(TensorType type) {
  switch (type) {
    case TensorType::f16:
      return at::kHalf;
    case TensorType::bf16:
      return at::kBFloat16;
    default:
      return at::kFloat;
  }
}

// llama.cpp rotates neighbouring rows 2t and 2t+1 of a head, Hugging Face rows t and t + d/2. `heads` > 0 undoes it:
// row h*d + s*d/2 + t of the result is row h*d + 2t + s of the file. Same for biases, whose rows are elements.
int64_t stored_row(int64_t row, int64_t heads, int64_t rows) {
  if (heads == 0) return row;
  const int64_t d = rows / heads, head = row / d, s = row % d / (d / 2), t = row % (d / 2);
  return head * d + 2 * t + s;
}

class GgufWeights final : public WeightSource {
 public:
  GgufWeights(const MappedFile& map, const File& file, const Architecture& architecture,
              const HyperParameters& parameters)
      : map_(map) {
    std::vector<TensorInfo> infos;
    for (const TensorEntry& tensor : file.tensors) {
      if (tensor.name == "rope_freqs.weight") continue;
      const std::optional<std::string> name = hf_tensor_name(tensor.name, parameters.block_count);
      if (!name)
        throw_unsupported(str(file.metadata.file(), ": tensor '", printable(tensor.name),
                              "' is not part of architecture '", architecture.name, "' as arkit reads it"));
      infos.push_back({.name = *name,
                       .dtype = loaded_dtype(tensor.type->type),
                       .stored_type = std::string(tensor.type->name),
                       .shape = tensor.shape,
                       .stored_bytes = tensor.bytes,
                       .file = map.path().filename().string()});
      places_.push_back(
          {tensor.offset, tensor.type->type, permuted_heads(tensor, architecture, parameters, file.metadata.file())});
    }
    set_tensors(std::move(infos));
  }

  [[nodiscard]] at::Tensor load(std::string_view name) const override {
    const TensorInfo& info = require(name);
    const Place& place = place_of(info);
    const bool plain = place.type == TensorType::f32 || place.type == TensorType::f16 || place.type == TensorType::bf16;
    if (plain && place.heads == 0) return view(info, place);
    at::Tensor out = at::empty(info.shape, info.dtype);
    plain ? copy_rows(info, place, out) : dequantize_rows(info, place, out);
    return out;
  }

  void release(std::string_view name) const noexcept override {
    const TensorInfo* info = find(name);
    if (info != nullptr)
      map_.release(static_cast<size_t>(place_of(*info).offset), static_cast<size_t>(info->stored_bytes));
  }

 private:
  struct Place {
    int64_t offset;
    TensorType type;
    int64_t heads;  // > 0: rows are stored in llama.cpp's rotary order
  };

  static int64_t permuted_heads(const TensorEntry& tensor, const Architecture& architecture, const HyperParameters& p,
                                const std::string& file) {
    if (!architecture.permutes_q_and_k) return 0;
    const std::string_view name = tensor.name;
    const bool q = name.ends_with(".attn_q.weight") || name.ends_with(".attn_q.bias");
    const bool k = name.ends_with(".attn_k.weight") || name.ends_with(".attn_k.bias");
    if (!q && !k) return 0;
    const int64_t heads = q ? p.head_count : p.head_count_kv;
    if (tensor.shape.empty() || tensor.shape[0] != heads * p.head_dim)
      throw_input(str(file, ": tensor '", printable(tensor.name), "' has ", tensor.shape.empty() ? 0 : tensor.shape[0],
                      " rows, expected ", heads, " heads of ", p.head_dim));
    return heads;
  }

  [[nodiscard]] const TensorInfo& require(std::string_view name) const {
    const TensorInfo* info = find(name);
    if (info == nullptr) throw_input(str("tensor '", printable(name), "' is not in '", map_.path().string(), "'"));
    map_.require_unchanged();
    map_.will_need(static_cast<size_t>(place_of(*info).offset), static_cast<size_t>(info->stored_bytes));
    return *info;
  }

  [[nodiscard]] const Place& place_of(const TensorInfo& info) const {
    return places_[static_cast<size_t>(&info - tensors().data())];
  }

  [[nodiscard]] const std::byte* data_of(const Place& place) const { return map_.bytes().data() + place.offset; }

  // general.alignment is at least the element size for all files but hand-made ones.
  [[nodiscard]] at::Tensor view(const TensorInfo& info, const Place& place) const {
    const std::byte* data = data_of(place);
    const at::Tensor view = at::from_blob(const_cast<std::byte*>(data), info.shape, at::TensorOptions(info.dtype));
    if (reinterpret_cast<uintptr_t>(data) % c10::elementSize(info.dtype) == 0) return view;
    at::Tensor copy = at::empty(info.shape, info.dtype);
    copy_rows(info, place, copy);
    return copy;
  }

  void copy_rows(const TensorInfo& info, const Place& place, const at::Tensor& out) const {
    const int64_t rows = info.shape.empty() ? 1 : info.shape[0], row_bytes = info.stored_bytes / rows;
    auto* to = static_cast<std::byte*>(out.mutable_data_ptr());
    const std::byte* from = data_of(place);
    for (int64_t row = 0; row < rows; ++row)
      std::copy_n(from + stored_row(row, place.heads, rows) * row_bytes, row_bytes, to + row * row_bytes);
  }

  void dequantize_rows(const TensorInfo& info, const Place& place, const at::Tensor& out) const {
    const int64_t columns = info.shape.back(), rows = out.numel() / columns, row_bytes = info.stored_bytes / rows;
    auto* to = out.mutable_data_ptr<float>();
    const std::byte* from = data_of(place);
    at::parallel_for(0, rows, std::max<int64_t>(1, kGrain / columns), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        dequantize(place.type, from + stored_row(row, place.heads, rows) * row_bytes, columns, to + row * columns);
    });
  }

  const MappedFile& map_;
  std::vector<Place> places_;  // by index of tensors()
};

std::vector<float> rope_factors(const File& file, const MappedFile& map) {
  for (const TensorEntry& tensor : file.tensors) {
    if (tensor.name != "rope_freqs.weight") continue;
    if (tensor.type->type != TensorType::f32 || tensor.shape.size() != 1)
      throw_input(str(file.metadata.file(), ": tensor 'rope_freqs.weight' is no vector of F32"));
    std::vector<float> factors(static_cast<size_t>(tensor.shape[0]));
    dequantize(TensorType::f32, map.bytes().data() + tensor.offset, tensor.shape[0], factors.data());
    return factors;
  }
  return {};
}

class GgufSource final : public ModelSource, private TokenizerTexts {
 public:
  explicit GgufSource(const fs::path& path)
      : path_(path), map_(path), file_(parse_gguf(map_.bytes(), str("'", path.string(), "'"))) {
    const Metadata& metadata = file_.metadata;
    if (metadata.integer("split.count").value_or(1) > 1)
      throw_unsupported(str(metadata.file(), ": is one of several parts; join them first (llama-gguf-split --merge)"));
    const Architecture& architecture = architecture_of(metadata);
    const HyperParameters parameters = read_hyper_parameters(metadata, architecture);
    weights_.emplace(map_, file_, architecture, parameters);
    config_ = make_config(file_, architecture, parameters, rope_factors(file_, map_));
  }

  [[nodiscard]] std::string kind() const override { return "gguf"; }
  [[nodiscard]] const fs::path& path() const override { return path_; }
  [[nodiscard]] const json::Object& config() const override { return config_; }
  [[nodiscard]] const WeightSource& weights() const override { return *weights_; }
  [[nodiscard]] const TokenizerTexts* tokenizer() const override { return this; }

  [[nodiscard]] std::vector<CompanionFile> companions() const override {
    std::vector<CompanionFile> files;
    const auto add = [&](const char* name, std::string content) { files.push_back({name, {}, std::move(content)}); };
    add("generation_config.json", json::dump(make_generation_config(file_.metadata), 2) + "\n");
    std::string tokenizer = tokenizer_json();
    if (tokenizer.empty()) return files;
    add("tokenizer.json", std::move(tokenizer));
    add("tokenizer_config.json", json::dump(tokenizer_config(), 2) + "\n");
    return files;
  }

 private:
  // Empty, both, when the metadata hold no vocabulary.
  [[nodiscard]] std::string tokenizer_json() const override { return make_tokenizer_json(file_.metadata); }
  [[nodiscard]] json::Object tokenizer_config() const override {
    return make_tokenizer_config(file_.metadata, config_);
  }

  fs::path path_;
  MappedFile map_;
  File file_;
  json::Object config_;
  std::optional<GgufWeights> weights_;
};

}  // namespace

std::unique_ptr<ModelSource> open_gguf(const fs::path& path) {
  return std::make_unique<GgufSource>(path);
}

}  // namespace arkit::gguf
