#include "jobs/export_size.h"

#include <algorithm>
#include <filesystem>
#include <set>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/json.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "jobs/run_record.h"
#include "quant/free_formats.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kProbeRows = 128;
// Texts whose length is not worth working out, measured on exports of all formats and rounded up.
constexpr int64_t kCardBytes = 1024, kConfigBytes = 1024, kRecordBytes = 11264;
constexpr int64_t kHeaderStart = 8 + 32 + 8;  // length, metadata, padding of one file

int64_t digits(int64_t value) {
  return static_cast<int64_t>(std::to_string(value).size());
}

int64_t dtype_name_length(at::ScalarType dtype) {
  switch (dtype) {
    case at::kFloat:
    case at::kHalf:
    case at::kInt:
    case at::kLong:
      return 3;
    case at::kBFloat16:
      return 4;
    case at::kByte:
      return 2;
    default:
      return 7;
  }
}

// "NAME":{"dtype":"BF16","shape":[A,B],"data_offsets":[X,Y]},
int64_t header_entry(int64_t name, at::ScalarType dtype, int64_t dims, int64_t largest_dim, int64_t file_bytes) {
  constexpr int64_t kFrame = 45;
  return name + kFrame + dtype_name_length(dtype) + dims * (digits(largest_dim) + 1) + 2 * digits(file_bytes);
}

//     "NAME": "model-00001-of-00002.safetensors",
int64_t index_entry(int64_t name) {
  return name + 45;
}

int64_t companion_bytes(const ModelSource& source) {
  int64_t bytes = 0;
  for (const CompanionFile& file : source.companions()) {
    if (file.name == "README.md") continue;  // written anew
    std::error_code error;
    bytes += file.path.empty() ? static_cast<int64_t>(file.content.size())
                               : static_cast<int64_t>(fs::file_size(file.path, error));
    bytes += 32;  // a line or an indentation more in those that are rewritten
  }
  return bytes;
}

}  // namespace

const std::vector<ExportSizer::StoredTensor>& ExportSizer::tensors_of(const LayerPlan& layer, const QuantPlan& plan) {
  const std::string key = str(layer.out_features, "x", layer.in_features, " ", describe(layer.quant));
  const auto [entry, is_new] = known_.try_emplace(key);
  if (!is_new) return entry->second;
  LayerPlan small = layer;
  small.out_features = std::min(layer.out_features, kProbeRows);
  const at::Tensor zeros = at::zeros({small.out_features, small.in_features}, at::kFloat);
  const Scheme& scheme = registry_.scheme_for(small.quant.weight.data_type);
  const QuantizedWeight quantized = scheme.quantize_rtn(zeros, small.quant.weight, RtnMode::plain, {}, 0, {});
  LayerRecord record{.plan = small, .quantized = quantized};
  record.dequantized = zeros.to(at::kBFloat16);
  record.act_max = at::ones({1}, at::kFloat);
  for (const auto& [suffix, tensor] : format_.exporter->pack(record, plan, format_.name))
    entry->second.push_back({suffix, tensor.scalar_type(), tensor.dim()});
  return entry->second;
}

int64_t ExportSizer::header_bytes(const QuantPlan& plan, int64_t weights) {
  const int64_t shards = weights / std::max<int64_t>(max_shard_bytes_ / 2, 1) + 1;
  const bool indexed = weights > max_shard_bytes_;
  int64_t bytes = shards * kHeaderStart + (indexed ? 256 : 0);
  std::set<std::string, std::less<>> packed;
  const auto add = [&](const std::string& name, at::ScalarType dtype, int64_t dims, int64_t largest) {
    const auto length = static_cast<int64_t>(name.size());
    bytes += header_entry(length, dtype, dims, largest, weights) + (indexed ? index_entry(length) : 0);
  };
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    packed.insert(layer.name + ".weight");
    const int64_t largest = std::max(layer.out_features, layer.in_features);
    for (const StoredTensor& tensor : tensors_of(layer, plan))
      add(layer.name + "." + tensor.suffix, tensor.dtype, tensor.dims, largest);
  }
  for (const TensorInfo& tensor : source_.weights().tensors()) {
    if (packed.contains(tensor.name)) continue;
    int64_t largest = 1;
    for (const int64_t dim : tensor.shape) largest = std::max(largest, dim);
    add(tensor.name, tensor.dtype, static_cast<int64_t>(tensor.shape.size()), largest);
  }
  return bytes;
}

int64_t ExportSizer::text_bytes(const QuantPlan& plan) const {
  const auto config = static_cast<int64_t>(json::dump(source_.config(), 2).size());
  int64_t bytes = config + 2 * kConfigBytes + kCardBytes + kRecordBytes + companion_bytes(source_);
  bytes += static_cast<int64_t>(json::dump(describe_plan(plan), 2).size()) + 2 * plan.num_blocks * 160;
  for (const LayerPlan& layer : plan.layers) {
    const auto name = static_cast<int64_t>(layer.name.size());
    bytes += 16;                         // deeper indentation of arkit-run.json
    if (layer.quantized()) bytes += 48;  // its error there
    const bool listed = layer.quant.weight.quantized() != plan.global.weight.quantized() ||
                        !(layer.quant == plan.global) || !layer.quantized();
    bytes += 2 * (name + 24);                 // a target or an exception in both configurations
    if (listed) bytes += 2 * 160 + name + 4;  // what it says there; the card names layers of 16 bits
  }
  return bytes;
}

// The keys of a large vocabulary take a while to make, and the program comes back to a plan more than once.
int64_t ExportSizer::exact_bytes(const FreeMix& format, const QuantPlan& plan) {
  std::string key;
  for (const LayerPlan& layer : plan.layers)
    if (layer.quantized()) key += str(layer.name, " ", describe(layer.quant), "\n");
  const auto [entry, is_new] = exact_.try_emplace(std::move(key));
  if (is_new)
    entry->second = format.file_bytes(
        {.output_dir = {}, .source = source_, .plan = plan, .run = run_, .max_shard_bytes = max_shard_bytes_},
        format_.name);
  return entry->second;
}

int64_t ExportSizer::bound(const QuantPlan& plan, int64_t record_bytes) {
  if (const FreeMix* exact = free_mix_of(*format_.exporter)) return exact_bytes(*exact, plan);
  const int64_t weights = planned_bytes(format_, plan, source_.weights());
  return weights + header_bytes(plan, weights) + text_bytes(plan) + record_bytes;
}

}  // namespace arkit
