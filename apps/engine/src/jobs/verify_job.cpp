// arkit verify: reopens an export with the readers and holds it beside its source. What it shares with the writers
// stands in docs/ARCHITECTURE.md.

#include <algorithm>
#include <filesystem>
#include <map>
#include <optional>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/part_file.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/text_config.h>
#include <arkit/str.h>

#include "hub/repo_names.h"
#include "inference/residency.h"
#include "jobs/hub_origin.h"
#include "jobs/truncated_source.h"
#include "model_free/checkpoint_source.h"
#include "output/swap_journal.h"
#include "source/canonical_source.h"
#include "transform/checkpoint_transform.h"
#include "transform/folded_source.h"
#include "util/heap.h"
#include "util/tensor_cache.h"
#include "verify/code_check.h"
#include "verify/config_check.h"
#include "verify/layer_check.h"
#include "verify/list_check.h"
#include "verify/model_check.h"
#include "verify/tensor_check.h"
#include "verify/verify_report.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecord = "arkit-run.json";

// arkit-run.json, as far as verification needs it. Everything is optional: exports of others have none.
struct RunFacts {
  std::string source;  // where the source was
  std::string hub;     // the name under which it is fetched again; empty = it came from no hub
  std::optional<int64_t> blocks;
  RecordedRounding rounding;
  std::vector<std::string> files;
  bool tuned_norms = false;
  std::string rotation;  // as --rotation was given
  std::vector<TransformRecord> transforms;
};

// The largest |V| that the steps of a run add up to (docs/spec/signround.md 5): rates fall to nothing over iters - 1
// steps.
double tuned_reach(const json::Object& options, const std::string& what) {
  constexpr double kMostOfAdam = 3.2;  // (1 - beta1) / sqrt(1 - beta2): its longest step, in rates
  const auto iters = static_cast<double>(json::get_int(options, "iters", what).value_or(0));
  if (iters < 1.0) return kUsualReach;
  const double rate = json::get_double(options, "lr", what).value_or(2.0 / iters);  // of many iterations and few bits
  const double sum = rate * (iters - 1.0) * (iters + 2.0) / (2.0 * iters);
  const bool adam = json::get_bool(options, "enable_adam", what).value_or(false);
  return std::max(kUsualReach, adam ? sum * kMostOfAdam : sum);
}

RunFacts read_facts(const fs::path& directory) {
  RunFacts facts;
  if (!fs::exists(directory / kRecord)) return facts;
  const std::string what = str("'", (directory / kRecord).string(), "'");
  const json::Value file = json::read_file(directory / kRecord);
  const json::Object& record = json::as_object(file, what);
  if (const json::Value* source = json::find(record, "source")) {
    const json::Object& from = json::as_object(*source, what);
    facts.source = json::get_string(from, "path", what).value_or("");
    if (const json::Value* hub = json::find(from, "hub"); hub != nullptr && !hub->is_null())
      facts.hub = model_at_commit(json::as_object(*hub, what), what);
  }
  if (const json::Value* files = json::find(record, "files"))
    for (const json::Value& name : json::as_array(*files, what))
      if (name.is_string()) facts.files.emplace_back(name.get_string());
  if (const json::Value* options = json::find(record, "options")) {
    const json::Object& fields = json::as_object(*options, what);
    facts.blocks = json::get_int(fields, "num_hidden_layers", what);
    facts.rounding.plain = json::get_string(fields, "recipe", what) == "rtn" &&
                           json::get_int(fields, "iters", what) == 0 &&
                           !json::get_bool(fields, "enable_neuqi", what).value_or(false);
    facts.rounding.reach = tuned_reach(fields, what);
    facts.rotation = json::get_string(fields, "rotation", what).value_or("");
    facts.tuned_norms = json::get_bool(fields, "enable_norm_bias_tuning", what).value_or(false);
  }
  facts.transforms = read_transforms(record, what);
  const json::Value* plan = json::find(record, "plan");
  const json::Value* layers = plan == nullptr ? nullptr : json::find(json::as_object(*plan, what), "layers");
  if (layers == nullptr) return facts;
  for (const json::Value& entry : json::as_array(*layers, what)) {
    const json::Object& layer = json::as_object(entry, what);
    const auto error = json::get_double(layer, "relative_error", what);
    if (error) facts.rounding.errors[json::get_string(layer, "name", what).value_or("")] = *error;
  }
  return facts;
}

CheckResult check_files(const fs::path& directory, const RunFacts& facts) {
  Check check("files");
  for (const std::string& name : facts.files) {
    const fs::path file(name);  // in the folder, or in a folder of it
    const bool inside = file.is_relative() && std::find(file.begin(), file.end(), "..") == file.end();
    if (!inside || !fs::is_regular_file(directory / name)) check.fail(str("'", printable(name), "' is missing"));
  }
  for (const fs::directory_entry& entry : fs::directory_iterator(directory))
    if (entry.path().extension() == kPartSuffix)
      check.fail(str("'", entry.path().filename().string(), "' is the rest of a run that did not finish"));
  return check.result(str(facts.files.size(), " files as recorded"));
}

std::unique_ptr<ModelSource> folded(std::unique_ptr<ModelSource> source, const RunFacts& facts) {
  return facts.transforms.empty() ? std::move(source) : fold_source(std::move(source), facts.transforms);
}

