#include "jobs/run_record.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iomanip>
#include <map>
#include <sstream>

#include <torch/headeronly/version.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/str.h>

#include "quant/attention_plan.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 4> kLicenseNames{"LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE"};

std::string source_license(const ModelSource& source) {
  if (std::string license = front_matter(source, "license"); !license.empty()) return license;
  if (const auto name = json::get_string(source.config(), "license", "config.json")) return printable(*name, 64);
  return {};
}

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

double mean_error(const RunOutcome& outcome) {
  double sum = 0.0;
  for (const LayerOutcome& layer : outcome.layers) sum += layer.relative_error;
  return outcome.layers.empty() ? 0.0 : sum / static_cast<double>(outcome.layers.size());
}

void put(json::Object& object, std::string_view key, const std::optional<int>& value) {
  if (value) object[key] = *value;
}
void put(json::Object& object, std::string_view key, const std::optional<int64_t>& value) {
  if (value) object[key] = *value;
}
void put(json::Object& object, std::string_view key, const std::optional<bool>& value) {
  if (value) object[key] = *value;
}
void put(json::Object& object, std::string_view key, const std::optional<std::string>& value) {
  if (value) object[key] = *value;
}

// "W4A16 120, W8A16 90"
std::string mix_line(const json::Object& layers_by_option) {
  std::string line;
  for (const auto& [name, count] : layers_by_option)
    line += str(line.empty() ? "" : ", ", std::string_view(name), " ", json::dump(count));
  return line;
}

json::Array texts(const std::vector<std::string>& values) {
  json::Array array;
  for (const std::string& value : values) array.emplace_back(value);
  return array;
}

json::Object describe(const AutoSchemeOptions& options) {
  json::Object o{{"options", texts(options.options)}};
  if (options.target_size) {
    o["target_size"] = *options.target_size;
  } else {
    json::Array budgets;
    for (const double bits : options.avg_bits) budgets.emplace_back(bits);
    o["avg_bits"] = std::move(budgets);
  }
  o["bits_accounting"] = options.bits_accounting;
  o["ignore_scale_zp_bits"] = options.ignore_scale_zp_bits;
  o["score"] = options.score;
  json::Array shared;
  for (const std::vector<std::string>& group : options.shared_layers) shared.emplace_back(texts(group));
  o["shared_layers"] = std::move(shared);
  o["share_fused_layers"] = options.share_fused_layers;
  put(o, "score_nsamples", options.nsamples);
  put(o, "score_seqlen", options.seqlen);
  put(o, "score_batch_size", options.batch_size);
  o["refine_seconds"] = options.refine_seconds;
  return o;
}

}  // namespace

std::string front_matter(const ModelSource& source, std::string_view key) {
  const fs::path card = source.path() / "README.md";
  std::error_code ignored;
  if (!fs::is_regular_file(card, ignored)) return {};  // opening a FIFO would wait for somebody to write
  std::ifstream in(card);
  std::string line;
  for (int i = 0; i < 100 && std::getline(in, line); ++i) {
    if (i > 0 && line == "---") break;
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const size_t begin = line.find_first_not_of(" \t", key.size() + 1);
    if (begin != std::string::npos) return printable(line.substr(begin), 64);
  }
  return {};
}

std::string base_model_name(const ModelSource& source, const std::string& given) {
  if (const auto name = json::get_string(source.config(), "_name_or_path", "config.json"); name && !name->empty())
    return printable(*name);
  return fs::path(given).filename().empty() ? given : fs::path(given).filename().string();
}

std::string card_front_matter(const ModelSource& source, const std::string& base, const std::string& scheme) {
  const std::string license = source_license(source);
  return str("---\nbase_model: ", base, "\nbase_model_relation: quantized\n",
             license.empty() ? "" : str("license: ", license, "\n"), "tags:\n- arkit\n- ", scheme, "\n---\n\n");
}

std::string card_size(const ExportReport& report) {
  return str("| size | ", fixed(static_cast<double>(report.bytes) / 1e6, 1), " MB |\n");
}

std::string card_licence(const ModelSource& source) {
  std::string text;
  for (const std::string_view name : kLicenseNames)
    if (fs::exists(source.path() / name)) text += str("\nThe licence of the base model is in `", name, "`.\n");
  return text;
}

