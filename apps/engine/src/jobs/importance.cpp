#include "jobs/importance.h"

#include <algorithm>
#include <system_error>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/part_file.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "quant/plan.h"
#include "quant/scheme_traits.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

constexpr size_t kShownNames = 3;

const ImportanceFiles& importance_files(const Registry& registry, std::string_view option) {
  for (const std::string& name : registry.names(Kind::reader))
    if (const auto* files = dynamic_cast<const ImportanceFiles*>(&registry.reader(name))) return *files;
  throw_unsupported(
      str("--", option, " needs a plugin that knows such files, and none is loaded ('arkit list plugins' shows all)"));
}

// Tables are rounded before anything is tuned.
bool looks(const LayerPlan& layer, RoundingStyle style, const SchemeFor& scheme_for) {
  if (!layer.quant.weight.quantized()) return false;
  if (layer.kind == LayerKind::embedding) style.tunes = false;
  return looks_at_importance(layer, traits_of(layer.quant, scheme_for), style);
}

[[noreturn]] void refuse_idle(const QuantPlan& plan, const RoundingStyle& style, const SchemeFor& scheme_for) {
  const auto any = [&](const auto& what) {
    return std::any_of(plan.layers.begin(), plan.layers.end(), [&](const LayerPlan& layer) {
      return layer.quant.weight.quantized() && what(traits_of(layer.quant, scheme_for));
    });
  };
  std::string why, instead;
  if (style.tunes && any([](const SchemeTraits& traits) { return traits.imatrix_when_tuned; })) {
    why = "tuning looks at it only where --enable_alg_ext searches for initial scales";
    instead = "add that, round with --recipe opt-rtn";
  } else if (any([](const SchemeTraits& traits) { return traits.searches; })) {
    why = style.tunes ? "tuning does not look at it" : "plain rounding does not look at it";
    instead = "search scales with --recipe opt-rtn";
  } else {
    why = str("scheme '", plan.scheme_name, "' has nothing to search");
    instead = "choose another scheme";
  }
  throw_usage(str("--imatrix says how much inputs count, and ", why, "; ", instead, ", or leave --imatrix out"));
}

// Sums over counts, as other programs divide them; what saw no token counts alike.
at::Tensor mean_of(const ImportanceEntry& entry) {
  const auto count = entry.counts.const_data_ptr<float>()[0];
  at::Tensor mean = at::ones({entry.sums.numel()}, at::kFloat);
  if (count <= 0) return mean;
  const auto* sums = entry.sums.const_data_ptr<float>();
  auto* out = mean.mutable_data_ptr<float>();
  for (int64_t i = 0; i < mean.numel(); ++i) out[i] = sums[i] / count;
  return mean;
}

std::string some_of(const std::vector<std::string>& names) {
  const std::vector<std::string> shown(
      names.begin(), names.begin() + static_cast<std::ptrdiff_t>(std::min(names.size(), kShownNames)));
  return quoted_list(shown) + (names.size() > kShownNames ? " ..." : "");
}

}  // namespace

at::Tensor GivenImportance::of(std::string_view layer) const {
  const auto found = by_layer.find(layer);
  return found == by_layer.end() ? at::Tensor() : found->second;
}

json::Object GivenImportance::describe() const {
  json::Array datasets;
  for (const std::string& name : matrix.datasets) datasets.emplace_back(name);
  return {{"file", record.file},
          {"entries", record.entries},
          {"layers", by_layer.size()},
          {"datasets", std::move(datasets)},
          {"chunks", record.chunks}};
}

std::function<at::Tensor(std::string_view)> importance_of(const GivenImportance* given) {
  if (given == nullptr) return nullptr;
  return [given](std::string_view layer) { return given->of(layer); };
}

ImportanceMatrix importance_matrix(const QuantizeOptions& options, const json::Object& config,
                                   const Registry& registry) {
  return importance_files(registry, "imatrix").read_importance(options.imatrix, config);
}

ImportanceRecord importance_record(const QuantizeOptions& options, const ImportanceMatrix& matrix) {
  return {.file = options.imatrix.string(),
          .dataset = matrix.datasets.empty() ? std::string() : matrix.datasets.front(),
          .entries = static_cast<int64_t>(matrix.entries.size()),
          .chunks = matrix.chunks};
}

