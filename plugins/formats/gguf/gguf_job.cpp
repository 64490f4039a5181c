#include "gguf_job.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "gguf_blocks.h"
#include "gguf_export_keys.h"
#include "gguf_imatrix.h"
#include "gguf_model_name.h"
#include "gguf_weights.h"
#include "gguf_writer.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr uint32_t kGuessed = 1024;  // general.file_type of a mixture that has no kind's type
constexpr int64_t kStripBytes = int64_t{4} << 20;
constexpr std::string_view kWeight = ".weight", kRopeTensor = "rope_freqs.weight";
constexpr std::string_view kScale = ".scale";  // of a whole NVFP4 tensor

// Where a tensor of the source goes.
struct Place {
  std::string name;  // in the source; empty = rope_freqs.weight; "LAYER.scale" is of the file alone
  const LayerPlan* layer = nullptr;
  int64_t heads = 0;  // > 0: rows in llama.cpp's rotary order
  bool written = false;
  size_t index = 0;          // in the file
  int64_t rows_written = 0;  // of one that comes in strips
  StoredTensor stored;
};

at::ScalarType dtype_of(TensorType type) {
  if (type == TensorType::bf16) return at::kBFloat16;
  return type == TensorType::f16 ? at::kHalf : at::kFloat;
}

// As llama.cpp sorts them: what lies outside blocks first, block after block, by name.
std::pair<int64_t, std::string> order_of(const std::string& name) {
  int64_t block = -1;
  if (name.starts_with("blk.")) block = std::stoll(name.substr(4));
  return {block, name};
}

int64_t heads_of(const std::string& name, const Architecture& architecture, const json::Object& config) {
  if (!architecture.permutes_q_and_k) return 0;
  const auto heads = json::get_int(config, "num_attention_heads", "config.json").value_or(0);
  if (name.find(".attn_q.") != std::string::npos) return heads;
  if (name.find(".attn_k.") == std::string::npos) return 0;
  return json::get_int(config, "num_key_value_heads", "config.json").value_or(heads);
}

class GgufJob final : public ExportJob {
 public:
  // Without `writes` it only finds out how large the files will be.
  GgufJob(const ExportRequest& request, const FileKind* kind, std::shared_ptr<const FileOptions> options,
          std::optional<TensorType> plain, bool writes)
      : request_(request), architecture_(architecture_of(request.source)), options_(std::move(options)), plain_(plain) {
    if (writes) lock_.emplace(request.output_dir);
    plan_tensors();
    KeyValues keys;
    const Called called = called_after(kind);
    put_model_keys(keys, request.source, architecture_, parameters_, called.file_type);
    put_tokenizer_keys(keys, request.source, vocabulary_);
    if (request.run.importance) put_importance_keys(keys, *request.run.importance);
    std::vector<StoredTensor> tensors;
    for (const Place& place : places_) tensors.push_back(place.stored);
    const std::vector<size_t> parts = cut(keys, tensors, cut_rule());
    if (!writes) {
      bytes_ = bytes_of(keys, tensors, parts);
      return;
    }
    // "SmolLM2-135M-Instruct-Q4_K_M"
    const std::string stem = str(file_stem(model_name(request.source), parameters_), "-", called.name);
    writer_.emplace(request.output_dir, stem, keys, std::move(tensors), parts);
    for (size_t i = 0; i < places_.size(); ++i) {
      places_[i].index = i;
      places_[i].stored = writer_->tensor(i);
    }
    if (const std::vector<float> factors = rope_tensor(request.source); !factors.empty()) {
      Place& place = place_of({});
      writer_->write(place.index, 0, factors.data(), place.stored.bytes);
      place.written = true;
    }
  }

  // Of one that does not write.
  [[nodiscard]] int64_t bytes() const noexcept { return bytes_; }

  void add_layer(const LayerRecord& layer) override {
    Place& place = place_of(layer.plan.name + std::string(kWeight));
    const auto type = sdk::find_block_type(layer.plan.quant.weight.data_type);
    ARKIT_CHECK(type.has_value(), str("layer '", layer.plan.name, "' is no block of GGUF"));
    require_finite(layer.quantized, layer.plan.name);
    const BlockRows rows(layer.quantized, *type);
    write_rows(place, layer.plan.out_features, rows.row_bytes(),
               [&](int64_t row, std::byte* to) { rows.encode(row, to); });
    count_packed(layer.plan, place);
    if (layer.bias.defined()) write_plain(place_of(layer.plan.name + ".bias"), layer.bias);
    if (*type == sdk::BlockType::nvfp4)
      write_plain(place_of(layer.plan.name + std::string(kScale)), layer.quantized.global_scale);
  }

