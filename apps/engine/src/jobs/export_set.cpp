#include "jobs/export_set.h"

#include <algorithm>
#include <set>

#include <arkit/error.h>
#include <arkit/source_check.h>
#include <arkit/str.h>

#include "output/output_folder.h"
#include "quant/format_lookup.h"
#include "quant/free_formats.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kDiskMargin = int64_t{16} << 20;  // configuration, tokenizer and file system overhead

fs::path source_folder(const ModelSource& source) {
  return fs::is_directory(source.path()) ? source.path() : source.path().parent_path();
}

// Formats that record a recipe file, by the names users give them.
std::vector<std::string> recipe_formats(const Registry& registry) {
  std::vector<std::string> names;
  for (const std::string& name : registry.names(Kind::exporter))
    if (!registry.exporter(name).info().recipe_variant.empty()) names.push_back(name);
  return names;
}

FormatChoice recipe_format(FormatChoice format, const Registry& registry) {
  const ExporterInfo& info = format.exporter->info();
  if (info.recipe_variant.empty() || (format.name != info.name && format.name != info.recipe_variant))
    throw_unsupported(str("format '", format.name, "' does not hold what a recipe file asks for; formats that do: ",
                          quoted_list(recipe_formats(registry))));
  format.name = info.recipe_variant;
  return format;
}

// Formats that have an option, by the names users give them.
std::vector<std::string> formats_with(std::string_view option, const Registry& registry) {
  std::vector<std::string> names;
  for (const std::string& name : registry.names(Kind::exporter)) {
    const auto* face = dynamic_cast<const ExporterOptions*>(&registry.exporter(name));
    if (face == nullptr) continue;
    const auto known = face->option_names();
    if (std::find(known.begin(), known.end(), option) != known.end()) names.push_back(name);
  }
  return names;
}

// Each format gets the options it has; one that none of the run has would do nothing.
void tell(std::vector<FormatChoice>& formats, const FormatWords& words, const Registry& registry) {
  std::set<std::string_view> taken;
  for (FormatChoice& format : formats) {
    const auto* face = dynamic_cast<const ExporterOptions*>(format.exporter);
    if (face == nullptr) continue;
    FormatWords own;
    for (const std::string_view name : face->option_names())
      if (const auto given = words.find(name); given != words.end()) {
        own.insert(*given);
        taken.insert(given->first);
      }
    if (own.empty()) continue;
    format.told = face->with(own);
    format.exporter = format.told.get();
  }
  for (const auto& [name, values] : words) {
    if (taken.contains(name)) continue;
    const std::vector<std::string> others = formats_with(name, registry);
    throw_usage(str("--", printable(name), ": no format of this run has this option; ",
                    others.empty() ? std::string("no format that is loaded has it, leave it out")
                                   : str("formats that have it: ", quoted_list(others))));
  }
}

std::string folder_name(std::string format) {
  std::replace(format.begin(), format.end(), ':', '-');
  return format;
}