// The source the export is held beside, as it lies there: the one named, else the one the run recorded if it is still
// there, else the same commit of the hub it came from. Null, and `why_not`, where it cannot be had.
std::unique_ptr<ModelSource> open_original(const VerifyOptions& options, const RunFacts& facts,
                                           const Registry& registry, Reporter& reporter, std::string& why_not) {
  std::error_code error;
  if (!options.against.empty()) return open_plain_source(options.against, registry, reporter);
  if (!facts.source.empty() && fs::exists(facts.source, error))
    return open_plain_source(facts.source, registry, reporter);
  why_not = "no source given or found";
  if (facts.hub.empty()) return nullptr;
  try {
    (void)locate_model(facts.hub, reporter);
  } catch (const Error& failed) {
    if (failed.code() == ErrorCode::interrupted) throw;
    why_not = failed.what();
    return nullptr;
  }
  return open_plain_source(facts.hub, registry, reporter);
}

// As the run rounded it, with rotations and scales in its weights.
std::unique_ptr<ModelSource> open_against(const VerifyOptions& options, const RunFacts& facts,
                                          const ModelSource& exported, const Registry& registry, Reporter& reporter,
                                          std::string& why_not) {
  std::unique_ptr<ModelSource> source = open_original(options, facts, registry, reporter, why_not);
  if (!source) return nullptr;
  // Fused experts were cut apart, packed layers dequantized, on the way into the export.
  source = model_free::open_checkpoint(std::move(source), registry);
  if (facts.blocks) source = truncate_blocks(std::move(source), *facts.blocks);
  return folded(transformed_as(std::move(source), "rotation", facts.rotation, exported, registry), facts);
}

// A family that does not know an activation or a kind of rope can tell neither what the model needs nor what it
// computes. That is no fault of an export that was rounded without a family.
CheckResult check_needs(const ModelSource& exported, const Registry& registry) {
  CheckResult result = check_complete(exported, registry);
  if (result.passed) return result;
  try {
    (void)layout_of(exported, registry);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    if (error.code() == ErrorCode::unsupported)
      return {.name = result.name, .skipped = true, .detail = str("cannot be computed: ", error.what())};
  }
  return result;
}

void compare_with_source(const ModelSource& exported, const ModelSource& source, const RunFacts& run,
                         const Registry& registry, bool keep_blocks, Reporter& reporter, VerifyReport& report) {
  ExportFacts facts{.quantized = {}, .tuned_norms = run.tuned_norms};
  for (const LinearSpec& spec : sdk::packed_layers(exported)) facts.quantized.insert(spec.name);
  for (const auto& [name, error] : run.rounding.errors) facts.quantized.insert(name);
  constexpr const char* tie = "tie_word_embeddings";
  facts.tied = json::get_bool(config_with(exported.config(), tie), tie, "config.json").value_or(false);
  reporter.step("comparing configuration and tensors with the source");
  report.add(check_config(exported, source));
  if (!run.files.empty()) report.add(check_companions(exported, source));
  report.add(check_accounting(exported, source, facts, report));
  report.add(check_copies(exported, source, facts, reporter));
  reporter.step("comparing layers with the source");
  report.add(check_layers_against_source(exported, source, registry, run.rounding, reporter, report));
  reporter.step("comparing what both compute");
  check_model(exported, source, registry, facts, keep_blocks, reporter, report);
}

}  // namespace

json::Object verify(const VerifyOptions& options, const Registry& registry, Reporter& reporter) {
  return verify(options, "auto", registry, reporter);
}

json::Object verify(const VerifyOptions& given, const std::string& resident, const Registry& registry,
                    Reporter& reporter) {
  VerifyOptions options = given;
  std::error_code failed;
  if (hub::parse_model_name(given.directory.string()) && !fs::exists(given.directory, failed))
    options.directory = locate_model(given.directory.string(), reporter);
  if (!fs::is_directory(options.directory, failed))
    throw_input(str("'", options.directory.string(), "': is not a folder; give the folder of an export"));
  output::refuse_unfinished_swap(options.directory);
  return_large_blocks();
  const TensorCacheScope reuse;
  VerifyReport report;
  const RunFacts facts = read_facts(options.directory);
  report.add(check_files(options.directory, facts));

  // Opening checks headers, index, configuration and the shape of every packed tensor.
  std::unique_ptr<ModelSource> exported;
  Check opens("opens");
  try {
    exported = without_denied_biases(open_stored(options.directory.string(), registry, reporter), registry);
  } catch (const Error& error) {
    opens.fail(error.what());
  }
  report.add(opens.result(exported ? str("as ", exported->kind()) : std::string()));
  std::string against;
  if (exported) {
    report.counts["packed_layers"] = sdk::packed_layers(*exported).size();
    report.counts["tensors"] = exported->weights().tensors().size();
    reporter.step("checking values");
    report.add(check_finite_values(*exported, reporter));
    report.add(check_packed_values(*exported, registry, reporter));
    report.add(check_layer_lists(*exported, registry));
    report.add(check_tie(*exported));
    report.add(check_needs(*exported, registry));
    if (!sdk::attention_modules(*exported).empty()) report.add(check_attention_scales(*exported));
    std::string why_not;
    if (const auto source = open_against(options, facts, *exported, registry, reporter, why_not)) {
      against = source->path().string();
      const ModelSource* const models[] = {source.get(), exported.get()};
      const Residency residency = choose_residency(resident, models, at::kFloat, 1);
      report.counts["resident"] = residency.all ? "all" : "one";
      compare_with_source(*exported, *source, facts, registry, residency.all, reporter, report);
    } else {
      report.add_skipped("comparison with the source", str(why_not, "; pass --against MODEL"));
    }
  }
  json::Object result = report.to_json();
  result["directory"] = options.directory.string();
  if (!against.empty()) result["against"] = against;
  return result;
}

}  // namespace arkit
