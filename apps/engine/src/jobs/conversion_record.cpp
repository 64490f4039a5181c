#include "jobs/conversion_record.h"

#include <filesystem>
#include <map>
#include <sstream>

#include <arkit/error.h>
#include <arkit/escape.h>
#include <arkit/str.h>

#include "jobs/hub_origin.h"
#include "jobs/run_record.h"
#include "quant/plan.h"
#include "quant/scheme_resolver.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr const char* kRecord = "arkit-run.json";
constexpr const char* kWhat = "quantization_config";
constexpr int64_t kDefaultIters = 200;

json::Object read_record(const fs::path& folder) {
  if (!fs::exists(folder / kRecord)) return {};
  return json::as_object(json::read_file(folder / kRecord), str("'", (folder / kRecord).string(), "'"));
}

const json::Object* object_in(const json::Object& object, std::string_view key) {
  const json::Value* found = json::find(object, key);
  return found == nullptr ? nullptr : found->if_object();
}

template <typename Target, typename Given>
void take(Target& target, const std::optional<Given>& given) {
  if (given) target = *given;
}

void take_settings(RunRecord& run, const json::Object& fields) {
  take(run.nsamples, json::get_int(fields, "nsamples", kWhat));
  take(run.seqlen, json::get_int(fields, "seqlen", kWhat));
  take(run.batch_size, json::get_int(fields, "batch_size", kWhat));
  take(run.gradient_accumulate_steps, json::get_int(fields, "gradient_accumulate_steps", kWhat));
  take(run.lr, json::get_double(fields, "lr", kWhat));
  take(run.minmax_lr, json::get_double(fields, "minmax_lr", kWhat));
  take(run.enable_minmax_tuning, json::get_bool(fields, "enable_minmax_tuning", kWhat));
  take(run.enable_quanted_input, json::get_bool(fields, "enable_quanted_input", kWhat));
  take(run.enable_norm_bias_tuning, json::get_bool(fields, "enable_norm_bias_tuning", kWhat));
  take(run.reference_version, json::get_string(fields, "autoround_version", kWhat));
}

// Files record only what differs from a default, and the default of a rounding run is not that of a tuning run.
int64_t recorded_iters(const json::Object& fields, const RunRecord& run) {
  if (const auto iters = json::get_int(fields, "iters", kWhat)) return *iters;
  return json::find(fields, "autoround_version") == nullptr || !run.enable_quanted_input ? 0 : kDefaultIters;
}

}  // namespace

RunRecord recorded_run(const ModelSource& source) {
  RunRecord run;
  run.converted = true;
  const json::Object record = read_record(source.path());
  if (const json::Object* config = object_in(source.config(), "quantization_config")) {
    take_settings(run, *config);
    take(run.model_free, json::get_bool(*config, "model_free", kWhat));  // where the format says it, so does the copy
    run.iters = recorded_iters(*config, run);
  }
  if (const json::Object* options = object_in(record, "options")) {
    take_settings(run, *options);
    take(run.iters, json::get_int(*options, "iters", kRecord));
  }
  return run;
}

at::ScalarType model_dtype_of(const ModelSource& shown) {
  std::map<at::ScalarType, int64_t> elements;
  for (const TensorInfo& tensor : shown.weights().tensors())
    if (tensor.stored_type == "BF16" || tensor.stored_type == "F16") elements[tensor.dtype] += tensor.numel();
  if (elements[at::kBFloat16] > elements[at::kHalf]) return at::kBFloat16;
  if (elements[at::kHalf] > 0) return at::kHalf;
  for (const char* key : {"dtype", "torch_dtype"}) {
    const auto name = json::get_string(shown.config(), key, "config.json");
    if (name == "float16") return at::kHalf;
    if (name == "float32") return at::kFloat;
    if (name) break;
  }
  return at::kBFloat16;
}

json::Object conversion_record(const Conversion& conversion, const Registry& registry) {
  const ModelSource& source = conversion.source;
  json::Object record = read_record(source.path());
  const json::Object from = describe_source(source, conversion.source_files, conversion.options.model);
  record_program(record);
  record["command"] = conversion.options.command_line;
  record["format"] = conversion.format;
  if (!record.contains("source")) record["source"] = from;
  record["converted_from"] = from;
  record["conversion"] = conversion.proof;
  record_plugins(record, registry);
  record["seconds"] = conversion.seconds;
  record["peak_rss_bytes"] = conversion.peak_rss_bytes;
  record_files(record, conversion.report);
  if (!record.contains("plan")) record["plan"] = describe_plan(conversion.plan);
  return record;
}

std::string conversion_card(const Conversion& conversion) {
  const ModelSource& source = conversion.source;
  std::string base = front_matter(source, "base_model");
  if (base.empty()) base = base_model_name(source, model_label(conversion.options.model, source.path()));
  std::ostringstream card;
  card << card_front_matter(source, base, conversion.plan.scheme_name);
  card << "# " << markdown_text(base) << ", " << markdown_text(conversion.plan.scheme_name) << "\n\n";
  card << "Converted by arkit " << ARKIT_VERSION << " from `" << printable(source.kind()) << "` to the `"
       << conversion.format << "` format: the quantized weights are those of the export it was made from, not rounded "
       << "again.\n\n";
  card << "| figure | value |\n|---|---|\n";
  card << "| quantized layers | " << quantized_count(conversion.plan) << " of " << conversion.plan.layers.size()
       << " |\n";
  card << card_size(conversion.report);
  card << "| proof | " << std::string(conversion.proof.at("verdict").as_string()) << " |\n";
  card << "\nMade with:\n\n" << markdown_block(conversion.options.command_line) << card_licence(source);
  return card.str();
}

}  // namespace arkit