  // Rows that lie in another order are written when all of their head are there.
  bool takes_strips(const LayerPlan& layer) const override {
    const auto found = by_name_.find(layer.name + std::string(kWeight));
    return found != by_name_.end() && places_[found->second].heads == 0;
  }

  void add_strip(const LayerRecord& strip, int64_t first_row) override {
    Place& place = place_of(strip.plan.name + std::string(kWeight));
    const auto type = sdk::find_block_type(strip.plan.quant.weight.data_type);
    ARKIT_CHECK(type.has_value(), str("layer '", strip.plan.name, "' is no block of GGUF"));
    require_finite(strip.quantized, strip.plan.name);
    const BlockRows rows(strip.quantized, *type);
    const int64_t count = strip.quantized.codes.size(0), row_bytes = rows.row_bytes();
    ARKIT_CHECK(!place.written && first_row + count <= strip.plan.out_features &&
                    strip.plan.out_features * row_bytes == place.stored.bytes,
                str("tensor '", place.name, "' has no such rows"));
    std::vector<std::byte> bytes(static_cast<size_t>(count * row_bytes));
    for (int64_t row = 0; row < count; ++row) rows.encode(row, bytes.data() + row * row_bytes);
    writer_->write(place.index, first_row * row_bytes, bytes.data(), count * row_bytes);
    place.rows_written += count;
    if (place.rows_written < strip.plan.out_features) return;
    place.written = true;
    count_packed(strip.plan, place);
  }

  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) override {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;  // dropped by rule: a tied head, a buffer
    Place& place = places_[found->second];
    if (place.written || place.layer != nullptr) return;
    changed ? write_plain(place, tensor) : copy_plain(place);
  }

  ExportReport finish() override {
    for (Place& place : places_) {
      if (place.written) continue;
      ARKIT_CHECK(place.layer == nullptr, str("layer of tensor '", place.name, "' was never added to the export"));
      copy_plain(place);
    }
    writer_->publish();
    ExportReport report;
    for (const fs::path& file : writer_->files()) report.files.push_back(file.filename());
    report.bytes = writer_->bytes();
    if (packed_weights_ > 0) report.bits_per_weight = packed_bits_ / packed_weights_;
    return report;
  }

 private:
  static const Architecture& architecture_of(const ModelSource& source) {
    const std::string type = json::get_string(source.config(), "model_type", "config.json").value_or("");
    const Architecture* architecture = architecture_for(type);
    ARKIT_CHECK(architecture != nullptr, "the source was not checked");
    return *architecture;
  }

  struct Called {
    std::string name;  // "Q4_K_M"
    uint32_t file_type;
  };
  // A kind, or of a file without blocks the type of its matrices.
  [[nodiscard]] Called called_after(const FileKind* kind) const {
    if (kind != nullptr) return {upper(kind->name), kind->id};
    std::set<TensorType> types;
    for (const Place& place : places_)
      if (place.stored.shape.size() > 1) types.insert(place.stored.type);
    if (types == std::set{TensorType::bf16}) return {"BF16", 32};
    if (types == std::set{TensorType::f16}) return {"F16", 1};
    if (types == std::set{TensorType::f32}) return {"F32", 0};
    return {"mixed", type_of_most()};
  }

  // A mixture is no kind of file, and readers show one: that of the type which most weights have, as they guess it
  // themselves where a file says nothing.
  [[nodiscard]] uint32_t type_of_most() const {
    std::map<sdk::BlockType, int64_t> weights;
    for (const Place& place : places_)
      if (const auto type = place.layer == nullptr ? std::nullopt : block_type_of(place.stored.type))
        weights[*type] += place.layer->out_features * place.layer->in_features;
    const auto most = std::max_element(weights.begin(), weights.end(),
                                       [](const auto& a, const auto& b) { return a.second < b.second; });
    uint32_t id = kGuessed;
    if (most == weights.end()) return id;
    for (const FileKind& kind : file_kinds())
      if (kind.base == most->first && (id == kGuessed || kind.name.ends_with("_m"))) id = kind.id;
    return id;
  }

  [[nodiscard]] CutRule cut_rule() const {
    if (!options_->part_bytes) return {};
    return {.bytes = options_->part_bytes, .option = str("--split_max_size ", *options_->part_bytes)};
  }

  void plan_tensors() {
    const QuantPlan& plan = request_.plan;
    for (const TensorInfo& info : request_.source.weights().tensors()) {
      if (info.name.ends_with("rotary_emb.inv_freq")) continue;
      if (plan.tied_embeddings && info.name == "lm_head.weight") continue;
      const std::optional<std::string> name = gguf_tensor_name(info.name);
      if (!name)
        throw_unsupported(str("tensor '", printable(info.name), "' has no place in GGUF files of architecture '",
                              architecture_.name, "'"));
      parameters_ += info.numel();
      Place place{.name = info.name, .heads = heads_of(*name, architecture_, request_.source.config())};
      place.stored.name = *name;
      place.stored.shape = info.shape;
      if (*name == "token_embd.weight") vocabulary_ = info.shape.at(0);
      if (info.name.ends_with(kWeight)) {
        const LayerPlan* layer = plan.find(std::string_view(info.name).substr(0, info.name.size() - kWeight.size()));
        if (layer != nullptr && layer->quantized()) place.layer = layer;
      }
      const auto type =
          place.layer == nullptr ? std::nullopt : sdk::find_block_type(place.layer->quant.weight.data_type);
      place.stored.type = type ? tensor_type(*type) : plain_type(info, *name);
      if (type == sdk::BlockType::nvfp4) places_.push_back(scale_of(place));
      places_.push_back(std::move(place));
    }
    if (const auto factors = rope_tensor(request_.source); !factors.empty()) {
      Place place;
      place.stored.name = kRopeTensor;
      place.stored.shape = {static_cast<int64_t>(factors.size())};
      places_.push_back(std::move(place));
    }
    std::sort(places_.begin(), places_.end(),
              [](const Place& a, const Place& b) { return order_of(a.stored.name) < order_of(b.stored.name); });
    for (size_t i = 0; i < places_.size(); ++i) by_name_.emplace(places_[i].name, i);
  }

  static Place scale_of(const Place& weight) {
    const auto renamed = [](std::string_view name) {
      return str(name.substr(0, name.size() - kWeight.size()), kScale);
    };
    Place place{.name = renamed(weight.name), .layer = weight.layer};
    place.stored.name = renamed(weight.stored.name);
    place.stored.shape = {1};
    return place;
  }

  // Vectors in F32, matrices in what the user asked for, else what they are stored in.
  [[nodiscard]] TensorType plain_type(const TensorInfo& info, const std::string& name) const {
    if (info.shape.size() < 2) return TensorType::f32;
    const bool is_head = name == "output.weight" || (request_.plan.tied_embeddings && name == "token_embd.weight");
    if (const auto wish = options_->wish_for(name, is_head); wish && !block_type_of(*wish)) return *wish;
    if (plain_) return *plain_;
    if (info.dtype == at::kBFloat16) return TensorType::bf16;
    return info.dtype == at::kHalf ? TensorType::f16 : TensorType::f32;
  }

  Place& place_of(const std::string& name) {
    const auto found = by_name_.find(name);
    ARKIT_CHECK(found != by_name_.end(), str("tensor '", name, "' is not part of the source"));
    return places_[found->second];
  }

  void count_packed(const LayerPlan& layer, const Place& place) {
    packed_bits_ += 8.0 * static_cast<double>(place.stored.bytes);
    packed_weights_ += static_cast<double>(layer.out_features) * static_cast<double>(layer.in_features);
  }

  // float16's range is small: scales of unusual weights may leave it.
  static void require_finite(const QuantizedWeight& weight, const std::string& layer) {
    for (const at::Tensor& scales :
         {weight.scale, weight.super_scale, weight.super_min, weight.offset, weight.global_scale})
      if (scales.defined() && !at::isfinite(scales).all().item<bool>())
        throw_input(str("layer '", printable(layer),
                        "': a scale is beyond float16, which GGUF keeps scales in; leave "
                        "the layer in 16 bits (--ignore_layers)"));
  }

  // make(row of the source, bytes) for the rows of a file in their order, a strip at a time.
  template <typename Make>
  void write_rows(Place& place, int64_t rows, int64_t row_bytes, const Make& make) {
    ARKIT_CHECK(!place.written && rows * row_bytes == place.stored.bytes, str("tensor '", place.name, "' comes twice"));
    const int64_t strip = std::max<int64_t>(1, kStripBytes / row_bytes);
    std::vector<std::byte> bytes(static_cast<size_t>(std::min(strip, rows) * row_bytes));
    for (int64_t first = 0; first < rows; first += strip) {
      const int64_t count = std::min(strip, rows - first);
      at::parallel_for(0, count, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          make(source_row(first + i, place.heads, rows), bytes.data() + i * row_bytes);
      });
      writer_->write(place.index, first * row_bytes, bytes.data(), count * row_bytes);
    }
    place.written = true;
  }

  void write_plain(Place& place, const at::Tensor& tensor) {
    const at::ScalarType dtype = dtype_of(place.stored.type);
    const int64_t rows = tensor.dim() == 0 ? 1 : tensor.size(0), columns = tensor.numel() / rows;
    const at::Tensor matrix = tensor.reshape({rows, columns});
    const int64_t row_bytes = columns * static_cast<int64_t>(c10::elementSize(dtype));
    write_rows(place, rows, row_bytes, [&](int64_t row, std::byte* to) {
      at::from_blob(to, {columns}, at::TensorOptions(dtype)).copy_(matrix.select(0, row));
      require_in_half(place, to, columns);
    });
  }

  // `values`: as they are in the file.
  static void require_in_half(const Place& place, const void* values, int64_t count) {
    if (place.stored.type != TensorType::f16) return;
    const auto* halves = static_cast<const uint16_t*>(values);
    if (std::any_of(halves, halves + count, [](uint16_t half) { return (half & 0x7C00U) == 0x7C00U; }))
      throw_input(str("tensor '", printable(place.name),
                      "': a number is beyond float16, whose largest is 65504; choose bf16 or f32"));
  }

  // From the source; what it decodes, a few rows at a time.
  void copy_plain(Place& place) {
    const WeightSource& weights = request_.source.weights();
    if (place.heads > 0 || !weights.decodes_rows(place.name)) {
      write_plain(place, weights.load(place.name));
      weights.release(place.name);
      return;
    }
    const int64_t rows = place.stored.shape.front(), row_bytes = place.stored.bytes / rows;
    const int64_t strip = std::max<int64_t>(1, kStripBytes / row_bytes);
    for (int64_t first = 0; first < rows; first += strip) {
      const int64_t count = std::min(strip, rows - first);
      const at::Tensor part = weights.load_rows(place.name, first, count).to(dtype_of(place.stored.type)).contiguous();
      require_in_half(place, part.const_data_ptr(), part.numel());
      writer_->write(place.index, first * row_bytes, part.const_data_ptr(), count * row_bytes);
    }
    place.written = true;
  }

  const ExportRequest request_;
  const Architecture& architecture_;
  const std::shared_ptr<const FileOptions> options_;
  const std::optional<TensorType> plain_;
  std::optional<FolderLock> lock_;
  std::vector<Place> places_;  // in the order of the file
  std::map<std::string, size_t, std::less<>> by_name_;
  int64_t parameters_ = 0, vocabulary_ = 0, bytes_ = 0;
  std::optional<Writer> writer_;
  double packed_bits_ = 0, packed_weights_ = 0;
};

}  // namespace

std::unique_ptr<ExportJob> open_job(const ExportRequest& request, const FileKind* kind,
                                    std::shared_ptr<const FileOptions> options, std::optional<TensorType> plain) {
  return std::make_unique<GgufJob>(request, kind, std::move(options), plain, true);
}

int64_t bytes_of_files(const ExportRequest& request, const FileKind* kind, std::shared_ptr<const FileOptions> options,
                       std::optional<TensorType> plain) {
  return GgufJob(request, kind, std::move(options), plain, false).bytes();
}

}  // namespace arkit::gguf