std::shared_ptr<const GivenImportance> read_importance(const QuantizeOptions& options, const QuantPlan& plan,
                                                       const json::Object& config, const RoundingStyle& style,
                                                       const Registry& registry, Reporter& reporter) {
  const SchemeFor scheme_for = schemes_of(registry);
  const auto in_blocks = [&](const LayerPlan& layer) { return layer.kind != LayerKind::embedding; };
  if (std::none_of(plan.layers.begin(), plan.layers.end(),
                   [&](const LayerPlan& layer) { return in_blocks(layer) && looks(layer, style, scheme_for); }))
    refuse_idle(plan, style, scheme_for);
  const std::string file = str("'", options.imatrix.string(), "'");
  auto given = std::make_shared<GivenImportance>();
  given->matrix = importance_matrix(options, config, registry);
  std::map<std::string_view, const ImportanceEntry*> entries;
  for (const ImportanceEntry& entry : given->matrix.entries)
    if (plan.find(entry.layer) != nullptr) entries.emplace(entry.layer, &entry);
  std::vector<std::string> missing;
  for (const LayerPlan& layer : plan.layers) {
    if (!looks(layer, style, scheme_for)) continue;
    const auto found = entries.find(layer.name);
    if (found == entries.end()) {
      if (in_blocks(layer)) missing.push_back(layer.name);
      continue;
    }
    const ImportanceEntry& entry = *found->second;
    if (entry.sums.size(0) != 1 || entry.sums.size(1) != layer.in_features)
      throw_input(str(file, ": entry '", printable(entry.name), "' has ", entry.sums.numel(), " values and layer '",
                      layer.name, "' ", layer.in_features, " inputs; the matrix is of another model"));
    given->by_layer.emplace(layer.name, mean_of(entry));
  }
  const std::vector<ImportanceEntry>& all = given->matrix.entries;
  if (given->by_layer.empty())
    throw_input(str(file, ": none of its ", all.size(), " entries ('", printable(all.front().name),
                    "' ...) is of a layer that this run rounds ('", missing.front(),
                    "' ...); the matrix is of another model"));
  if (!missing.empty()) {
    const std::string message =
        str(file, " has no entry for ", missing.size(), " of ", missing.size() + given->by_layer.size(), " layers (",
            some_of(missing), "): their inputs count alike");
    // Programs that make such files leave the head out unless they are asked for it.
    const bool head_alone = missing.size() == 1 && is_head(*plan.find(missing.front()));
    head_alone ? reporter.info(message) : reporter.warn(message);
  }
  if (all.size() > entries.size())
    reporter.info(
        str(file, ": ", all.size() - entries.size(), " of its ", all.size(), " entries are of no layer of this model"));
  given->record = importance_record(options, given->matrix);
  return given;
}

bool measures_for_file(const QuantizeOptions& options) {
  return !options.save_imatrix.empty() && options.imatrix.empty();
}

void check_saving(const QuantizeOptions& options, const json::Object& config, const Registry& registry) {
  if (options.save_imatrix.empty()) return;
  const fs::path& path = options.save_imatrix;
  const Verdict verdict = importance_files(registry, "save_imatrix").writes_importance(path, config);
  if (!verdict) throw_unsupported(str("--save_imatrix '", path.string(), "' cannot be written: ", verdict.why_not));
  std::error_code error;
  const fs::path folder = fs::absolute(path).parent_path();
  if (fs::is_directory(path, error) || !fs::is_directory(folder, error))
    throw_usage(str("--save_imatrix '", path.string(), "' is no file in a folder that exists; make '", folder.string(),
                    "', or name a file elsewhere"));
}

void GatheredImportance::add(const std::string& layer, const at::Tensor& sums, int64_t tokens) {
  if (!sums.defined()) return;
  entries_.push_back({.name = {},
                      .layer = layer,
                      .sums = sums.reshape({1, sums.numel()}).contiguous(),
                      .counts = at::full({1}, tokens, at::kFloat)});
}

ImportanceMatrix GatheredImportance::matrix(const json::Object& calibration) const {
  const auto number = [&](const char* key) { return json::get_int(calibration, key, "calibration").value_or(1); };
  ImportanceMatrix matrix{
      .entries = entries_, .datasets = {}, .chunks = number("samples"), .chunk_tokens = number("seqlen")};
  if (auto dataset = json::get_string(calibration, "dataset", "calibration"); dataset && !dataset->empty())
    matrix.datasets.push_back(*std::move(dataset));
  return matrix;
}

void save_importance(const ImportanceMatrix& matrix, const fs::path& path, const json::Object& config,
                     const Registry& registry, Reporter& reporter) {
  const std::string bytes = importance_files(registry, "save_imatrix").write_importance(matrix, path, config);
  PartFile file(path);
  file.write_at(0, bytes.data(), static_cast<int64_t>(bytes.size()));
  file.publish();
  reporter.info(str("wrote '", path.string(), "': the importance of the inputs of ", matrix.entries.size(), " layers"));
}

}  // namespace arkit
