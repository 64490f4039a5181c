#include "jobs/plain_conversion.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/engine/open_source.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/exporter.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "convert/cast_source.h"
#include "jobs/conversion_record.h"
#include "jobs/export_set.h"
#include "jobs/hub_origin.h"
#include "jobs/plan_refinement.h"
#include "jobs/run_record.h"
#include "jobs/source_hashes.h"
#include "jobs/source_labels.h"
#include "jobs/source_state.h"
#include "jobs/token_source.h"
#include "model_free/completeness.h"
#include "model_free/weights_model.h"
#include "output/output_folder.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"
#include "source/canonical_source.h"
#include "util/heap.h"
#include "util/seconds.h"

namespace arkit {
namespace fs = std::filesystem;
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kComparedAtOnce = int64_t{1} << 21;  // elements

// The type all numbers are written in; nothing = each as it is stored. A file of another format keeps some tensors in
// float32 whatever the model is in, and codes have no type at all.
std::optional<at::ScalarType> written_dtype(const ConvertOptions& options, const ModelSource& source) {
  if (options.dtype == "float32") return at::kFloat;
  if (options.dtype == "float16") return at::kHalf;
  if (options.dtype == "bfloat16") return at::kBFloat16;
  std::error_code error;
  if (fs::is_directory(source.path(), error)) return std::nullopt;
  return model_dtype_of(source);
}

QuantPlan plain_plan(const ModelSource& source, const Registry& registry, at::ScalarType dtype) {
  const auto layout = [&] {
    try {
      return layout_of(source, registry);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported) throw;  // of no known family
    }
    return model_free::layout_of(source);
  };
  QuantPlan plan = empty_plan(layout());
  plan.global = full_precision(LayerQuant{});
  plan.scheme_name = dtype == at::kFloat ? "F32" : dtype == at::kHalf ? "F16" : "BF16";
  for (LayerPlan& layer : plan.layers) {
    layer.quant = plan.global;
    layer.reason = "nothing is packed in the source";
  }
  return plan;
}

void require_plain_formats(const std::vector<FormatChoice>& formats, const QuantPlan& plan, const ModelSource& source,
                           const ConvertOptions& options, const Registry& registry) {
  for (const FormatChoice& format : formats) {
    if (format.exporter->info().plain_models) continue;
    std::vector<std::string> others;
    for (const std::string& name : registry.names(Kind::exporter))
      if (registry.exporter(name).info().plain_models) others.push_back(name);
    throw_unsupported(str("'", options.model, "' (", source.kind(), ") holds no packed layers to convert, and format '",
                          format.name, "' holds nothing else; 'arkit quantize' makes such an export of a model, and ",
                          "formats that hold it as it is are: ", quoted_list(others)));
  }
  QuantPlan changed = plan;
  const std::vector<RefinedLayer> refined =
      refine_plan(changed, {.formats = formats, .source = source, .registry = registry, .on_indivisible = {}});
  for (const FormatChoice& format : formats) {
    if (refined.empty() || refined.front().format != format.name) continue;
    throw_unsupported(str("format '", format.name, "' rounds layers ('", printable(refined.front().layer), "' to ",
                          describe(refined.front().after), "), and convert rounds none; 'arkit quantize' writes it, ",
                          "and convert --format ", format.exporter->info().name, " the model in full size"));
  }
  check_source(formats, plan, source);
}

// "Q4_1 210, F32 61": how many tensors the source has of each.
std::string stored_types(const ModelSource& source) {
  std::map<std::string, int64_t> counts;
  for (const TensorInfo& info : source.weights().tensors()) ++counts[info.stored_type];
  std::string text;
  for (const auto& [type, count] : counts) text += str(text.empty() ? "" : ", ", printable(type), " ", count);
  return text;
}

[[noreturn]] void fail_plain(const fs::path& written, const std::string& what) {
  throw Error(ErrorCode::verification, str("'", written.string(), "': ", what,
                                           "; what was written is removed (this is a bug in arkit or in a plugin)"));
}

bool same_numbers(const at::Tensor& a, const at::Tensor& b) {
  const bool real = at::isFloatingType(a.scalar_type()) && at::isFloatingType(b.scalar_type());
  if (!real && a.scalar_type() != b.scalar_type()) return false;
  const at::Tensor x = (real ? a.to(at::kFloat) : a).contiguous(), y = (real ? b.to(at::kFloat) : b).contiguous();
  return x.sizes() == y.sizes() && std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) == 0;
}

