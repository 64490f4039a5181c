// `arkit eval kl`: how far a model's distributions are from a reference's, over windows of a text or along what the
// reference itself writes.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/continuation_eval.h"
#include "inference/generator.h"
#include "inference/window_eval.h"
#include "jobs/measured_models.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"
#include "util/heap.h"
#include "util/seconds.h"

namespace arkit {
namespace {

using Clock = std::chrono::steady_clock;

void check_options(const DivergenceOptions& options) {
  if (options.reference.empty()) throw_usage("give --reference MODEL: what the model is compared with");
  const int sources = int{!options.text_file.empty()} + int{!options.ids_file.empty()} + int{!options.prompts.empty()};
  if (sources != 1)
    throw_usage(options.along_generation ? "give one of --text FILE, --ids FILE and --prompt TEXT"
                                         : "give one of --text FILE and --ids FILE");
  check_window_options(options.seqlen, options.batch_size, options.max_windows);
  if (options.max_new_tokens < 1) throw_usage(str("max_new_tokens ", options.max_new_tokens, " must be 1 or more"));
  const DivergenceOptions usual;
  if (!options.along_generation && !options.prompts.empty())
    throw_usage("--prompt is written behind, which needs --along_generation");
  if (!options.along_generation && options.max_new_tokens != usual.max_new_tokens)
    throw_usage("--max_new_tokens has no effect without --along_generation; leave it out");
  if (!options.prompts.empty() && (options.seqlen != usual.seqlen || options.max_windows))
    throw_usage("--seqlen and --max_windows cut a text and have no effect on --prompt; leave them out");
}

std::vector<std::vector<int64_t>> read_prompts(const DivergenceOptions& options, const MeasuredModels& models) {
  std::vector<std::vector<int64_t>> prompts;
  if (options.prompts.empty()) {
    const at::Tensor windows = models.windows(options).contiguous();
    const int64_t* ids = windows.const_data_ptr<int64_t>();
    for (int64_t row = 0; row < windows.size(0); ++row, ids += windows.size(1))
      prompts.emplace_back(ids, ids + windows.size(1));
    return prompts;
  }
  const Tokenizer tokenizer = models.tokenizer();
  for (const std::string& text : options.prompts) {
    prompts.push_back(tokenizer.encode(text));
    if (prompts.back().empty())
      throw_usage(str("--prompt '", printable(text, 40), "' has no tokens; give it some text"));
    models.check_ids(at::tensor(prompts.back()), str("--prompt '", printable(text, 40), "'"));
  }
  return prompts;
}

// The texts with what the reference writes behind them. The whole reference is in memory meanwhile, with keys and values
// of a batch.
std::vector<Continuation> write_continuations(const DivergenceOptions& options, Engine& reference,
                                              const ModelSource& source,
                                              const std::vector<std::vector<int64_t>>& prompts, Reporter& reporter) {
  reference.load_all();
  std::vector<Continuation> items;
  const auto batch = static_cast<size_t>(options.batch_size);
  for (size_t first = 0; first < prompts.size(); first += batch) {
    throw_if_interrupted();
    GenerationRequest request;
    request.prompts.assign(prompts.begin() + static_cast<std::ptrdiff_t>(first),
                           prompts.begin() + static_cast<std::ptrdiff_t>(std::min(prompts.size(), first + batch)));
    request.max_new_tokens = options.max_new_tokens;
    request.stop_ids = stop_ids_of(source);
    request.shows_progress = false;
    const GenerationResult made = generate_tokens(reference, request, reporter);
    for (size_t row = 0; row < made.tokens.size(); ++row) {
      Continuation item{.ids = std::move(request.prompts[row]),
                        .target = static_cast<int64_t>(made.tokens[row].size())};
      item.ids.insert(item.ids.end(), made.tokens[row].begin(), made.tokens[row].end());
      items.push_back(std::move(item));
    }
    reporter.progress({"writing", static_cast<int64_t>(items.size()), static_cast<int64_t>(prompts.size()), "texts"});
  }
  for (int64_t block = 0; block < reference.model().num_blocks(); ++block) reference.release_block(block);
  return items;
}

struct Measured {
  EvalResult score;
  Residency residency;
  int64_t texts = 0;   // windows, or what was written behind
  int64_t tokens = 0;  // computed by each of the two while comparing
  double seconds = 0;
};

Measured over_windows(const DivergenceOptions& options, const std::string& resident, const MeasuredModels& models,
                      Reporter& reporter) {
  const at::Tensor windows = models.windows(options);
  Measured measured{.residency = models.settle(resident, window_passes(windows)),
                    .texts = windows.size(0),
                    .tokens = windows.numel()};
  reporter.step(str("compare on ", windows.size(0), " windows of ", options.seqlen, " tokens"));
  const auto start = Clock::now();
  measured.score = evaluate_windows(models.model(), models.reference(), windows, options.batch_size, reporter);
  measured.seconds = seconds_since(start);
  return measured;
}

Measured along_generation(const DivergenceOptions& options, const std::string& resident, const MeasuredModels& models,
                          const ModelSource& reference, Reporter& reporter) {
  const std::vector<std::vector<int64_t>> prompts = read_prompts(options, models);
  // The reference computes at least twice with every block.
  Measured measured{.residency = models.settle(resident, 2), .texts = static_cast<int64_t>(prompts.size())};
  reporter.step(str("the reference writes behind ", prompts.size(), " texts"));
  const std::vector<Continuation> items =
      write_continuations(options, *models.reference(), reference, prompts, reporter);
  for (const Continuation& item : items) measured.tokens += static_cast<int64_t>(item.ids.size());
  reporter.step(str("compare on ", items.size(), " texts of the reference"));
  const auto start = Clock::now();
  measured.score = compare_continuations(models.model(), *models.reference(), items, options.batch_size, reporter);
  measured.seconds = seconds_since(start);
  return measured;
}

}  // namespace

json::Object evaluate_divergence(const DivergenceOptions& options, const Registry& registry, Reporter& reporter) {
  return evaluate_divergence(options, "auto", registry, reporter);
}

json::Object evaluate_divergence(const DivergenceOptions& options, const std::string& resident,
                                 const Registry& registry, Reporter& reporter) {
  check_options(options);
  return_large_blocks();
  reporter.step("open the models");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry, reporter);
  const std::unique_ptr<ModelSource> reference = open_source(options.reference, registry, reporter);
  const MeasuredModels models(*source, reference.get(), compute_dtype(options.dtype), exact_wish(options), registry,
                              reporter);
  check_comparable(models.model(), *models.reference());
  const Measured measured = options.along_generation ? along_generation(options, resident, models, *reference, reporter)
                                                     : over_windows(options, resident, models, reporter);
  const Divergence& distance = *measured.score.divergence;
  json::Object result{{"model", options.model},
                      {"reference", options.reference},
                      {"mean_kl", distance.mean_kl},
                      {"kl_stderr", distance.kl_stderr},
                      {"median_kl", distance.median_kl},
                      {"p99_kl", distance.p99_kl},
                      {"p99_9_kl", distance.p99_9_kl},
                      {"max_kl", distance.max_kl},
                      {"top1_agreement", distance.top1_agreement},
                      {"top1_stderr", distance.top1_stderr},
                      {"perplexity", std::exp(measured.score.model.nll)},
                      {"reference_perplexity", std::exp(measured.score.reference->nll)},
                      {"along", options.along_generation ? "generation" : "windows"}};
  result[options.along_generation ? "texts" : "windows"] = measured.texts;
  if (options.prompts.empty()) result["seqlen"] = options.seqlen;
  result["tokens"] = measured.score.model.tokens;
  result["dtype"] = options.dtype;
  result["seconds"] = measured.seconds;
  result["tokens_per_second"] = static_cast<double>(measured.tokens) / measured.seconds;
  describe_backends(models.model(), result);
  result["resident"] = measured.residency.describe();
  return result;
}

}  // namespace arkit
