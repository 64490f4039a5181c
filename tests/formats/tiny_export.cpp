#include "formats/tiny_export.h"

#include <algorithm>
#include <array>

#include <ATen/ATen.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/regex.h>
#include <arkit/sdk/group.h>
#include <arkit/str.h>

namespace arkit::test {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, 7> kLinears = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
                                                 "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
                                                 "mlp.down_proj"};

// [out * groups, group] and back; the tiny models have no ragged groups.
at::Tensor grouped(const at::Tensor& weight, int64_t group_size) {
  return weight.reshape({weight.size(0), -1, sdk::group_shape(weight.size(0), weight.size(1), group_size).group});
}

LayerPlan linear_plan(const ModelSource& source, const std::string& name, int64_t block, bool tied) {
  const TensorInfo* weight = source.weights().find(name + ".weight");
  if (weight == nullptr && tied) weight = source.weights().find("model.embed_tokens.weight");
  LayerPlan layer{.name = name, .out_features = weight->shape.at(0), .in_features = weight->shape.at(1)};
  layer.has_bias = source.weights().find(name + ".bias") != nullptr;
  layer.block = block;
  return layer;
}

// The simple patterns of the golden cases: with or without ".*" in front, never anchored.
std::string standard_regex(const std::string& pattern) {
  return (pattern.starts_with(".*") ? "" : ".*") + pattern + ".*";
}

void apply_layer_config(QuantPlan& plan, const std::string& text) {
  if (text.empty()) return;
  const json::Value config = json::parse(text, "layer_config");
  for (const auto& member : config.get_object()) {
    const std::string key(member.key());
    LayerQuant quant = plan.global;
    quant.weight.bits = static_cast<int>(member.value().at("bits").as_int64());
    if (const json::Value* group = member.value().get_object().if_contains("group_size"))
      quant.weight.group_size = group->as_int64();
    const bool exact = plan.find(key) != nullptr;
    const std::string regex = standard_regex(key);
    if (!exact) plan.rules.push_back({.pattern = key, .regex = regex, .quant = quant});
    const Regex compiled(regex, "layer_config");
    for (LayerPlan& layer : plan.layers)
      if (exact ? layer.name == key : compiled.search(layer.name)) layer.quant = quant;
  }
}

}  // namespace

const Registry& format_plugins() {
  static const Registry kRegistry = [] {
    PluginSearch search;
    for (const char* name : {"auto_round", "auto_gptq", "auto_awq", "fake", "fp8", "llm_compressor", "mlx"})
      search.named.emplace_back(str(ARKIT_PLUGIN_BUILD_DIR, "/libarkit_exporter_", name, ".so"));
    return Registry(search);
  }();
  return kRegistry;
}

const Exporter& exporter_named(const std::string& format) {
  for (const std::string& name : format_plugins().names(Kind::exporter)) {
    const Exporter& exporter = format_plugins().exporter(name);
    const auto variants = exporter.variants();
    if (name == format || std::find(variants.begin(), variants.end(), format) != variants.end()) return exporter;
  }
  throw_input("no format plugin for " + format);
}

const ModelReader& reader_for(const fs::path& folder) {
  const json::Value config = json::read_file(folder / "config.json");
  const ModelReader* found = nullptr;
  for (const std::string& name : format_plugins().names(Kind::reader)) {
    const ModelReader& reader = format_plugins().reader(name);
    if (!reader.matches(folder, &config.get_object())) continue;
    if (found != nullptr) throw_input("two readers claim " + folder.string());
    found = &reader;
  }
  if (found == nullptr) throw_input("no reader for " + folder.string());
  return *found;
}

