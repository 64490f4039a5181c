// "refining": AutoRound's files of symmetric integers, from plans that each variant changes in another way.
#include <array>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/exporter.h>
#include <arkit/plugin.h>
#include <arkit/sdk/hf_export.h>
#include <arkit/sdk/int_format.h>
#include <arkit/sdk/int_layouts.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

namespace {

using namespace arkit;

constexpr sdk::GptqLayout kLayout{.zeros = sdk::ZeroConvention::minus_one, .g_idx = false};
constexpr std::array<std::string_view, 15> kVariants = {
    "refining:v8",      "refining:v6",    "refining:last16", "refining:claims",  "refining:head8",
    "refining:no",      "refining:picky", "refining:late",   "refining:stands8", "refining:stands2",
    "refining:strange", "refining:moody", "refining:ragged", "refining:stuck",   "refining:unfinished"};

LayerQuant integers(const QuantPlan& plan, int bits) {
  LayerQuant quant = plan.global;
  quant.weight.bits = bits;
  return quant;
}

bool is_value(const LayerPlan& layer) {
  return layer.name.ends_with("v_proj");
}

bool is_outside(const LayerPlan& layer) {
  return layer.block < 0 && layer.kind != LayerKind::embedding;
}

Refinement each(const RefineRequest& request, const std::function<bool(const LayerPlan&)>& is, const LayerQuant& quant,
                const char* reason) {
  Refinement refinement;
  for (const LayerPlan& layer : request.plan.layers)
    if (is(layer)) refinement.changes.push_back({layer.name, quant, reason});
  return refinement;
}

// A job whose files are never finished.
class Unfinished final : public ExportJob {
 public:
  explicit Unfinished(std::unique_ptr<ExportJob> inner) : inner_(std::move(inner)) {}
  void add_layer(const LayerRecord& layer) override { inner_->add_layer(layer); }
  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) override {
    inner_->add_plain(name, tensor, changed);
  }
  ExportReport finish() override {
    (void)inner_->finish();
    throw_resource("refining:unfinished never finishes");
  }

 private:
  std::unique_ptr<ExportJob> inner_;
};

// A job that stops at its third layer.
class Stuck final : public ExportJob {
 public:
  explicit Stuck(std::unique_ptr<ExportJob> inner) : inner_(std::move(inner)) {}
  void add_layer(const LayerRecord& layer) override {
    if (++layers_ == 3) throw_resource("refining:stuck takes two layers");
    inner_->add_layer(layer);
  }
  void add_plain(std::string_view, const at::Tensor&, bool) override {}
  ExportReport finish() override { return inner_->finish(); }

 private:
  std::unique_ptr<ExportJob> inner_;
  int layers_ = 0;
};

class Refining : public Exporter {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{
        .name = "refining", .summary = "changes plans, for tests", .quant_method = "auto-round"};
    return kInfo;
  }
  [[nodiscard]] std::span<const std::string_view> variants() const override { return kVariants; }

  [[nodiscard]] std::string_view implied_scheme(std::string_view variant) const override {
    return variant == "refining:stands8" ? "W8A16" : variant == "refining:stands2" ? "W2A16" : "";
  }

  [[nodiscard]] Refinement refine(const RefineRequest& request, std::string_view variant) const override {
    const QuantPlan& plan = request.plan;
    if (variant == "refining:v8") return each(request, is_value, integers(plan, 8), "values in 8 bits");
    if (variant == "refining:v6") return each(request, is_value, integers(plan, 6), "values in 6 bits");
    if (variant == "refining:head8") return each(request, is_outside, integers(plan, 8), "the head in 8 bits");
    if (variant == "refining:last16") {
      const auto is_last = [&](const LayerPlan& layer) { return layer.block == plan.num_blocks - 1; };
      return each(request, is_last, {.weight = {}}, "the last block stays");
    }
    if (variant == "refining:claims") {
      Refinement refinement;
      for (const LayerPlan& table : request.tables)
        refinement.changes.push_back({table.name, integers(plan, 8), "tables in 8 bits"});
      if (plan.tied_embeddings) return refinement;
      for (PlanChange& head : each(request, is_outside, integers(plan, 8), "the head in 8 bits").changes)
        refinement.changes.push_back(std::move(head));
      return refinement;
    }
    if (variant == "refining:no") return {.changes = {}, .why_not = "it refuses every plan; choose another --format"};
    if (variant == "refining:strange") return {.changes = {{"no.such.layer", integers(plan, 8), ""}}, .why_not = {}};
    if (variant == "refining:ragged") {
      LayerQuant odd = integers(plan, 4);
      odd.weight.bits = 9;
      return each(request, is_value, odd, "nine bits");
    }
    if (variant == "refining:moody") {
      const int bits = plan.find("model.layers.0.self_attn.v_proj")->quant.weight.bits;
      return each(request, is_value, integers(plan, bits + 1), "one more");
    }
    if (variant == "refining:late")
      for (const LayerPlan& layer : plan.layers)
        if (layer.quantized() && layer.quant.weight.bits == 8)
          return {.changes = {}, .why_not = "it stores no plan with a layer of 8 bits"};
    return {};
  }

  [[nodiscard]] Verdict supports(const LayerPlan& layer, std::string_view variant) const override {
    if (variant == "refining:picky" && layer.quant.weight.bits == 8)
      return Verdict::no("it holds at most 7 bits; choose another --format");
    if (layer.quant.weight.data_type != "int" || !layer.quant.weight.sym || layer.quant.act.quantized())
      return Verdict::no("it holds symmetric integer weights; choose another --format");
    return sdk::supports_gptq_shape(layer);
  }

  [[nodiscard]] TensorMap pack(const LayerRecord& layer, const QuantPlan&, std::string_view) const override {
    return sdk::pack_gptq(layer.quantized, layer.plan.quant.weight, kLayout);
  }
  [[nodiscard]] QuantizedWeight unpack(const LayerPlan& layer, const TensorMap& packed, const QuantPlan&,
                                       std::string_view) const override {
    return sdk::unpack_gptq(packed, layer.quant.weight, layer.out_features, layer.in_features, kLayout.zeros);
  }
  [[nodiscard]] int64_t packed_bytes(const LayerPlan& layer, std::string_view) const override {
    return sdk::packed_layer_bytes(layer, sdk::gptq_shapes(layer, false));
  }

  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    sdk::HfFormat format;
    format.shapes = [](const LayerPlan& layer) { return sdk::gptq_shapes(layer, false); };
    format.pack = [](const LayerRecord& layer) {
      return sdk::pack_gptq(layer.quantized, layer.plan.quant.weight, kLayout);
    };
    format.quantization_config = sdk::base_quantization_config(request.plan, request.run);
    format.quantization_config["block_name_to_quantize"] = sdk::block_prefixes(request.plan);
    format.quantization_config["quant_method"] = "auto-round";
    format.quantization_config["packing_format"] = "auto_round:auto_gptq";
    json::Object extra = sdk::extra_config(request.plan);
    if (!extra.empty()) format.quantization_config["extra_config"] = std::move(extra);
    std::unique_ptr<ExportJob> job = sdk::open_hf_export(request, std::move(format));
    if (variant == "refining:unfinished") return std::make_unique<Unfinished>(std::move(job));
    if (variant == "refining:stuck") return std::make_unique<Stuck>(std::move(job));
    return job;
  }
};

