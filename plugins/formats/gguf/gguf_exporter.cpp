#include "gguf_exporter.h"

#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_blocks.h"
#include "gguf_export_keys.h"
#include "gguf_job.h"
#include "gguf_rules.h"

namespace arkit::gguf {
namespace {

constexpr std::string_view kPrefix = "gguf:";

// "gguf:q4_k_m", "GGUF:Q4_K_M" of each kind.
std::vector<std::string> names_of_kinds(bool capitals) {
  std::vector<std::string> names;
  for (const FileKind& kind : file_kinds()) {
    std::string name = str(kPrefix, kind.name);
    names.push_back(capitals ? upper(name) : std::move(name));
  }
  return names;
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

// What the file is called after: the variant, or the plan's preset; null = neither.
const FileKind* kind_of(const QuantPlan& plan, std::string_view variant) {
  if (variant.starts_with(kPrefix)) return find_kind(variant.substr(kPrefix.size()));
  const std::string scheme = lower(plan.scheme_name);
  return scheme.starts_with(kPrefix) ? find_kind(std::string_view(scheme).substr(kPrefix.size())) : nullptr;
}

RuleModel rule_model(const QuantPlan& plan, const json::Object& config) {
  RuleModel model;
  model.is_llama = plan.model_type == "llama" || plan.model_type == "mistral";
  model.is_qwen2 = plan.model_type == "qwen2";
  model.blocks = plan.num_blocks;
  model.heads = json::get_int(config, "num_attention_heads", "config.json").value_or(1);
  model.kv_heads = json::get_int(config, "num_key_value_heads", "config.json").value_or(model.heads);
  return model;
}

Part part_of(const LayerPlan& layer) {
  switch (layer.role) {
    case LayerRole::value:
      return Part::value;
    case LayerRole::output:
      return Part::attention_output;
    case LayerRole::down:
      return Part::down;
    case LayerRole::head:
      return Part::output;
    default:
      return Part::other;
  }
}

sdk::BlockType type_of(const LayerPlan& layer) {
  const auto type = sdk::find_block_type(layer.quant.weight.data_type);
  ARKIT_CHECK(type.has_value(), str("layer '", layer.name, "' is no block of GGUF"));
  return *type;
}

class Refining {
 public:
  Refining(const RefineRequest& request, const FileKind& kind)
      : request_(request), kind_(kind), model_(rule_model(request.plan, request.source.config())) {}

  Refinement run() {
    for (const LayerPlan& layer : request_.plan.layers) {
      if (layer.user_fixed) continue;
      if (layer.kind == LayerKind::embedding)
        want(layer, request_.plan.tied_embeddings ? Part::output : Part::embedding);
      else if (layer.role != LayerRole::head || !request_.plan.tied_embeddings)
        want(layer, part_of(layer));
    }
    for (const LayerPlan& table : request_.tables)
      if (table.name == "model.embed_tokens")
        want(table, request_.plan.tied_embeddings ? Part::output : Part::embedding);
    return std::move(refinement_);
  }

 private:
  void want(const LayerPlan& layer, Part part) {
    const sdk::BlockType rule = type_of_part(kind_, model_, part, layer.block);
    const auto type = fitting_type(rule, layer.in_features);
    LayerQuant quant = request_.plan.global;
    quant.weight = type ? sdk::quant_of(*type) : TensorQuant{};
    if (quant.weight == layer.quant.weight) return;
    std::string reason = "llama.cpp's rule for " + std::string(kind_.name);
    if (type != rule)
      reason = str("rows of ", layer.in_features, " are no whole blocks of ", sdk::name_of(rule), ": ",
                   type ? std::string(sdk::name_of(*type)) : std::string("16 bits"));
    if (!type && !layer.quantized()) return;
    refinement_.changes.push_back({layer.name, quant, std::move(reason)});
  }

  const RefineRequest& request_;
  const FileKind& kind_;
  RuleModel model_;
  Refinement refinement_;
};

}  // namespace

const ExporterInfo& GgufExporter::info() const noexcept {
  static constexpr ExporterInfo kInfo{
      .name = "gguf", .summary = "one file for llama.cpp and programs made of it", .quant_method = ""};
  return kInfo;
}

std::span<const std::string_view> GgufExporter::variants() const {
  static const std::vector<std::string> kNames = names_of_kinds(false);
  static const std::vector<std::string_view> kViews = views(kNames);
  return kViews;
}

std::string_view GgufExporter::implied_scheme(std::string_view variant) const {
  static const std::vector<std::string> kSchemes = names_of_kinds(true);
  const FileKind* kind = variant.starts_with(kPrefix) ? find_kind(variant.substr(kPrefix.size())) : nullptr;
  return kind == nullptr ? std::string_view()
                         : std::string_view(kSchemes.at(static_cast<size_t>(kind - file_kinds().data())));
}

Refinement GgufExporter::refine(const RefineRequest& request, std::string_view variant) const {
  const FileKind* kind = kind_of(request.plan, variant);
  if (kind == nullptr) return {};  // layers as they were chosen
  return Refining(request, *kind).run();
}

LayerQuant GgufExporter::fitting(const LayerPlan& layer, std::string_view) const {
  LayerQuant quant = layer.quant;
  const auto wanted = sdk::find_block_type(quant.weight.data_type);
  if (!wanted) return quant;
  const auto type = fitting_type(*wanted, layer.in_features);
  if (type != wanted) quant.weight = type ? sdk::quant_of(*type) : TensorQuant{};
  return quant;
}

int64_t GgufExporter::file_bytes(const ModelSource& source, const QuantPlan& plan, std::string_view variant) const {
  return bytes_of_file({.output_dir = {}, .source = source, .plan = plan, .run = {}}, kind_of(plan, variant));
}

Verdict GgufExporter::supports(const LayerPlan& layer, std::string_view) const {
  if (layer.kind == LayerKind::expert || layer.kind == LayerKind::conv1d)
    return Verdict::no("arkit writes experts and Conv1D layers to no GGUF file");
  if (layer.quant.act.quantized()) return Verdict::no("GGUF files leave activations as they are");
  const auto type = sdk::find_block_type(layer.quant.weight.data_type);
  if (!type)
    return Verdict::no(str("'", layer.quant.weight.data_type,
                           "' is no block type of GGUF; choose a preset GGUF:... ('arkit list schemes' shows all)"));
  if (layer.in_features % sdk::shape_of(*type).block != 0)
    return Verdict::no(str("rows of ", layer.in_features, " are no whole blocks of ", sdk::name_of(*type)));
  return Verdict::yes();
}

Verdict GgufExporter::supports_source(const ModelSource& source, const QuantPlan&, std::string_view) const {
  if (source.rotations() != nullptr) return Verdict::no("rotations at run time have no place in GGUF files");
  if (std::string why = why_no_model_keys(source); !why.empty()) return Verdict::no(std::move(why));
  if (std::string why = why_no_tokenizer_keys(source); !why.empty()) return Verdict::no(std::move(why));
  return Verdict::yes();
}

TensorMap GgufExporter::pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const {
  const BlockRows rows(layer.quantized, type_of(layer.plan));
  at::Tensor bytes = at::empty({layer.plan.out_features, rows.row_bytes()}, at::kByte);
  auto* to = static_cast<std::byte*>(bytes.mutable_data_ptr());
  for (int64_t row = 0; row < layer.plan.out_features; ++row) rows.encode(row, to + row * rows.row_bytes());
  TensorMap packed;
  packed.emplace("weight", std::move(bytes));
  return packed;
}

QuantizedWeight GgufExporter::unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                     std::string_view) const {
  return decode_blocks(packed.at("weight"), type_of(layer), layer.in_features);
}

int64_t GgufExporter::packed_bytes(const LayerPlan& layer, std::string_view) const {
  const TypeInfo& type = *find_type(static_cast<uint32_t>(tensor_type(type_of(layer))));
  return layer.out_features * (layer.in_features / type.block_size * type.block_bytes + (layer.has_bias ? 4 : 0));
}

std::unique_ptr<ExportJob> GgufExporter::open(const ExportRequest& request, std::string_view variant) const {
  return open_job(request, kind_of(request.plan, variant));
}

}  // namespace arkit::gguf
