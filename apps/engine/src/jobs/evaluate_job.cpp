// `arkit eval ppl`: perplexity over consecutive windows without overlap, each scoring tokens 1 .. seqlen - 1; with
// --against also the distance from a reference model.
#include <chrono>
#include <cmath>
#include <memory>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/window_eval.h"
#include "jobs/measured_models.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"
#include "util/heap.h"
#include "util/seconds.h"

namespace arkit {
namespace {

void check_options(const EvalOptions& options) {
  if (options.text_file.empty() == options.ids_file.empty()) throw_usage("give one of --text FILE and --ids FILE");
  check_window_options(options.seqlen, options.batch_size, options.max_windows);
  if (options.head_bits < 16 && options.kv_cache_dtype.empty())
    throw_usage(str("head_bits ", options.head_bits, " is of blocks that run whole: give --kv_cache_dtype as well"));
}

}  // namespace

json::Object evaluate_perplexity(const EvalOptions& options, const Registry& registry, Reporter& reporter) {
  return evaluate_perplexity(options, "auto", registry, reporter);
}

json::Object evaluate_perplexity(const EvalOptions& options, const std::string& resident, const Registry& registry,
                                 Reporter& reporter) {
  check_options(options);
  return_large_blocks();
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry, reporter);
  std::unique_ptr<ModelSource> reference_source;
  if (!options.against.empty()) reference_source = open_source(options.against, registry, reporter);
  const MeasuredModels models(*source, reference_source.get(), compute_dtype(options.dtype), exact_wish(options),
                              registry, reporter);
  if (!options.kv_cache_dtype.empty()) {
    models.model().use_whole_blocks(options.head_bits, options.kv_cache_dtype);
    if (models.model().whole_blocks() == 0)
      throw_unsupported(str("'", options.model, "': kv_cache_dtype ", options.kv_cache_dtype,
                            ": no backend that was chosen runs its blocks whole; '--backend NAME' chooses, and 'arkit "
                            "inspect MODEL' shows what each says"));
  }
  const at::Tensor windows = models.windows(options);
  const Residency residency = models.settle(resident, window_passes(windows));

  reporter.step(str("evaluate ", windows.size(0), " windows of ", options.seqlen, " tokens"));
  const auto start = std::chrono::steady_clock::now();
  const EvalResult score = evaluate_windows(models.model(), models.reference(), windows, options.batch_size, reporter);
  const double seconds = seconds_since(start);

  json::Object result;
  result["model"] = options.model;
  result["perplexity"] = std::exp(score.model.nll);
  result["nll"] = score.model.nll;
  result["windows"] = windows.size(0);
  result["seqlen"] = options.seqlen;
  result["tokens"] = score.model.tokens;
  result["dtype"] = options.dtype;
  if (!options.kv_cache_dtype.empty()) result["kv_cache_dtype"] = options.kv_cache_dtype;
  result["seconds"] = seconds;
  result["tokens_per_second"] = static_cast<double>(windows.numel()) / seconds;
  describe_backends(models.model(), result);
  result["resident"] = residency.describe();
  if (score.divergence) {
    result["against"] = json::Object{{"model", options.against},
                                     {"perplexity", std::exp(score.reference->nll)},
                                     {"mean_kl", score.divergence->mean_kl},
                                     {"p99_kl", score.divergence->p99_kl},
                                     {"top1_agreement", score.divergence->top1_agreement}};
  }
  return result;
}

}  // namespace arkit
