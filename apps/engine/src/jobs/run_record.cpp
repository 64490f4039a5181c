#include "jobs/run_record.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <iomanip>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include <ATen/Parallel.h>
#include <torch/headeronly/version.h>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/inference_backend.h>
#include <arkit/sdk/layer_rules.h>
#include <arkit/str.h>

#include "jobs/hub_origin.h"
#include "jobs/option_record.h"
#include "jobs/source_labels.h"
#include "quant/attention_plan.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"
#include "util/cpu_limit.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr std::array<std::string_view, 4> kLicenseNames{"LICENSE", "LICENSE.txt", "LICENSE.md", "NOTICE"};

constexpr size_t kMostLabel = 64, kMostLink = 1024;

std::string source_license(const ModelSource& source) {
  if (std::string license = front_matter(source, "license"); !license.empty()) return license;
  return printable(text_label(source.config(), "license"), 64);
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

// "W4A16 120, W8A16 90"
std::string mix_line(const json::Object& layers_by_option) {
  std::string line;
  for (const auto& [name, count] : layers_by_option)
    line += str(line.empty() ? "" : ", ", std::string_view(name), " ", json::dump(count));
  return line;
}

}  // namespace

namespace {

// A YAML scalar of one line without its quotes and the blanks after it.
std::string_view unquoted(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r')) text.remove_suffix(1);
  const bool quoted = text.size() >= 2 && text.front() == text.back() && (text.front() == '"' || text.front() == '\'');
  return quoted ? text.substr(1, text.size() - 2) : text;
}

// Of the card in the source's folder, or of the one that its reader makes.
std::vector<std::string> front_matter_lines(const ModelSource& source) {
  std::vector<std::string> lines;
  const auto read = [&](std::istream& in) {
    std::string line;
    for (int i = 0; i < 100 && std::getline(in, line) && (i == 0 || line != "---"); ++i) lines.push_back(line);
  };
  const fs::path card = source.path() / "README.md";
  if (is_regular(card)) {  // opening a pipe would wait for a writer
    std::ifstream in(card);
    read(in);
    return lines;
  }
  for (const CompanionFile& companion : source.companions()) {
    if (companion.name != "README.md" || !companion.path.empty()) continue;
    std::istringstream in(companion.content);
    read(in);
  }
  return lines;
}

// A list of scalars below its key.
std::string carried_list(const ModelSource& source, std::string_view key) {
  const std::vector<std::string> lines = front_matter_lines(source);
  auto line = std::find(lines.begin(), lines.end(), str(key, ":"));
  std::string list;
  if (line == lines.end()) return list;
  for (++line; line != lines.end() && line->starts_with("- "); ++line)
    list += str("- ", yaml_scalar(printable(unquoted(std::string_view(*line).substr(2)), kMostLabel)), "\n");
  return list.empty() ? list : str(key, ":\n", list);
}

std::string carried(const ModelSource& source, std::string_view key) {
  const std::string value = front_matter(source, key, kMostLink);
  return value.empty() ? value : str(key, ": ", yaml_scalar(value), "\n");
}

}  // namespace

std::string front_matter(const ModelSource& source, std::string_view key, size_t most) {
  for (const std::string& line : front_matter_lines(source)) {
    if (!line.starts_with(key) || line.size() <= key.size() || line[key.size()] != ':') continue;
    const size_t begin = line.find_first_not_of(" \t", key.size() + 1);
    if (begin != std::string::npos) return printable(unquoted(std::string_view(line).substr(begin)), most);
  }
  return {};
}

std::string base_model_name(const ModelSource& source, const std::string& given) {
  if (const std::string name = text_label(source.config(), "_name_or_path"); !name.empty()) return printable(name);
  return fs::path(given).filename().empty() ? given : model_label(given, given);
}

std::string card_front_matter(const ModelSource& source, const std::string& base, const std::string& scheme) {
  const std::string license = source_license(source);
  return str("---\nbase_model: ", yaml_scalar(base), "\nbase_model_relation: quantized\n",
             license.empty() ? "" : str("license: ", yaml_scalar(license), "\n"), carried(source, "license_name"),
             carried(source, "license_link"), carried_list(source, "language"), "tags:\n- arkit\n- ",
             yaml_scalar(scheme), "\n---\n\n");
}

std::string card_size(const ExportReport& report) {
  return str("| size | ", fixed(static_cast<double>(report.bytes) / 1e6, 1), " MB |\n");
}

std::string card_licence(const ModelSource& source) {
  std::string text;
  for (const std::string_view name : kLicenseNames)
    if (is_regular(source.path() / name)) text += str("\nThe licence of the base model is in `", name, "`.\n");
  return text;
}

namespace {

// As people count them: without a family, a block of the plan is what is rounded at a time, a layer or a fused group.
int64_t decoder_blocks(const QuantPlan& plan) {
  std::set<std::pair<std::string, int64_t>> places;
  for (const LayerPlan& layer : plan.layers)
    if (auto place = model_free::block_place(layer.name);
        place && std::find(plan.block_lists.begin(), plan.block_lists.end(), place->list) != plan.block_lists.end())
      places.emplace(std::move(place->list), place->index);
  return places.empty() ? plan.num_blocks : std::min(plan.num_blocks, static_cast<int64_t>(places.size()));
}

}  // namespace

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
                         {"blocks", decoder_blocks(plan)},
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

json::Object describe_source(const ModelSource& source, const json::Array& files, const std::string& model) {
  json::Object described{{"path", source.path().string()},
                         {"kind", source.kind()},
                         {"tensors", source.weights().tensors().size()},
                         {"files", files}};
  if (json::Object origin = hub_origin(model); !origin.empty()) described["hub"] = std::move(origin);
  return described;
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
  record["options"] = recorded_options(options, tuning, registry);
  record["source"] = describe_source(source, outcome.source_files, options.model);
  record_plugins(record, registry);
  record["host"] =
      json::Object{{"cpu", host_info().cpu_name}, {"cpu_limit", cpu_limit_name()}, {"threads", at::get_num_threads()}};
  record["seconds"] = outcome.seconds;
  record["peak_rss_bytes"] = outcome.peak_rss_bytes;
  record["calibration"] = outcome.calibration;
  if (!outcome.importance.empty()) record["importance"] = outcome.importance;
  if (!outcome.compute.empty()) record["compute"] = outcome.compute;
  if (!outcome.auto_scheme.empty()) record["autoscheme"] = outcome.auto_scheme;
  if (!outcome.transforms.empty()) record["transforms"] = outcome.transforms;
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
  card << "# " << markdown_text(base) << ", " << markdown_text(plan.scheme_name) << "\n\n";
  card << "Quantized with arkit " << ARKIT_VERSION << " (" << outcome.method << ", " << describe(plan.global)
       << "), written in the `" << format << "` format.\n\n";
  card << "| figure | value |\n|---|---|\n";
  card << "| quantized layers | " << quantized_count(plan) << " of " << plan.layers.size() << " |\n";
  if (!plan.rotation.empty()) card << "| rotation | `" << plan.rotation << "` |\n";
  if (const json::Value* mix = json::find(outcome.auto_scheme, "layers_by_option"); mix != nullptr)
    card << "| schemes of layers (AutoScheme) | " << markdown_text(mix_line(mix->as_object())) << " |\n";
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
    card << (any ? ", " : "") << markdown_code(layer.name);
    any = true;
  }
  card << (any ? ".\n" : "none.\n");
  card << "\nMade with:\n\n"
       << markdown_block(options.command_line) << "\nEvery option, hash and per-layer error is in `arkit-run.json`.\n";
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
