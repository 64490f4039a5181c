// `arkit eval lambada`: the last word of each text, as LAMBADA asks for it.
#include <chrono>
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/resident_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "calibration/document_source.h"
#include "inference/continuation_eval.h"
#include "inference/engine.h"
#include "inference/residency.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"
#include "util/heap.h"
#include "util/seconds.h"

namespace arkit {
namespace {

// The target is the last word with the blank before it: its tokens are those the whole text has beyond the context's.
Continuation last_word(const std::string& text, const Tokenizer& tokenizer, const std::string& where) {
  const size_t blank = text.find_last_of(" \t\n");
  if (blank == std::string::npos || blank == 0)
    throw_input(str(where, ": '", printable(text, 40), "' is no text of two words or more"));
  const size_t context_tokens = tokenizer.encode(text.substr(0, blank)).size();
  Continuation item{.ids = tokenizer.encode(text)};
  if (context_tokens == 0 || item.ids.size() <= context_tokens)
    throw_input(str(where, ": the tokenizer gives the last word no tokens of its own"));
  item.target = static_cast<int64_t>(item.ids.size() - context_tokens);
  return item;
}

std::vector<Continuation> read_items(const LastWordOptions& options, const Tokenizer& tokenizer) {
  std::vector<Continuation> items;
  for (const calibration::Document& document : calibration::read_documents(options.file)) {
    if (options.limit && static_cast<int64_t>(items.size()) == *options.limit) break;
    items.push_back(last_word(document.text, tokenizer, str("'", options.file.string(), "' text ", items.size() + 1)));
  }
  if (items.empty()) throw_input(str("'", options.file.string(), "': holds no texts"));
  return items;
}

}  // namespace

json::Object evaluate_last_words(const LastWordOptions& options, const Registry& registry, Reporter& reporter) {
  return evaluate_last_words(options, "auto", registry, reporter);
}

json::Object evaluate_last_words(const LastWordOptions& options, const std::string& resident, const Registry& registry,
                                 Reporter& reporter) {
  if (options.limit && *options.limit < 1) throw_usage(str("limit ", *options.limit, " must be 1 or more"));
  if (options.batch_size < 1) throw_usage(str("batch_size ", options.batch_size, " must be 1 or more"));
  return_large_blocks();
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry, reporter);
  warn_about_source(*source, reporter);
  warn_about_backend(backend_wish(options), *source, reporter);
  Engine engine(*source, registry, compute_dtype(options.dtype), exact_wish(options), reporter);
  const std::vector<Continuation> items = read_items(options, tokenizer_of(*source));
  for (const Continuation& item : items)
    engine.check_ids(at::tensor(item.ids).unsqueeze(0), str("'", options.file.string(), "'"));

  const ModelSource* const models[] = {source.get()};
  const Residency residency = choose_residency(resident, models, engine.dtype(), continuation_passes(items));
  if (residency.all) engine.keep_resident();

  reporter.step(str("guess the last words of ", items.size(), " texts"));
  const auto start = std::chrono::steady_clock::now();
  double log_likelihood = 0.0;
  int64_t right = 0, tokens = 0;
  for (const ContinuationScore& score : score_continuations(engine, items, options.batch_size, reporter)) {
    log_likelihood += score.log_likelihood;
    right += score.greedy ? 1 : 0;
  }
  for (const Continuation& item : items) tokens += static_cast<int64_t>(item.ids.size());
  const double seconds = seconds_since(start);
  const auto count = static_cast<double>(items.size()), accuracy = static_cast<double>(right) / count;
  if (!std::isfinite(log_likelihood))
    throw Error(ErrorCode::verification, "the model's logits are not finite; its weights or scales are damaged");
  return {{"model", options.model},
          {"texts", items.size()},
          {"accuracy", accuracy},
          {"accuracy_stderr", items.size() < 2 ? 0.0 : std::sqrt(accuracy * (1.0 - accuracy) / (count - 1.0))},
          {"perplexity", std::exp(-log_likelihood / count)},
          {"log_likelihood", log_likelihood / count},
          {"dtype", options.dtype},
          {"tokens", tokens},
          {"seconds", seconds},
          {"resident", residency.describe()}};
}

}  // namespace arkit
