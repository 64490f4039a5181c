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
#include "gguf_weights.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr uint32_t kGuessed = 1024;  // general.file_type of a mixture without a name
constexpr int64_t kStripBytes = int64_t{4} << 20;
constexpr std::string_view kWeight = ".weight", kRopeTensor = "rope_freqs.weight";

// Where a tensor of the source goes.
struct Place {
  std::string name;  // in the source; empty = rope_freqs.weight
  const LayerPlan* layer = nullptr;
  int64_t heads = 0;  // > 0: rows in llama.cpp's rotary order
  bool written = false;
  StoredTensor stored;
};

// Vectors in F32, matrices that stay in what they are stored in.
TensorType plain_type(const TensorInfo& info) {
  if (info.shape.size() < 2) return TensorType::f32;
  if (info.dtype == at::kBFloat16) return TensorType::bf16;
  return info.dtype == at::kHalf ? TensorType::f16 : TensorType::f32;
}

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
  // Without `writes` it only finds out how large the file will be.
  GgufJob(const ExportRequest& request, const FileKind* kind, bool writes)
      : request_(request), architecture_(architecture_of(request.source)) {
    if (writes) lock_.emplace(request.output_dir);
    plan_tensors();
    KeyValues keys;
    const Called called = called_after(kind);
    put_model_keys(keys, request.source, architecture_, parameters_, called.file_type);
    put_tokenizer_keys(keys, request.source, vocabulary_);
    std::vector<StoredTensor> tensors;
    for (const Place& place : places_) tensors.push_back(place.stored);
    const int64_t data = lay_out(tensors);
    for (size_t i = 0; i < places_.size(); ++i) places_[i].stored = tensors[i];
    const std::string header = header_of(keys, tensors);
    data_at_ = static_cast<int64_t>(header.size());
    bytes_ = data_at_ + data;
    if (!writes) return;
    file_.emplace(request.output_dir / file_name(called));
    file_->reserve(bytes_);
    file_->write_at(0, header.data(), data_at_);
    if (const std::vector<float> factors = rope_tensor(request.source); !factors.empty()) {
      Place& place = place_of({});
      file_->write_at(at(place), factors.data(), place.stored.bytes);
      place.written = true;
    }
  }

  [[nodiscard]] int64_t bytes() const noexcept { return bytes_; }

  void add_layer(const LayerRecord& layer) override {
    Place& place = place_of(layer.plan.name + std::string(kWeight));
    const auto type = sdk::find_block_type(layer.plan.quant.weight.data_type);
    ARKIT_CHECK(type.has_value(), str("layer '", layer.plan.name, "' is no block of GGUF"));
    require_finite(layer.quantized, layer.plan.name);
    const BlockRows rows(layer.quantized, *type);
    write_rows(place, layer.plan.out_features, rows.row_bytes(),
               [&](int64_t row, std::byte* to) { rows.encode(row, to); });
    packed_bits_ += 8.0 * static_cast<double>(place.stored.bytes);
    packed_weights_ += static_cast<double>(layer.plan.out_features) * static_cast<double>(layer.plan.in_features);
    if (layer.bias.defined()) write_plain(place_of(layer.plan.name + ".bias"), layer.bias);
  }

  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) override {
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) return;  // dropped by rule: a tied head, a buffer
    Place& place = places_[found->second];
    if (place.written || place.layer != nullptr) return;
    write_plain(place, changed ? tensor : request_.source.weights().load(name));
    if (!changed) request_.source.weights().release(name);
  }

  ExportReport finish() override {
    for (Place& place : places_) {
      if (place.written) continue;
      ARKIT_CHECK(place.layer == nullptr, str("layer of tensor '", place.name, "' was never added to the export"));
      write_plain(place, request_.source.weights().load(place.name));
      request_.source.weights().release(place.name);
    }
    file_->publish();
    ExportReport report;
    report.files = {file_->final_path().filename()};
    report.bytes = bytes_;
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
    return {"mixed", kGuessed};
  }

  // "SmolLM2-135M-Q4_K_M.gguf", as the format's readers name them.
  [[nodiscard]] std::string file_name(const Called& called) const {
    std::string name = model_name(request_.source);
    std::replace(name.begin(), name.end(), ' ', '-');
    const std::string label = size_label(parameters_);
    if (lower(name).find(lower(label)) == std::string::npos) name += "-" + label;
    return str(name, "-", called.name, ".gguf");
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
      place.stored.type = type ? tensor_type(*type) : plain_type(info);
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

  Place& place_of(const std::string& name) {
    const auto found = by_name_.find(name);
    ARKIT_CHECK(found != by_name_.end(), str("tensor '", name, "' is not part of the source"));
    return places_[found->second];
  }

  [[nodiscard]] int64_t at(const Place& place) const { return data_at_ + place.stored.offset; }

  // float16's range is small: scales of unusual weights may leave it.
  static void require_finite(const QuantizedWeight& weight, const std::string& layer) {
    for (const at::Tensor& scales : {weight.scale, weight.super_scale, weight.super_min, weight.offset})
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
      file_->write_at(at(place) + first * row_bytes, bytes.data(), count * row_bytes);
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
    });
  }

  const ExportRequest request_;
  const Architecture& architecture_;
  std::optional<FolderLock> lock_;
  std::vector<Place> places_;  // in the order of the file
  std::map<std::string, size_t, std::less<>> by_name_;
  int64_t parameters_ = 0, vocabulary_ = 0, data_at_ = 0, bytes_ = 0;
  std::optional<PartFile> file_;
  double packed_bits_ = 0, packed_weights_ = 0;
};

}  // namespace

std::unique_ptr<ExportJob> open_job(const ExportRequest& request, const FileKind* kind) {
  return std::make_unique<GgufJob>(request, kind, true);
}

int64_t bytes_of_file(const ExportRequest& request, const FileKind* kind) {
  return GgufJob(request, kind, false).bytes();
}

}  // namespace arkit::gguf