json::Value numbers(const at::Tensor& tensor) {
  if (!tensor.defined()) return nullptr;
  const at::Tensor flat = tensor.to(at::kFloat).contiguous().view(-1);
  json::Array out;
  for (int64_t i = 0; i < flat.numel(); ++i) out.emplace_back(flat.const_data_ptr<float>()[i]);
  return out;
}

// A job that writes down in asked.json what it was given of each layer.
class Noting final : public ExportJob {
 public:
  Noting(std::unique_ptr<ExportJob> inner, std::filesystem::path file)
      : inner_(std::move(inner)), file_(std::move(file)) {}
  void add_layer(const LayerRecord& layer) override {
    const json::Value type = layer.source.defined() ? json::Value(c10::toString(layer.source.scalar_type())) : nullptr;
    given_[layer.plan.name] = json::Object{{"source", numbers(layer.source)},
                                           {"source_dtype", type},
                                           {"imatrix", numbers(layer.imatrix)},
                                           {"imatrix_count", layer.imatrix_count}};
    inner_->add_layer(layer);
  }
  void add_plain(std::string_view name, const at::Tensor& tensor, bool changed) override {
    inner_->add_plain(name, tensor, changed);
  }
  ExportReport finish() override {
    std::ofstream(file_) << json::dump(given_);
    return inner_->finish();
  }

 private:
  std::unique_ptr<ExportJob> inner_;
  std::filesystem::path file_;
  json::Object given_;
};

// "asking": the same files; it wants weights and importance as K-quants do.
class Asking final : public Refining {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{.name = "asking",
                                        .summary = "wants weights and importance, for tests",
                                        .quant_method = "auto-round",
                                        .wants_source_weights = true,
                                        .wants_imatrix = true};
    return kInfo;
  }
  [[nodiscard]] std::span<const std::string_view> variants() const override { return {}; }
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    return std::make_unique<Noting>(Refining::open(request, variant), request.output_dir / "asked.json");
  }
};

// "content": notes the same and wants nothing.
class Content final : public Refining {
 public:
  [[nodiscard]] const ExporterInfo& info() const noexcept override {
    static constexpr ExporterInfo kInfo{
        .name = "content", .summary = "wants nothing, for tests", .quant_method = "auto-round"};
    return kInfo;
  }
  [[nodiscard]] std::span<const std::string_view> variants() const override { return {}; }
  [[nodiscard]] std::unique_ptr<ExportJob> open(const ExportRequest& request, std::string_view variant) const override {
    return std::make_unique<Noting>(Refining::open(request, variant), request.output_dir / "asked.json");
  }
};

}  // namespace

ARKIT_PLUGIN("org.arkit.test.refining", "0.1.0", "arkit", "Apache-2.0", "",
             arkit::component<arkit::Exporter, Refining>("refining", "changes plans, for tests"),
             arkit::component<arkit::Exporter, Asking>("asking", "wants weights and importance, for tests"),
             arkit::component<arkit::Exporter, Content>("content", "wants nothing, for tests"));