QuantizedWeight round_to_nearest(const at::Tensor& weight, const TensorQuant& quant) {
  const at::Tensor t = grouped(weight, quant.group_size);
  const at::Tensor low = t.amin(-1).clamp_max(0);
  const at::Tensor high = t.amax(-1).clamp_min(0);
  QuantizedWeight out;
  if (quant.sym) {
    const double half = double(1 << (quant.bits - 1));
    const at::Tensor negative = low.neg();
    const at::Tensor largest = at::maximum(negative, high);
    at::Tensor scale = at::where(high < negative, largest, -largest).div(half).to(at::kHalf);
    scale = at::where(scale < 0, scale.clamp_max(-1e-5), scale.clamp_min(1e-5));
    out.codes = t.div(scale.unsqueeze(-1)).round().clamp(-half, half - 1).add(half).to(at::kByte);
    out.scale = scale;
  } else {
    const double top = double((1 << quant.bits) - 1);
    out.scale = (high - low).div(top).to(at::kHalf).clamp_min(1e-5);
    const at::Tensor zero = low.neg().div(out.scale).round();
    out.codes = t.div(out.scale.unsqueeze(-1)).round().add(zero.unsqueeze(-1)).clamp(0, top).to(at::kByte);
    out.zero_point = zero.to(at::kFloat);
  }
  out.codes = out.codes.reshape(weight.sizes()).contiguous();
  return out;
}

at::Tensor dequantized(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) {
  at::Tensor levels = grouped(weight.codes.to(at::kFloat), quant.group_size);
  if (weight.zero_point.defined())
    levels = levels - weight.zero_point.unsqueeze(-1);
  else
    levels = levels - double(1 << (quant.bits - 1));
  return (levels * weight.scale.to(at::kFloat).unsqueeze(-1)).reshape(weight.codes.sizes()).to(dtype);
}

QuantPlan plan_of(const ModelSource& source, const GoldenCase& golden) {
  QuantPlan plan;
  plan.model_type = "llama";
  plan.scheme_name = golden.scheme;
  TensorQuant& weight = plan.global.weight;
  weight.bits = golden.scheme.at(1) - '0';
  weight.group_size = golden.group_size.value_or(golden.scheme.ends_with("G32") ? 32 : 128);
  weight.sym = !golden.asym;
  plan.block_lists = {"model.layers"};
  plan.num_blocks = *json::get_int(source.config(), "num_hidden_layers", "config.json");
  plan.tied_embeddings = json::get_bool(source.config(), "tie_word_embeddings", "config.json").value_or(false);
  for (int64_t block = 0; block < plan.num_blocks; ++block) {
    for (const char* linear : kLinears) {
      plan.layers.push_back(linear_plan(source, str("model.layers.", block, ".", linear), block, false));
      plan.layers.back().quant = plan.global;
      if (golden.scheme == "W4A16_MIXED") plan.layers.back().quant.weight.bits = 8;
    }
  }
  plan.layers.push_back(linear_plan(source, "lm_head", -1, plan.tied_embeddings));
  plan.layers.back().quant = plan.global;
  if (!golden.quant_lm_head) plan.layers.back().quant.weight.bits = 16;
  apply_layer_config(plan, golden.layer_config);
  return plan;
}

void add_layers(ExportJob& job, const ModelSource& source, const QuantPlan& plan, size_t stop_before) {
  size_t added = 0;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized() || added++ >= stop_before) continue;
    const at::Tensor weight = source.weights().load(layer.name + ".weight").to(at::kBFloat16);
    const QuantizedWeight quantized = round_to_nearest(weight, layer.quant.weight);
    LayerRecord record{.plan = layer, .quantized = quantized};
    record.dequantized = dequantized(quantized, layer.quant.weight, at::kBFloat16);
    if (layer.has_bias) record.bias = source.weights().load(layer.name + ".bias");
    job.add_layer(record);
  }
}

ExportReport export_case(const GoldenCase& golden, const fs::path& output) {
  const auto source = open_hf_folder(fs::path(golden_root()) / golden.source);
  const QuantPlan plan = plan_of(*source, golden);
  ExportRequest request{.output_dir = output, .source = *source, .plan = plan};
  request.max_shard_bytes = golden.max_shard_bytes;
  request.run.iters = golden.iters;
  const auto job = exporter_named(golden.format).open(request, golden.format);
  add_layers(*job, *source, plan);
  return job->finish();
}

// Memory where there is such a folder: a hundred exports that each sync their files would wait for the disk.
static fs::path scratch() {
  std::error_code ignored;
  return fs::is_directory("/dev/shm", ignored) ? fs::path("/dev/shm") : fs::temp_directory_path();
}

TemporaryFolder::TemporaryFolder(const std::string& name)
    : path_(scratch() / str("arkit-formats-", ::getpid(), "-", name)) {
  fs::remove_all(path_);
  fs::create_directories(path_);
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace arkit::test
