#include "gguf_exporter.h"

#include <array>
#include <map>
#include <optional>
#include <string>
#include <utility>
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

// Kinds without blocks: every matrix in one type.
constexpr std::array<std::pair<std::string_view, TensorType>, 3> kPlainKinds{
    {{"gguf:f16", TensorType::f16}, {"gguf:bf16", TensorType::bf16}, {"gguf:f32", TensorType::f32}}};

std::optional<TensorType> plain_kind(std::string_view variant) {
  for (const auto& [name, type] : kPlainKinds)
    if (name == variant) return type;
  return std::nullopt;
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

RuleModel rule_model(const RefineRequest& request, RuleSet rules) {
  const QuantPlan& plan = request.plan;
  const json::Object& config = request.source.config();
  const auto number = [&](std::initializer_list<std::string_view> keys) -> std::optional<int64_t> {
    for (const std::string_view key : keys)
      if (const auto value = json::get_int(config, key, "config.json")) return value;
    return std::nullopt;
  };
  RuleModel model;
  model.rules = rules;
  model.importance = request.importance && rules == RuleSet::llama_cpp;  // AutoRound's do not ask for one
  model.is_llama = plan.model_type == "llama" || plan.model_type == "mistral";
  model.is_qwen2 = plan.model_type == "qwen2";
  model.is_falcon = plan.model_type == "falcon";
  model.blocks = plan.num_blocks;
  model.heads = number({"num_attention_heads"}).value_or(1);
  model.kv_heads = number({"num_key_value_heads"}).value_or(model.heads);
  model.experts = number({"num_experts", "num_local_experts", "n_routed_experts"}).value_or(0);
  return model;
}

Part part_of(const LayerPlan& layer) {
  switch (layer.role) {
    case LayerRole::key:
      return Part::key;
    case LayerRole::value:
    case LayerRole::qkv:
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

// What each layer of a plan becomes: what the user asked for by the tensor's name, else the rules' choice.
class Refining {
 public:
  // `kind`: null = layers as they were chosen, but for what the user asks for.
  Refining(const RefineRequest& request, const FileKind* kind, const FileOptions& options)
      : request_(request),
        kind_(kind),
        options_(options),
        model_(rule_model(request, options.rules)),
        matched_(options.wishes.size(), false) {}

  Refinement run() {
    const bool tied = request_.plan.tied_embeddings;
    for (const LayerPlan& layer : request_.plan.layers) {
      if (layer.kind == LayerKind::embedding)
        look_at(layer, tied ? Part::output : Part::embedding);
      else if (layer.role != LayerRole::head || !tied)
        look_at(layer, part_of(layer));
    }
    for (const LayerPlan& table : request_.tables)
      if (table.name == "model.embed_tokens") look_at(table, tied ? Part::output : Part::embedding);
    for (size_t i = 0; i < matched_.size(); ++i)
      if (!matched_[i])
        refinement_.unmatched.push_back(str("--tensor_type '", printable(options_.wishes[i].text),
                                            "' is found in no name of a matrix; they are like 'blk.0.attn_q.weight'"));
    if (options_.output && !tied && !has_head_)
      refinement_.unmatched.emplace_back("--output_tensor_type: the model has no head");
    return std::move(refinement_);
  }

 private:
  void look_at(const LayerPlan& layer, Part part) {
    const std::string name = gguf_tensor_name(layer.name + ".weight").value_or("");
    has_head_ = has_head_ || part == Part::output;
    for (size_t i = 0; i < matched_.size(); ++i) matched_[i] = matched_[i] || options_.wishes[i].regex.search(name);
    const std::optional<TensorType> wish = options_.wish_for(name, part == Part::output);
    if (layer.user_fixed) {
      if (wish) refuse_other(layer, *wish);
      return;
    }
    if (!wish) {
      if (kind_ != nullptr) want(layer, type_of_part(*kind_, model_, part, place(part, layer.block)), by_rule());
      return;
    }
    if (part == Part::value || part == Part::down) ++passed_[part];
    const auto type = block_type_of(*wish);
    if (type)
      want(layer, *type, str("asked for '", name, "'"));
    else
      keep(layer, str("asked for '", name, "'"));
  }

  // llama.cpp counts the layers it chooses for, and passes over those that the user has chosen; with experts, and in
  // AutoRound's rules, it is the block that counts.
  [[nodiscard]] int64_t place(Part part, int64_t block) const {
    const bool counts = options_.rules == RuleSet::llama_cpp && (part == Part::value || model_.experts <= 1);
    const auto passed = passed_.find(part);
    return counts && passed != passed_.end() ? block - passed->second : block;
  }

  [[nodiscard]] std::string by_rule() const { return str(name_of(options_.rules), "'s rule for ", kind_->name); }

  // What the user said of a layer, and of its tensor.
  void refuse_other(const LayerPlan& layer, TensorType wish) {
    const auto type = block_type_of(wish);
    if (type ? sdk::find_block_type(layer.quant.weight.data_type) == type : !layer.quantized()) return;
    if (refinement_.why_not.empty())
      refinement_.why_not = str("layer '", layer.name, "' is to be ", find_type(static_cast<uint32_t>(wish))->name,
                                " by the options of tensors, and ", layer.reason, " says otherwise; leave one out");
  }

  void want(const LayerPlan& layer, sdk::BlockType rule, std::string reason) {
    const auto type = fitting_type(rule, layer.in_features, options_.rules);
    LayerQuant quant = request_.plan.global;
    quant.weight = type ? sdk::quant_of(*type) : TensorQuant{};
    if (type && sdk::has_auto_round_search(*type)) quant.weight.observer = request_.plan.global.weight.observer;
    if (quant.weight == layer.quant.weight) return;
    if (type != rule)
      reason = str("rows of ", layer.in_features, " are no whole blocks of ", sdk::name_of(rule), ": ",
                   type ? std::string(sdk::name_of(*type)) : std::string("16 bits"));
    if (!type && !layer.quantized()) return;
    refinement_.changes.push_back({layer.name, quant, std::move(reason)});
  }

  void keep(const LayerPlan& layer, std::string reason) {
    LayerQuant quant = request_.plan.global;
    quant.weight = TensorQuant{};
    refinement_.changes.push_back({layer.name, quant, std::move(reason)});
  }

  const RefineRequest& request_;
  const FileKind* kind_;
  const FileOptions& options_;
  RuleModel model_;
  std::vector<bool> matched_;       // by wish
  std::map<Part, int64_t> passed_;  // layers that the rules were not asked about
  bool has_head_ = false;
  Refinement refinement_;
};

}  // namespace

GgufExporter::GgufExporter() : options_(std::make_shared<const FileOptions>()) {}
GgufExporter::GgufExporter(FileOptions options) : options_(std::make_shared<const FileOptions>(std::move(options))) {}

std::span<const std::string_view> GgufExporter::option_names() const {
  return file_option_names();
}

std::shared_ptr<Exporter> GgufExporter::with(const FormatWords& given) const {
  return std::make_shared<GgufExporter>(read_file_options(given));
}

const ExporterInfo& GgufExporter::info() const noexcept {
  static constexpr ExporterInfo kInfo{.name = "gguf",
                                      .summary = "one file for llama.cpp and programs made of it",
                                      .quant_method = "",
                                      .plain_models = true};
  return kInfo;
}

std::span<const std::string_view> GgufExporter::variants() const {
  static const std::vector<std::string> kNames = [] {
    std::vector<std::string> names = names_of_kinds(false);
    for (const auto& [name, type] : kPlainKinds) names.emplace_back(name);
    return names;
  }();
  static const std::vector<std::string_view> kViews = views(kNames);
  return kViews;
}

std::string_view GgufExporter::implied_scheme(std::string_view variant) const {
  if (plain_kind(variant)) return "BF16";  // nothing is quantized
  static const std::vector<std::string> kSchemes = names_of_kinds(true);
  const FileKind* kind = variant.starts_with(kPrefix) ? find_kind(variant.substr(kPrefix.size())) : nullptr;
  return kind == nullptr ? std::string_view()
                         : std::string_view(kSchemes.at(static_cast<size_t>(kind - file_kinds().data())));
}

Refinement GgufExporter::refine(const RefineRequest& request, std::string_view variant) const {
  return Refining(request, kind_of(request.plan, variant), *options_).run();
}

LayerQuant GgufExporter::fitting(const LayerPlan& layer, std::string_view) const {
  LayerQuant quant = layer.quant;
  const auto wanted = sdk::find_block_type(quant.weight.data_type);
  if (!wanted) return quant;
  const auto type = fitting_type(*wanted, layer.in_features, options_->rules);
  if (type == wanted) return quant;
  const std::string search = quant.weight.observer;
  quant.weight = type ? sdk::quant_of(*type) : TensorQuant{};
  if (type && sdk::has_auto_round_search(*type)) quant.weight.observer = search;
  return quant;
}

int64_t GgufExporter::file_bytes(const ExportRequest& request, std::string_view variant) const {
  return bytes_of_files(request, kind_of(request.plan, variant), options_, plain_kind(variant));
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
  if (*type == sdk::BlockType::nvfp4 && layer.kind == LayerKind::embedding)
    return Verdict::no("NVFP4 has a scale of the whole tensor, which readers know of no embeddings; choose GGUF:Q8_0");
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
  if (layer.quantized.global_scale.defined()) packed.emplace("scale", layer.quantized.global_scale);
  return packed;
}

QuantizedWeight GgufExporter::unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                     std::string_view) const {
  QuantizedWeight weight = decode_blocks(packed.at("weight"), type_of(layer), layer.in_features);
  if (const auto scale = packed.find("scale"); scale != packed.end()) weight.global_scale = scale->second;
  return weight;
}

int64_t GgufExporter::packed_bytes(const LayerPlan& layer, std::string_view) const {
  const TypeInfo& type = *find_type(static_cast<uint32_t>(tensor_type(type_of(layer))));
  const int64_t scale = type.type == TensorType::nvfp4 ? 4 : 0;
  return layer.out_features * (layer.in_features / type.block_size * type.block_bytes + (layer.has_bias ? 4 : 0)) +
         scale;
}

std::unique_ptr<ExportJob> GgufExporter::open(const ExportRequest& request, std::string_view variant) const {
  return open_job(request, kind_of(request.plan, variant), options_, plain_kind(variant));
}

}  // namespace arkit::gguf
