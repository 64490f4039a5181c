#include <arkit/sdk/forwarding_source.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

bool has(const std::vector<AttentionSpec>& modules, std::string_view name) {
  return std::any_of(modules.begin(), modules.end(), [&](const AttentionSpec& spec) { return spec.name == name; });
}

}  // namespace

std::span<const LinearSpec> packed_layers(const ModelSource& source) {
  const PackedLayers* packed = source.packed();
  return packed == nullptr ? std::span<const LinearSpec>() : packed->layers();
}
const PackedLayers& packed_of(const ModelSource& source) {
  const PackedLayers* packed = source.packed();
  if (packed == nullptr) throw_input(str("'", source.path().string(), "': has no packed layers"));
  return *packed;
}
std::span<const AttentionSpec> attention_modules(const ModelSource& source) {
  const AttentionScales* scales = source.attention_scales();
  return scales == nullptr ? std::span<const AttentionSpec>() : scales->modules();
}
std::shared_ptr<const InputRotation> input_rotation(const ModelSource& source, std::string_view layer) {
  const Rotations* rotations = source.rotations();
  return rotations == nullptr ? nullptr : rotations->of_input(layer);
}

ForwardingSource::ForwardingSource(std::unique_ptr<ModelSource> inner)
    : owned_(std::move(inner)), inner_(owned_.get()) {
  ARKIT_CHECK(inner_ != nullptr, "a source around nothing");
}
ForwardingSource::ForwardingSource(const ModelSource& inner) : inner_(&inner) {}
ForwardingSource::~ForwardingSource() = default;

void ForwardingSource::own(std::unique_ptr<ModelSource> inner) {
  ARKIT_CHECK(inner.get() == inner_, "a source is given another one than it was made around");
  owned_ = std::move(inner);
}

std::string ForwardingSource::kind() const {
  return inner().kind();
}
const std::filesystem::path& ForwardingSource::path() const {
  return inner().path();
}
const json::Object& ForwardingSource::config() const {
  return inner().config();
}
const WeightSource& ForwardingSource::weights() const {
  return inner().weights();
}
std::vector<CompanionFile> ForwardingSource::companions() const {
  return inner().companions();
}
const PackedLayers* ForwardingSource::packed() const {
  return inner().packed();
}
const AttentionScales* ForwardingSource::attention_scales() const {
  return inner().attention_scales();
}
const Rotations* ForwardingSource::rotations() const {
  return inner().rotations();
}
const TokenizerTexts* ForwardingSource::tokenizer() const {
  return inner().tokenizer();
}

PackedSelection::PackedSelection(const ModelSource& source, const std::function<bool(const LinearSpec&)>& keep)
    : source_(source) {
  std::ranges::copy_if(packed_layers(source), std::back_inserter(layers_), keep);
  for (const LinearSpec& layer : layers_) names_.insert(layer.name);
}
const PackedLayers& PackedSelection::all_for(std::string_view layer) const {
  if (!names_.contains(layer))
    throw_input(str("'", source_.path().string(), "': has no packed layer '", printable(layer), "'"));
  return packed_of(source_);
}
TensorMap PackedSelection::tensors(std::string_view layer) const {
  return all_for(layer).tensors(layer);
}
QuantizedWeight PackedSelection::unpack(std::string_view layer) const {
  return all_for(layer).unpack(layer);
}

ScalesSelection::ScalesSelection(const ModelSource& source, const std::function<bool(const AttentionSpec&)>& keep)
    : source_(source) {
  std::ranges::copy_if(attention_modules(source), std::back_inserter(modules_), keep);
}
AttentionRanges ScalesSelection::ranges(std::string_view module) const {
  if (!has(modules_, module))
    throw_input(str("'", source_.path().string(), "': has no static scales of '", printable(module), "'"));
  return source_.attention_scales()->ranges(module);
}

}  // namespace arkit::sdk
