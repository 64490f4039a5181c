// `arkit diff A B`: what differs between two exports, or an export and a model: weights layer by layer, all other
// tensors, configuration, size, and on request what the two compute. A layer of each is in memory at a time.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/tied_embeddings.h>
#include <arkit/str.h>

#include "convert/config_difference.h"
#include "convert/weight_difference.h"
#include "inference/window_eval.h"
#include "jobs/measured_models.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"
#include "model_free/checkpoint_source.h"
#include "quant/scheme_resolver.h"
#include "util/heap.h"
#include "util/stored_bytes.h"

namespace arkit {
namespace {

constexpr std::string_view kWeight = ".weight";

struct Side {
  std::unique_ptr<ModelSource> source;
  std::unique_ptr<ModelSource> shown;                            // packed layers as real numbers
  std::map<std::string, const LinearSpec*, std::less<>> packed;  // by name of their weight

  [[nodiscard]] const LinearSpec* spec(std::string_view tensor) const {
    const auto found = packed.find(tensor);
    return found == packed.end() ? nullptr : found->second;
  }
};

Side open_side(const std::string& name, const Registry& registry, Reporter& reporter) {
  Side side{.source = open_source(name, registry, reporter), .shown = nullptr, .packed = {}};
  for (const LinearSpec& spec : sdk::packed_layers(*side.source)) side.packed[spec.name + std::string(kWeight)] = &spec;
  return side;
}

// Experts that one side fuses into a 3-D tensor and the other has apart are cut apart on both.
void show(Side& a, Side& b, const Registry& registry) {
  const auto view = [&](bool cut) {
    for (Side* side : {&a, &b})
      side->shown = model_free::view_checkpoint(*side->source, registry, {.cut_experts = cut, .dtype = at::kFloat});
  };
  view(false);
  const auto lacks_fused = [](const Side& with, const Side& without) {
    const auto tensors = with.shown->weights().tensors();
    return std::any_of(tensors.begin(), tensors.end(), [&](const TensorInfo& tensor) {
      return tensor.shape.size() == 3 && without.shown->weights().find(tensor.name) == nullptr;
    });
  };
  if (lacks_fused(a, b) || lacks_fused(b, a)) view(true);
}

std::string scheme_of(const Side& side, const TensorInfo* tensor) {
  if (tensor == nullptr) return "absent";
  const LinearSpec* spec = side.spec(tensor->name);
  return spec == nullptr ? tensor->stored_type : str(describe(spec->quant), ", ", spec->packing);
}

// A head that is the embedding, and buffers every loader computes, are in some files and not in others.
bool may_be_absent(const std::string& name, const Side& where) {
  if (name.ends_with(".rotary_emb.inv_freq")) return true;
  return name == stored_head(*where.source) + ".weight" &&
         json::get_bool(where.source->config(), "tie_word_embeddings", "config.json").value_or(false);
}

bool same_bytes(const at::Tensor& a, const at::Tensor& b) {
  return a.scalar_type() == b.scalar_type() && a.nbytes() == b.nbytes() &&
         std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()) == 0;
}

struct Row {
  std::string name, a, b;  // b: how each side holds it
  WeightDifference difference;
  bool layer = false;  // packed on a side
  bool differs = false;
  std::string note;
};

Row compare(const std::string& name, const Side& a, const Side& b) {
  const TensorInfo* left = a.shown->weights().find(name);
  const TensorInfo* right = b.shown->weights().find(name);
  const LinearSpec *spec_a = a.spec(name), *spec_b = b.spec(name);
  Row row{.name = name, .a = scheme_of(a, left), .b = scheme_of(b, right), .difference = {}, .note = {}};
  row.layer = spec_a != nullptr || spec_b != nullptr;
  if (row.layer) row.name = name.substr(0, name.size() - kWeight.size());
  if (left == nullptr || right == nullptr) {
    row.differs = !may_be_absent(name, left == nullptr ? a : b);
    row.note = left == nullptr ? "only in b" : "only in a";
    return row;
  }
  if (left->shape != right->shape) {
    row.differs = true;
    row.note = "other shape";
    return row;
  }
  const at::Tensor x = a.shown->weights().load(name).contiguous(), y = b.shown->weights().load(name).contiguous();
  if (!same_bytes(x, y)) row.difference = weight_difference(x, y);
  a.shown->weights().release(name);
  b.shown->weights().release(name);
  row.differs = row.difference.differing > 0;
  if (!row.difference.finite) row.note = "holds values that are not finite";
  const TensorQuant plain{.data_type = "float"};
  const TensorQuant& act_a = spec_a == nullptr ? plain : spec_a->quant.act;
  const TensorQuant& act_b = spec_b == nullptr ? plain : spec_b->quant.act;
  if (act_a.quantized() != act_b.quantized() || (act_a.quantized() && act_a != act_b)) {
    row.differs = true;
    row.note = "other activations";
  }
  return row;
}

std::vector<Row> compare_tensors(const Side& a, const Side& b, Reporter& reporter) {
  std::vector<std::string> names;
  std::set<std::string> seen;
  for (const Side* side : {&a, &b})
    for (const TensorInfo& tensor : side->shown->weights().tensors())
      if (seen.insert(tensor.name).second) names.push_back(tensor.name);
  std::vector<Row> rows;
  for (const std::string& name : names) {
    throw_if_interrupted();
    rows.push_back(compare(name, a, b));
    reporter.progress(
        {"comparing tensors", static_cast<int64_t>(rows.size()), static_cast<int64_t>(names.size()), "tensors"});
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& x, const Row& y) {
    if (x.note.empty() != y.note.empty()) return y.note.empty();
    return x.difference.relative > y.difference.relative;
  });
  return rows;
}