// use(rows of a, rows of b), a few MB at a time where one of them makes its tensor of codes; false ends it.
template <typename Use>
bool for_rows(const std::string& name, const WeightSource& a, const WeightSource& b, const Use& use) {
  const TensorInfo& info = *a.find(name);
  bool good = true;
  if (!info.shape.empty() && info.numel() > kComparedAtOnce && (a.decodes_rows(name) || b.decodes_rows(name))) {
    const int64_t rows = info.shape.front(), strip = std::max<int64_t>(1, kComparedAtOnce * rows / info.numel());
    for (int64_t first = 0; good && first < rows; first += strip) {
      const int64_t count = std::min(strip, rows - first);
      good = use(a.load_rows(name, first, count), b.load_rows(name, first, count));
      a.release(name);
      b.release(name);
    }
  } else {
    good = use(a.load(name), b.load(name));
  }
  a.release(name);
  b.release(name);
  return good;
}

// Texts that ways of cutting disagree about.
constexpr std::array<const char*, 8> kTokenProbes{
    "Once upon a time, in 1984, there were 1234567 words.",
    "  two  blanks and\ttabs\n\nand lines\r\n",
    "caf\u00e9 na\u00efve \u65e5\u672c\u8a9e \u041f\u0440\u0438\u0432\u0435\u0442 \U0001F680",
    "int main() { return x->y != 0 ? a[i++] : -1; }",
    "it's, we'll, THEY'RE, don't",
    "e\u0301 \u00a0 \u200b \ufeff",
    "",
    " "};

// Does the written model cut texts as the source does? Empty = yes; else a text it does not.
std::string cut_otherwise(const ModelSource& source, const ModelSource& written) {
  const TokenizerTexts* texts = source.tokenizer();
  if (texts == nullptr || texts->tokenizer_json().empty()) return {};
  const Tokenizer ours = tokenizer_of(source), theirs = tokenizer_of(written);
  for (const char* text : kTokenProbes)
    if (ours.encode(text) != theirs.encode(text)) return text;
  return {};
}

// Every tensor of `shown` is in the written model, and nothing else.
json::Object prove(const ModelSource& source, const ModelSource& shown, const fs::path& folder, const QuantPlan& plan,
                   const Registry& registry, Reporter& reporter) {
  const std::unique_ptr<ModelSource> stored = open_plain_source(folder.string(), registry, reporter);
  int64_t tensors = 0, rounded = 0;
  const auto all = static_cast<int64_t>(shown.weights().tensors().size());
  for (const TensorInfo& info : shown.weights().tensors()) {
    if (is_dropped(plan, info.name)) continue;
    throw_if_interrupted();
    const TensorInfo* copy = stored->weights().find(info.name);
    if (copy == nullptr || copy->shape != info.shape)
      fail_plain(folder, str("tensor '", printable(info.name), "' is not in it as it was"));
    if (!for_rows(info.name, shown.weights(), stored->weights(), same_numbers))
      fail_plain(folder, str("tensor '", printable(info.name), "' has other numbers"));
    if (info.dtype != source.weights().find(info.name)->dtype &&
        !for_rows(info.name, source.weights(), shown.weights(), same_numbers))
      ++rounded;
    reporter.progress({"comparing tensors", ++tensors, all, "tensors"});
  }
  for (const TensorInfo& info : stored->weights().tensors())
    if (shown.weights().find(info.name) == nullptr)
      fail_plain(folder, str("tensor '", printable(info.name), "' has no origin in the source"));
  const std::string text = cut_otherwise(shown, *stored);
  if (!text.empty())
    reporter.warn(str("'", folder.string(), "': its tokenizer cuts texts otherwise than the source's, '",
                      printable(text), "' for one: the format has no words for what it does"));
  return {{"tensors", tensors},
          {"rounded_tensors", rounded},
          {"same_tokens", text.empty()},
          {"verdict", str("reopened: ", tensors, " tensors equal",
                          rounded > 0 ? str(", ", rounded, " of them rounded to ", plan.scheme_name) : "")}};
}

std::string plain_card(const Conversion& done) {
  const ModelSource& source = done.source;
  std::string base = front_matter(source, "base_model");
  const std::string label = model_label(done.options.model, source.path());
  if (base.empty()) base = base_model_name(source, label);
  std::ostringstream card;
  card << card_front_matter(source, base, done.plan.scheme_name);
  card << "# " << markdown_text(base) << ", " << markdown_text(done.plan.scheme_name) << "\n\n";
  card << "Converted by arkit " << ARKIT_VERSION << " from `" << printable(source.kind()) << "` to the `" << done.format
       << "` format. Nothing was quantized; what the source holds in codes is what they stand for.\n\n";
  card << "| figure | value |\n|---|---|\n";
  card << "| made from | " << markdown_text(label) << " (tensors: " << stored_types(source) << ") |\n";
  for (const json::Value& file : done.source_files)
    card << "| SHA-256 of " << markdown_text(std::string(file.at("name").as_string())) << " | `"
         << std::string(file.at("sha256").as_string()) << "` |\n";
  card << card_size(done.report);
  card << "| proof | " << std::string(done.proof.at("verdict").as_string()) << " |\n";
  card << "\nMade with:\n\n" << markdown_block(done.options.command_line) << card_licence(source);
  return card.str();
}

}  // namespace