int64_t companion_bytes(const ModelSource& source) {
  int64_t bytes = 0;
  for (const CompanionFile& companion : source.companions()) {
    if (companion.name == "README.md") continue;  // written anew
    std::error_code error;
    const auto size = companion.path.empty() ? companion.content.size() : fs::file_size(companion.path, error);
    if (!error) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace

FormatWords format_words(const FormatOptions& options) {
  FormatWords words;
  const auto add = [&](const char* name, std::string value) {
    if (!value.empty()) words[name].push_back(std::move(value));
  };
  add("type_rules", options.type_rules);
  for (const std::string& one : options.tensor_type) add("tensor_type", one);
  add("tensor_type_file", options.tensor_type_file.string());
  add("output_tensor_type", options.output_tensor_type);
  add("token_embedding_type", options.token_embedding_type);
  if (options.split_max_size) add("split_max_size", std::to_string(*options.split_max_size));
  for (const std::string& one : options.format_option) {
    const size_t equals = one.find('=');
    if (equals == 0 || equals == std::string::npos)
      throw_usage(str("--format_option: '", printable(one), "' is not NAME=VALUE"));
    words[one.substr(0, equals)].push_back(one.substr(equals + 1));
  }
  return words;
}

std::vector<FormatChoice> find_formats(const std::vector<std::string>& names, bool from_recipe,
                                       const fs::path& output_dir, const Registry& registry, const FormatWords& words) {
  std::vector<FormatChoice> formats;
  for (const std::string& given : from_recipe&& names.empty() ? recipe_formats(registry) : names) {
    NamedFormat named = look_up_format(lower(given), registry);
    FormatChoice format{named.exporter, std::move(named.name), {}, {}};
    if (from_recipe) format = recipe_format(std::move(format), registry);
    if (std::any_of(formats.begin(), formats.end(), [&](const FormatChoice& f) { return f.name == format.name; }))
      continue;
    formats.push_back(std::move(format));
  }
  if (formats.empty()) throw_usage("no format given; 'arkit list formats' shows all");
  tell(formats, words, registry);
  for (FormatChoice& format : formats)
    format.output_dir = formats.size() == 1 ? output_dir : output_dir / folder_name(format.name);
  return formats;
}

std::string no_attention_scales(const std::string& format, const Registry& registry) {
  std::vector<std::string> others;
  for (const std::string& name : registry.names(Kind::exporter))
    if (registry.exporter(name).info().attention_scales) others.push_back(name);
  return str("format '", format, "' has no place for static scales of keys and values; ",
             others.empty() ? std::string("no format that is loaded has one")
                            : str("formats that have: ", quoted_list(others)));
}

std::vector<FormatChoice> choose_formats(const std::vector<std::string>& names, const QuantPlan& plan, bool from_recipe,
                                         const fs::path& output_dir, const Registry& registry,
                                         const FormatWords& words) {
  std::vector<FormatChoice> formats = find_formats(names, from_recipe, output_dir, registry, words);
  for (const FormatChoice& format : formats) {
    for (const LayerPlan& layer : plan.layers) {
      if (!layer.quantized()) continue;
      if (const Verdict verdict = format.exporter->supports(layer, format.name); !verdict)
        throw_unsupported(str("format '", format.name, "' cannot store layer '", layer.name, "': ", verdict.why_not));
    }
    if (const Verdict verdict = format.exporter->supports_plan(plan, format.name); !verdict)
      throw_unsupported(str("format '", format.name, "' cannot store this plan: ", verdict.why_not));
    if (plan.attention.quantized() && !format.exporter->info().attention_scales)
      throw_unsupported(
          str(no_attention_scales(format.name, registry), ", or leave static_kv_dtype and static_attention_dtype out"));
  }
  return formats;
}

void check_source(const std::vector<FormatChoice>& formats, const QuantPlan& plan, const ModelSource& source) {
  for (const FormatChoice& format : formats) {
    const auto* check = dynamic_cast<const SourceCheck*>(format.exporter);
    if (check == nullptr) continue;
    if (const Verdict verdict = check->supports_source(source, plan, format.name); !verdict)
      throw_unsupported(
          str("format '", format.name, "' cannot store '", source.path().string(), "': ", verdict.why_not));
  }
}

bool is_dropped(const QuantPlan& plan, std::string_view tensor) {
  if (tensor.ends_with("rotary_emb.inv_freq")) return true;  // old checkpoints carry it, no model loads it
  return plan.tied_embeddings && tensor == "lm_head.weight";
}

int64_t planned_bytes(const FormatChoice& format, const QuantPlan& plan, const WeightSource& weights) {
  int64_t bytes = 0;
  std::set<std::string, std::less<>> replaced, expert_parents;
  for (const LayerPlan& layer : plan.layers) {
    if (!layer.quantized()) continue;
    bytes += format.exporter->packed_bytes(layer, format.name);
    replaced.insert(layer.name + ".weight");
    replaced.insert(layer.name + ".bias");
    // <parent>.experts.<e>.<projection>: the source may hold all of them as 3-D tensors of <parent>.experts.
    if (layer.kind == LayerKind::expert && !layer.experts.empty()) expert_parents.insert(layer.experts);
  }
  for (const TensorInfo& tensor : weights.tensors()) {
    const size_t dot = tensor.name.rfind('.');
    const bool fused = dot != std::string::npos && expert_parents.contains(tensor.name.substr(0, dot));
    if (replaced.contains(tensor.name) || fused || is_dropped(plan, tensor.name)) continue;
    bytes += tensor.numel() * static_cast<int64_t>(c10::elementSize(tensor.dtype));
  }
  return bytes;
}

int64_t planned_folder_bytes(const FormatChoice& format, const QuantPlan& plan, const ModelSource& source) {
  return planned_bytes(format, plan, source.weights()) + companion_bytes(source);
}

int64_t foretold_bytes(const FormatChoice& format, const ExportRequest& request) {
  if (const FreeMix* exact = free_mix_of(*format.exporter)) return exact->file_bytes(request, format.name);
  return planned_folder_bytes(format, request.plan, request.source);
}

void count_file(ExportReport& report, const fs::path& folder, const fs::path& name) {
  report.files.push_back(name);
  report.bytes += static_cast<int64_t>(fs::file_size(folder / name));
}

std::unique_ptr<output::OutputFolder> open_output(const fs::path& output_dir, const std::vector<FormatChoice>& formats,
                                                  const ModelSource& source, bool force, Reporter& reporter) {
  output::OutputRequest request{
      .folder = output_dir, .subfolders = {}, .source_folder = source_folder(source), .force = force};
  if (formats.size() > 1)
    for (const FormatChoice& format : formats) request.subfolders.push_back(folder_name(format.name));
  return std::make_unique<output::OutputFolder>(std::move(request), reporter);
}

std::unique_ptr<output::OutputFolder> prepare_output(const fs::path& output_dir,
                                                     const std::vector<FormatChoice>& formats, const QuantPlan& plan,
                                                     const ModelSource& source, bool force, Reporter& reporter,
                                                     int64_t shards) {
  std::vector<int64_t> needed;
  for (const FormatChoice& format : formats) needed.push_back(planned_folder_bytes(format, plan, source));
  needed.front() += kDiskMargin;
  auto output = open_output(output_dir, formats, source, force, reporter);
  output->require_space(needed, shards);
  return output;
}

bool any_wants(const std::vector<FormatChoice>& formats, bool ExporterInfo::*what) {
  return std::any_of(formats.begin(), formats.end(), [&](const FormatChoice& f) { return f.exporter->info().*what; });
}

bool wants_samples(const QuantizeOptions& options, const Registry& registry) {
  return any_wants(find_formats(options.formats, !options.recipe_file.empty(), options.output_dir, registry),
                   &ExporterInfo::wants_imatrix);
}

ExportSet::ExportSet(std::vector<FormatChoice> formats, const ExportRequest& request,
                     const output::OutputFolder& output)
    : formats_(std::move(formats)) {
  for (const FormatChoice& format : formats_) {
    ExportRequest own = request;
    own.output_dir = formats_.size() == 1 ? output.staged() : output.staged(folder_name(format.name));
    staged_.push_back(own.output_dir);
    jobs_.push_back(format.exporter->open(own, format.name));
  }
}

void ExportSet::add_layer(const LayerRecord& layer) {
  for (const auto& job : jobs_) job->add_layer(layer);
}

bool ExportSet::takes_strips(const LayerPlan& layer) const {
  return std::all_of(jobs_.begin(), jobs_.end(), [&](const auto& job) { return job->takes_strips(layer); });
}

void ExportSet::add_strip(const LayerRecord& strip, int64_t first_row) {
  for (const auto& job : jobs_) job->add_strip(strip, first_row);
}

void ExportSet::add_plain(std::string_view name, const at::Tensor& tensor, bool changed) {
  for (const auto& job : jobs_) job->add_plain(name, tensor, changed);
}

void ExportSet::add_attention(const AttentionRanges& ranges) {
  for (const auto& job : jobs_) job->add_attention(ranges);
}

std::vector<ExportReport> ExportSet::finish(Reporter& reporter) {
  std::vector<ExportReport> reports;
  const auto total = static_cast<int64_t>(jobs_.size());
  for (const auto& job : jobs_) {
    reporter.progress({"writing", static_cast<int64_t>(reports.size()), total, "formats"});
    reports.push_back(job->finish());
  }
  reporter.progress({"writing", total, total, "formats"});
  return reports;
}

}  // namespace arkit