json::Object describe_row(const Row& row, const char* what) {
  json::Object object{
      {what, row.name}, {"relative", row.difference.relative}, {"max", row.difference.max}, {"a", row.a}, {"b", row.b}};
  if (!row.note.empty()) object["note"] = row.note;
  return object;
}

void report_tensors(const std::vector<Row>& rows, json::Object& report) {
  json::Array layers, tensors;
  int64_t layers_differing = 0, plain = 0;
  double squares = 0.0;
  for (const Row& row : rows) {
    if (row.layer) {
      layers.push_back(describe_row(row, "layer"));
      layers_differing += row.differs ? 1 : 0;
      squares += row.difference.relative;
    } else {
      ++plain;
      if (row.differs) tensors.push_back(describe_row(row, "tensor"));
    }
  }
  report["layers_compared"] = layers.size();
  report["layers_differing"] = layers_differing;
  report["mean_relative"] = layers.empty() ? 0.0 : squares / static_cast<double>(layers.size());
  report["tensors_compared"] = plain;
  report["tensors_differing"] = tensors.size();
  report["tensors"] = std::move(tensors);
  report["layers"] = std::move(layers);
}

json::Object describe_side(const Side& side) {
  return {{"path", side.source->path().string()},
          {"kind", side.source->kind()},
          {"packed_layers", sdk::packed_layers(*side.source).size()},
          {"bytes", stored_bytes(side.source->weights())}};
}

json::Object compare_logits(const DiffOptions& options, const std::string& resident, const Side& a, const Side& b,
                            const Registry& registry, Reporter& reporter) {
  const MeasuredModels models(*b.source, a.source.get(), compute_dtype(options.dtype), exact_wish(options), registry,
                              reporter);
  const at::Tensor windows = models.windows(options);
  const Residency residency = models.settle(resident, window_passes(windows));
  reporter.step(str("comparing logits on ", windows.size(0), " windows of ", options.seqlen, " tokens"));
  const EvalResult score = evaluate_windows(models.model(), models.reference(), windows, options.batch_size, reporter);
  return {{"windows", windows.size(0)},
          {"tokens", score.model.tokens},
          {"mean_kl", score.divergence->mean_kl},
          {"p99_kl", score.divergence->p99_kl},
          {"top1_agreement", score.divergence->top1_agreement},
          {"perplexity_a", std::exp(score.reference->nll)},
          {"perplexity_b", std::exp(score.model.nll)},
          {"resident", residency.describe()}};
}

void check_options(const DiffOptions& options) {
  if (!options.text_file.empty() && !options.ids_file.empty()) throw_usage("give one of --text FILE and --ids FILE");
  check_window_options(options.seqlen, options.batch_size, options.max_windows);
  if (!options.text_file.empty() || !options.ids_file.empty()) return;
  const DiffOptions defaults;
  std::string idle;
  const auto note = [&](bool given, const char* name) {
    if (given) idle += str(idle.empty() ? "--" : ", --", name);
  };
  note(options.seqlen != defaults.seqlen, "seqlen");
  note(options.max_windows.has_value(), "max_windows");
  note(options.batch_size != defaults.batch_size, "batch_size");
  note(options.dtype != defaults.dtype, "dtype");
  note(!options.backend.empty(), "backend");
  note(!options.device.empty(), "device");
  note(!options.prepared_cache.empty(), "prepared_cache");
  if (!idle.empty())
    throw_usage(str("without a text nothing is computed; add --text FILE or --ids FILE, or leave ", idle, " out"));
}

}  // namespace

json::Object diff(const DiffOptions& options, const Registry& registry, Reporter& reporter) {
  return diff(options, "auto", registry, reporter);
}

json::Object diff(const DiffOptions& options, const std::string& resident, const Registry& registry,
                  Reporter& reporter) {
  check_options(options);
  return_large_blocks();
  reporter.step("comparing tensors");
  Side a = open_side(options.a, registry, reporter), b = open_side(options.b, registry, reporter);
  show(a, b, registry);
  json::Object report{{"a", describe_side(a)}, {"b", describe_side(b)}, {"equal", true}};
  report_tensors(compare_tensors(a, b, reporter), report);
  report["config"] = config_difference(a.source->config(), b.source->config());
  report["equal"] = report.at("layers_differing").to_number<int64_t>() == 0 &&
                    report.at("tensors").as_array().empty() && report.at("config").as_array().empty();
  if (!options.text_file.empty() || !options.ids_file.empty())
    report["logits"] = compare_logits(options, resident, a, b, registry, reporter);
  return report;
}

}  // namespace arkit
