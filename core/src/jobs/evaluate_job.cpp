// `arkit eval ppl`: perplexity over consecutive windows without overlap, each scoring tokens 1 .. seqlen - 1; with
// --against also the distance from a reference model.
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/jobs.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/engine.h"
#include "inference/window_eval.h"
#include "jobs/token_source.h"

namespace arkit {
namespace {

void check_options(const EvalOptions& options) {
  if (options.text_file.empty() == options.ids_file.empty()) throw_usage("give one of --text FILE and --ids FILE");
  if (options.seqlen < 2) throw_usage(str("seqlen ", options.seqlen, " must be 2 or more"));
  if (options.batch_size < 1) throw_usage(str("batch_size ", options.batch_size, " must be 1 or more"));
  if (options.max_windows && *options.max_windows < 1)
    throw_usage(str("max_windows ", *options.max_windows, " must be 1 or more"));
}

// [count, seqlen]; what does not fill a window at the end is left out.
at::Tensor make_windows(const at::Tensor& ids, const EvalOptions& options) {
  const at::Tensor flat = ids.reshape({-1});
  int64_t count = flat.size(0) / options.seqlen;
  if (count == 0)
    throw_input(str("only ", flat.size(0), " tokens for windows of ", options.seqlen, "; give more text or a smaller ",
                    "--seqlen"));
  if (options.max_windows) count = std::min(count, *options.max_windows);
  return flat.narrow(0, 0, count * options.seqlen).reshape({count, options.seqlen});
}

json::Object describe(const Engine& engine) {
  json::Object backends;
  for (const auto& [name, count] : engine.layers_by_backend()) backends[name] = count;
  return backends;
}

}  // namespace

json::Object evaluate_perplexity(const EvalOptions& options, const Registry& registry, Reporter& reporter) {
  check_options(options);
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry);
  std::unique_ptr<ModelSource> reference_source;
  if (!options.against.empty()) reference_source = open_source(options.against, registry);
  const at::ScalarType dtype = compute_dtype(options.dtype);
  Engine engine(*source, registry, dtype, options.backend);
  std::unique_ptr<Engine> reference;
  if (reference_source) reference = std::make_unique<Engine>(*reference_source, registry, dtype, options.backend);

  const bool text = !options.text_file.empty();
  const at::Tensor ids =
      text ? tokenize_file(options.text_file, tokenizer_of(*source)) : read_input_ids(options.ids_file);
  const at::Tensor windows = make_windows(ids, options);
  engine.check_ids(windows, str("'", (text ? options.text_file : options.ids_file).string(), "'"));

  reporter.step(str("evaluate ", windows.size(0), " windows of ", options.seqlen, " tokens"));
  const auto start = std::chrono::steady_clock::now();
  const EvalResult score = evaluate_windows(engine, reference.get(), windows, options.batch_size, reporter);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  json::Object result;
  result["model"] = options.model;
  result["perplexity"] = std::exp(score.model.nll);
  result["nll"] = score.model.nll;
  result["windows"] = windows.size(0);
  result["seqlen"] = options.seqlen;
  result["tokens"] = score.model.tokens;
  result["dtype"] = options.dtype;
  result["seconds"] = seconds;
  result["tokens_per_second"] = static_cast<double>(windows.numel()) / seconds;
  result["backends"] = describe(engine);
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
