// Out-of-line destructors and defaults of the interfaces: one vtable and one type_info each, in libarkit_core.
#include <unordered_map>

#include <ATen/ATen.h>

#include <arkit/descriptors.h>
#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/exporter_options.h>
#include <arkit/family_files.h>
#include <arkit/file_tool.h>
#include <arkit/free_mix.h>
#include <arkit/head_strips.h>
#include <arkit/importance_files.h>
#include <arkit/model_adapter.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/source_check.h>
#include <arkit/str.h>
#include <arkit/transform.h>

namespace arkit {

const LayerPlan* QuantPlan::find(std::string_view layer_name) const {
  for (const LayerPlan& layer : layers)
    if (layer.name == layer_name) return &layer;
  return nullptr;
}

std::vector<LayerPlan> ModelLayout::linears() const {
  std::vector<LayerPlan> all;
  for (const BlockLayout& block : blocks) all.insert(all.end(), block.layers.begin(), block.layers.end());
  all.insert(all.end(), outside.begin(), outside.end());
  return all;
}

std::vector<NamedTensor> tensors_of(const QuantizedWeight& weight) {
  const NamedTensor all[] = {{"codes", weight.codes},
                             {"scale", weight.scale},
                             {"zero_point", weight.zero_point},
                             {"global_scale", weight.global_scale},
                             {"offset", weight.offset},
                             {"group_min", weight.group_min},
                             {"super_scale", weight.super_scale},
                             {"super_min", weight.super_min},
                             {"g_idx", weight.group_index},
                             {"act_max", weight.act_max}};
  std::vector<NamedTensor> defined;
  for (const NamedTensor& named : all)
    if (named.tensor.defined()) defined.push_back(named);
  return defined;
}

WeightTuner::~WeightTuner() = default;
Scheme::~Scheme() = default;
at::Tensor Scheme::global_scale(const at::Tensor&, const TensorQuant&) const {
  return {};
}
at::Tensor Scheme::merge_global_scales(std::span<const at::Tensor> scales) const {
  return scales.empty() ? at::Tensor() : scales.front();
}

int64_t TensorInfo::numel() const noexcept {
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  return n;
}

struct WeightSource::Table {
  std::vector<TensorInfo> tensors;
  std::unordered_map<std::string_view, const TensorInfo*> by_name;  // into tensors
};
WeightSource::~WeightSource() = default;
void WeightSource::release(std::string_view) const noexcept {}
bool WeightSource::decodes_rows(std::string_view) const {
  return false;
}
at::Tensor WeightSource::load_rows(std::string_view name, int64_t first, int64_t count) const {
  return load(name).narrow(0, first, count);
}
std::span<const TensorInfo> WeightSource::tensors() const noexcept {
  return table_ ? std::span<const TensorInfo>(table_->tensors) : std::span<const TensorInfo>();
}
const TensorInfo* WeightSource::find(std::string_view name) const noexcept {
  if (table_ == nullptr) return nullptr;
  const auto found = table_->by_name.find(name);
  return found == table_->by_name.end() ? nullptr : found->second;
}
void WeightSource::set_tensors(std::vector<TensorInfo> tensors) {
  ARKIT_CHECK(table_ == nullptr, "a source says twice which tensors it has");
  const auto table = std::make_shared<Table>(Table{std::move(tensors), {}});
  table->by_name.reserve(table->tensors.size());
  for (const TensorInfo& info : table->tensors) table->by_name.emplace(info.name, &info);
  table_ = table;
}
void WeightSource::set_tensors(const WeightSource& same) {
  ARKIT_CHECK(table_ == nullptr, "a source says twice which tensors it has");
  table_ = same.table_;
}

InputRotation::~InputRotation() = default;
PackedLayers::~PackedLayers() = default;
AttentionScales::~AttentionScales() = default;
Rotations::~Rotations() = default;
TokenizerTexts::~TokenizerTexts() = default;
ModelSource::~ModelSource() = default;
// clang-format off
const PackedLayers* ModelSource::packed() const { return nullptr; }
const AttentionScales* ModelSource::attention_scales() const { return nullptr; }
const Rotations* ModelSource::rotations() const { return nullptr; }
const TokenizerTexts* ModelSource::tokenizer() const { return nullptr; }
std::unique_ptr<ModelSource> ModelSource::plain() const { return nullptr; }
// clang-format on
ModelReader::~ModelReader() = default;

BlockScene::~BlockScene() = default;
BlockTransform::~BlockTransform() = default;
RunTimePart::~RunTimePart() = default;
Transform::~Transform() = default;
// clang-format off
Verdict Transform::wants(const ScalePlace&, const QuantPlan&) const { return Verdict::no("it has no part in blocks"); }
std::unique_ptr<BlockTransform> Transform::start(const json::Object&) const { return nullptr; }
TransformedCheckpoint Transform::around(std::unique_ptr<ModelSource>, const std::string&, const RolesOf&) const { return {}; }
std::string Transform::recorded(const ModelSource&) const { return {}; }
// clang-format on

ExportJob::~ExportJob() = default;
bool ExportJob::takes_strips(const LayerPlan&) const {
  return false;
}
void ExportJob::add_strip(const LayerRecord& strip, int64_t) {
  ARKIT_CHECK(false, str("layer '", strip.plan.name, "' came in strips to a format that takes none"));
}
void ExportJob::add_attention(const AttentionRanges& ranges) {
  ARKIT_CHECK(false, str("this format has no place for the scales of '", ranges.module, "'"));
}
Exporter::~Exporter() = default;
std::span<const std::string_view> Exporter::variants() const {
  return {};
}
std::string_view Exporter::implied_scheme(std::string_view /*variant*/) const {
  return {};
}
Refinement Exporter::refine(const RefineRequest& /*request*/, std::string_view /*variant*/) const {
  return {};
}
bool Exporter::rounds_without_family(std::string_view /*scheme*/, std::string_view /*variant*/) const {
  return false;
}
Verdict Exporter::supports_plan(const QuantPlan&, std::string_view) const {
  return Verdict::yes();
}

BlockHook::~BlockHook() = default;
at::Tensor BlockHook::linear(const Linear& layer, const at::Tensor& x) {
  ARKIT_CHECK(layer.weight.defined(), str("layer '", layer.name, "' has no weight; a packed layer needs a backend"));
  return at::linear(x, layer.weight, layer.bias);
}
std::vector<at::Tensor> BlockHook::linears(std::span<const Linear* const> layers, const at::Tensor& x) {
  std::vector<at::Tensor> out;
  for (const Linear* layer : layers) out.push_back(linear(*layer, x));
  return out;
}
at::Tensor BlockHook::norm_weight(std::string_view, const at::Tensor& weight) {
  return weight;
}

Model::~Model() = default;
HeadStrips::~HeadStrips() = default;
std::vector<AttentionPlan> Model::attentions() const {
  return {};
}
ModelAdapter::~ModelAdapter() = default;
FamilyFiles::~FamilyFiles() = default;

SourceCheck::~SourceCheck() = default;
ExporterOptions::~ExporterOptions() = default;
FileTool::~FileTool() = default;

ImportanceFiles::~ImportanceFiles() = default;
FreeMix::~FreeMix() = default;

}  // namespace arkit