json::Object resolved_options(const QuantizeOptions& options, const ResolvedTuning& tuning) {
  json::Object o;
  o["model"] = options.model;
  if (options.recipe_file.empty())
    o["scheme"] = options.scheme;
  else
    o["recipe_file"] = options.recipe_file.string();
  put(o, "bits", options.overrides.bits);
  put(o, "group_size", options.overrides.group_size);
  put(o, "sym", options.overrides.sym);
  put(o, "data_type", options.overrides.data_type);
  put(o, "act_bits", options.overrides.act_bits);
  put(o, "act_group_size", options.overrides.act_group_size);
  put(o, "act_sym", options.overrides.act_sym);
  put(o, "act_dynamic", options.overrides.act_dynamic);
  put(o, "act_data_type", options.overrides.act_data_type);
  put(o, "scale_dtype", options.overrides.scale_dtype);
  o["format"] = texts(options.formats);
  o["recipe"] = options.recipe;
  o["dataset"] = options.dataset;
  o["iters"] = tuning.iters;
  o["nsamples"] = tuning.nsamples;
  o["seqlen"] = tuning.seqlen;
  o["batch_size"] = tuning.batch_size;
  o["lr"] = tuning.lr;
  o["minmax_lr"] = tuning.minmax_lr;
  const TuningOptions& t = tuning.options;
  o["momentum"] = t.momentum;
  o["gradient_accumulate_steps"] = t.gradient_accumulate_steps;
  o["nblocks"] = t.nblocks;
  o["dynamic_max_gap"] = t.dynamic_max_gap;
  o["enable_minmax_tuning"] = t.enable_minmax_tuning;
  o["enable_quanted_input"] = t.enable_quanted_input;
  o["enable_norm_bias_tuning"] = t.enable_norm_bias_tuning;
  o["not_use_best_mse"] = t.not_use_best_mse;
  o["enable_alg_ext"] = t.enable_alg_ext;
  o["enable_adam"] = t.enable_adam;
  o["enable_neuqi"] = t.enable_neuqi;
  put(o, "disable_opt_rtn", tuning.disable_opt_rtn);
  o["enable_deterministic_algorithms"] = t.enable_deterministic_algorithms;
  o["amp_dtype"] = t.amp_dtype;
  o["seed"] = t.seed;
  if (!options.auto_scheme.options.empty()) o["autoscheme"] = describe(options.auto_scheme);
  o["layer_config"] = options.layer_config;
  if (!options.to_quant_block_names.empty()) o["to_quant_block_names"] = texts(options.to_quant_block_names);
  o["ignore_layers"] = texts(options.ignore_layers);
  o["quant_lm_head"] = options.quant_lm_head;
  if (!options.rotation.empty()) o["rotation"] = options.rotation;
  if (!options.attention.kv_dtype.empty()) {
    o["static_kv_dtype"] = options.attention.kv_dtype;
    o["static_kv_granularity"] = options.attention.kv_granularity;
  }
  if (!options.attention.attention_dtype.empty()) {
    o["static_attention_dtype"] = options.attention.attention_dtype;
    o["static_attention_granularity"] = options.attention.attention_granularity;
  }
  if (!options.runtime.empty()) o["runtime"] = options.runtime;
  put(o, "num_hidden_layers", options.num_hidden_layers);
  o["on_indivisible"] = options.on_indivisible;
  o["max_shard_size"] = options.max_shard_bytes;
  o["device_map"] = options.device_map;
  return o;
}

json::Object describe_plan(const QuantPlan& plan) {
  json::Array layers;
  for (const LayerPlan& layer : plan.layers) {
    json::Object entry{{"name", layer.name},
                       {"shape", json::Array{layer.out_features, layer.in_features}},
                       {"scheme", describe(layer.quant)},
                       {"quantized", layer.quantized()}};
    if (!layer.quant.rotation.empty()) entry["rotation"] = layer.quant.rotation;
    entry["reason"] = layer.reason.empty() ? str("scheme ", plan.scheme_name) : layer.reason;
    layers.push_back(std::move(entry));
  }
  json::Array warnings;
  for (const std::string& warning : plan_warnings(plan)) warnings.emplace_back(warning);
  json::Object described{{"scheme", plan.scheme_name},
                         {"global", describe(plan.global)},
                         {"model_type", plan.model_type},
                         {"blocks", plan.num_blocks},
                         {"quantized_layers", quantized_count(plan)}};
  if (!plan.rotation.empty()) described["rotation"] = plan.rotation;
  if (plan.attention.quantized()) described["attention"] = describe(plan.attention);
  described["warnings"] = std::move(warnings);
  described["layers"] = std::move(layers);
  return described;
}

void record_program(json::Object& record) {
  record["schema_version"] = 1;
  record["arkit_version"] = ARKIT_VERSION;
  record["libtorch_version"] = str(TORCH_VERSION_MAJOR, ".", TORCH_VERSION_MINOR, ".", TORCH_VERSION_PATCH);
}

json::Object describe_source(const ModelSource& source, const json::Array& files) {
  return {{"path", source.path().string()},
          {"kind", source.kind()},
          {"tensors", source.weights().tensors().size()},
          {"files", files}};
}