fs::path conversion_folder(const ConvertOptions& options, const ModelSource& source) {
  if (!options.output_dir.empty()) return fs::absolute(options.output_dir).lexically_normal();
  fs::path label = fs::path(model_label(options.model, source.path())).filename();
  if (label == source.path().filename() && !fs::is_directory(source.path())) label = label.stem();
  std::string format = options.formats.size() == 1 ? options.formats.front() : "converted";
  std::replace(format.begin(), format.end(), ':', '-');
  return fs::absolute(label.string() + "-" + format);
}

json::Object convert_plain(const ConvertOptions& options, const ModelSource& source, const Registry& registry,
                           Reporter& reporter) {
  const auto start = Clock::now();
  const std::optional<at::ScalarType> dtype = written_dtype(options, source);
  const at::ScalarType model_dtype = dtype.value_or(model_dtype_of(source));
  const std::unique_ptr<ModelSource> cast = dtype ? view_in_dtype(source, *dtype) : nullptr;
  const ModelSource& shown = cast != nullptr ? *cast : source;
  const QuantPlan plan = plain_plan(shown, registry, model_dtype);
  const fs::path output_dir = conversion_folder(options, source);
  const std::vector<FormatChoice> formats = find_formats(options.formats, false, output_dir, registry);
  require_plain_formats(formats, plan, shown, options, registry);
  const std::vector<fs::path> weights = weight_files(source, std::nullopt);
  const SourceState state(source, weights);
  const auto described = [&](size_t i, int64_t bytes) {
    return json::Object{{"format", formats[i].name}, {"output_dir", formats[i].output_dir.string()}, {"bytes", bytes}};
  };
  const ExportRequest request{.output_dir = formats.front().output_dir,
                              .source = shown,
                              .plan = plan,
                              .run = recorded_run(source),
                              .model_dtype = model_dtype,
                              .max_shard_bytes = options.max_shard_bytes};
  json::Array outputs;
  if (options.dry_run) {
    for (size_t i = 0; i < formats.size(); ++i) outputs.push_back(described(i, foretold_bytes(formats[i], request)));
    return {{"source", source.kind()}, {"dtype", plan.scheme_name}, {"outputs", std::move(outputs)}, {"dry_run", true}};
  }
  const auto output = prepare_output(output_dir, formats, plan, shown, options.force, reporter);
  SourceHashes hashes(weights);
  hashes.start();

  reporter.step("writing");
  ExportSet exports(formats, request, *output);
  std::vector<ExportReport> reports = exports.finish(reporter);  // all tensors are copied there
  reporter.step("reopening and comparing");
  std::vector<json::Object> proofs;
  for (size_t i = 0; i < formats.size(); ++i)
    proofs.push_back(prove(source, shown, exports.staged(i), plan, registry, reporter));
  const json::Array files = hashes.wait(reporter);
  require_listed(options.model, files);
  const double seconds = seconds_since(start);
  const int64_t peak = peak_rss_bytes();
  for (size_t i = 0; i < formats.size(); ++i) {
    const Conversion done{options, source, plan, formats[i].name, reports[i], files, proofs[i], seconds, peak};
    const fs::path folder = exports.staged(i);
    write_file(folder / "README.md", plain_card(done));
    write_file(folder / "arkit-run.json", escape_json(json::dump(conversion_record(done, registry), 2)) + "\n");
    for (const char* own : {"README.md", "arkit-run.json"}) count_file(reports[i], folder, own);
    json::Object entry = described(i, reports[i].bytes);
    entry["files"] = reports[i].files.size();
    entry["proof"] = proofs[i].at("verdict");
    outputs.push_back(std::move(entry));
  }
  throw_if_interrupted();
  state.require_unchanged();
  output->commit();
  json::Array details(proofs.begin(), proofs.end());
  return {{"source", source.kind()},      {"dtype", plan.scheme_name}, {"outputs", std::move(outputs)},
          {"proofs", std::move(details)}, {"seconds", seconds},        {"peak_rss_bytes", peak}};
}

}  // namespace arkit