void record_plugins(json::Object& record, const Registry& registry) {
  json::Array plugins;
  for (const PluginEntry& plugin : registry.plugins())
    if (plugin.state == PluginState::loaded)
      plugins.push_back(json::Object{{"id", plugin.id}, {"version", plugin.version}});
  record["plugins"] = std::move(plugins);
}

void record_files(json::Object& record, const ExportReport& report) {
  record["bytes"] = report.bytes;
  record["bits_per_weight"] = report.bits_per_weight;
  json::Array files;
  for (const fs::path& file : report.files) files.emplace_back(file.string());
  record["files"] = std::move(files);
}

json::Object run_record(const QuantizeOptions& options, const ResolvedTuning& tuning, const QuantPlan& plan,
                        const ModelSource& source, const Registry& registry, const RunOutcome& outcome,
                        const ExportReport& report, const std::string& format) {
  json::Object record;
  record_program(record);
  record["command"] = options.command_line;
  record["format"] = format;
  record["method"] = outcome.method;
  record["options"] = resolved_options(options, tuning);
  record["source"] = describe_source(source, outcome.source_files);
  record_plugins(record, registry);
  record["host"] = json::Object{{"cpu", host_info().cpu_name}, {"threads", host_info().threads}};
  record["seconds"] = outcome.seconds;
  record["peak_rss_bytes"] = outcome.peak_rss_bytes;
  record["calibration"] = outcome.calibration;
  if (!outcome.auto_scheme.empty()) record["autoscheme"] = outcome.auto_scheme;
  record_files(record, report);
  std::map<std::string_view, const LayerOutcome*> outcomes;
  for (const LayerOutcome& layer : outcome.layers) outcomes[layer.name] = &layer;
  json::Object described = describe_plan(plan);
  for (json::Value& entry : described["layers"].get_array()) {
    const auto found = outcomes.find(std::string_view(entry.get_object()["name"].get_string()));
    if (found != outcomes.end()) entry.get_object()["relative_error"] = found->second->relative_error;
  }
  record["plan"] = std::move(described);
  json::Array blocks;
  for (const BlockOutcome& block : outcome.blocks)
    blocks.push_back(json::Object{{"block", block.block},
                                  {"loss_before", block.loss_before},
                                  {"loss_after", block.loss_after},
                                  {"best_iter", block.best_iter},
                                  {"seconds", block.seconds}});
  record["blocks"] = std::move(blocks);
  return record;
}

std::string model_card(const QuantizeOptions& options, const QuantPlan& plan, const ModelSource& source,
                       const RunOutcome& outcome, const ExportReport& report, const std::string& format) {
  const std::string base = base_model_name(source, options.model);
  std::ostringstream card;
  card << card_front_matter(source, base, plan.scheme_name);
  card << "# " << base << ", " << plan.scheme_name << "\n\n";
  card << "Quantized with arkit " << ARKIT_VERSION << " (" << outcome.method << ", " << describe(plan.global)
       << "), written in the `" << format << "` format.\n\n";
  card << "| figure | value |\n|---|---|\n";
  card << "| quantized layers | " << quantized_count(plan) << " of " << plan.layers.size() << " |\n";
  if (!plan.rotation.empty()) card << "| rotation | `" << plan.rotation << "` |\n";
  if (const json::Value* mix = json::find(outcome.auto_scheme, "layers_by_option"); mix != nullptr)
    card << "| schemes of layers (AutoScheme) | " << mix_line(mix->as_object()) << " |\n";
  if (plan.attention.quantized()) card << "| attention | " << describe(plan.attention) << " |\n";
  card << "| bits per quantized weight | " << fixed(report.bits_per_weight, 2) << " |\n";
  card << card_size(report);
  card << "| mean relative weight error | " << fixed(mean_error(outcome), 4) << " |\n";
  if (!outcome.blocks.empty()) {
    double before = 0.0, after = 0.0;
    for (const BlockOutcome& block : outcome.blocks) {
      before += std::max(block.loss_before, 0.0);
      after += std::max(block.loss_after, 0.0);
    }
    if (before > 0.0)
      card << "| block loss removed by tuning | " << fixed(100.0 * (1.0 - after / before), 1) << " % |\n";
  }
  card << "\nLayers that stay in 16 bits: ";
  bool any = false;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.quantized()) continue;
    card << (any ? ", " : "") << '`' << layer.name << '`';
    any = true;
  }
  card << (any ? ".\n" : "none.\n");
  card << "\nMade with:\n\n```\n"
       << options.command_line << "\n```\n\nEvery option, hash and per-layer error is in `arkit-run.json`.\n";
  card << card_licence(source);
  return card.str();
}

int64_t peak_rss_bytes() {
  std::ifstream status("/proc/self/status");
  std::string line;
  while (std::getline(status, line))
    if (line.starts_with("VmHWM:")) return std::strtoll(line.c_str() + 6, nullptr, 10) * 1024;
  return 0;
}

}  // namespace arkit
