#include "jobs/calibrate.h"

#include <algorithm>
#include <functional>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "calibration/calibration.h"
#include "calibration/dataset_default.h"
#include "calibration/self_dataset.h"
#include "hub/hub.h"
#include "hub/pinned_hub.h"
#include "hub/settings.h"
#include "jobs/hub_origin.h"
#include "tuning/losses.h"

namespace arkit {
namespace {

// The embedding's output for all samples, a batch at a time, so that nothing but the result grows with nsamples.
at::Tensor embed_all(Model& model, const at::Tensor& input_ids, int64_t batch_size, Reporter& reporter) {
  const at::NoGradGuard no_grad;
  model.load_rest();
  at::Tensor hidden;
  for (int64_t begin = 0; begin < input_ids.size(0); begin += batch_size) {
    const int64_t count = std::min(batch_size, input_ids.size(0) - begin);
    const at::Tensor part = model.embed(input_ids.narrow(0, begin, count));
    if (!hidden.defined()) hidden = at::empty({input_ids.size(0), part.size(1), part.size(2)}, part.options());
    hidden.narrow(0, begin, count).copy_(part);
    reporter.progress({"embedding samples", begin + count, input_ids.size(0), "samples"});
  }
  model.release_rest();
  return hidden;
}

// Where data sets that are no local files come from.
std::unique_ptr<hub::Hub> data_hub(const QuantizeOptions& options, Reporter& reporter) {
  return hub::pinned(hub::open_hub(hub::settings_from_environment(hub::usual_service()), reporter),
                     options.data_commits);
}

}  // namespace

ResolvedTuning fit_to_model(ResolvedTuning tuning, const ModelLayout& layout, const ModelSource& source,
                            Reporter& reporter) {
  const auto cut = [&](int64_t limit, std::string_view whose) {
    if (tuning.seqlen <= limit) return;
    reporter.warn(str("seqlen ", tuning.seqlen, " is longer than ", whose, " allows; using ", limit));
    tuning.seqlen = limit;
  };
  cut(layout.tokens.max_positions, "the model (max_position_embeddings)");
  const json::Object words = source.tokenizer() == nullptr ? json::Object() : source.tokenizer()->tokenizer_config();
  const double longest = json::get_double(words, "model_max_length", "tokenizer_config.json").value_or(0);
  if (longest >= 1 && longest < 1e9) cut(static_cast<int64_t>(longest), "the tokenizer (model_max_length)");
  return tuning;
}

namespace {

using Sampler = std::function<at::Tensor(int64_t n, const Tokenizer* words)>;  // of "self"

Samples load_samples(const QuantizeOptions& options, const ResolvedTuning& tuning, const ModelSource& source,
                     int64_t vocab_size, const Sampler& self, Reporter& reporter) {
  std::optional<Tokenizer> tokenizer;
  if (const TokenizerTexts* texts = source.tokenizer())
    if (const std::string text = texts->tokenizer_json(); !text.empty())
      tokenizer.emplace(text, texts->tokenizer_config());
  const Tokenizer* const words = tokenizer ? &*tokenizer : nullptr;
  std::vector<std::string> names = calibration::model_names(source.path(), source.config());
  names.push_back(model_label(options.model, source.path()));  // a cache of a hub may call its folder otherwise
  const calibration::CalibrationOptions wanted{.dataset = options.dataset,
                                               .nsamples = tuning.nsamples,
                                               .seqlen = tuning.seqlen,
                                               .seed = tuning.options.seed,
                                               .batch_size = tuning.batch_size,
                                               .vocab_size = vocab_size,
                                               .modelscope = hub::usual_service() == hub::Service::modelscope,
                                               .model_names = names,
                                               .model_tasks = calibration::model_tasks(source.config())};
  const auto hub = data_hub(options, reporter);
  return {.set = calibration::load_calibration(
              wanted, words, [&](int64_t n) { return self(n, words); }, *hub, reporter),
          .pad_id = words != nullptr ? words->pad_id() : std::nullopt};
}

}  // namespace

Samples read_samples(const QuantizeOptions& options, const ResolvedTuning& tuning, const ModelSource& source,
                     const Model& model, const Registry& registry, Reporter& reporter) {
  reporter.step(str("calibration data: ", tuning.nsamples, " samples of ", tuning.seqlen, " tokens"));
  const Sampler self = [&](int64_t n, const Tokenizer* words) {
    const std::unique_ptr<Model> writer = adapter_for(source, registry).open(source, at::kFloat);
    return calibration::write_self_samples(
        {.nsamples = n, .seqlen = tuning.seqlen, .seed = static_cast<uint64_t>(tuning.options.seed)}, *writer, words,
        reporter);
  };
  return load_samples(options, tuning, source, model.vocab_size(), self, reporter);
}

void check_samples(const QuantizeOptions& options, ResolvedTuning tuning, const ModelSource& source,
                   const ModelLayout& layout, Reporter& reporter) {
  tuning = fit_to_model(std::move(tuning), layout, source, reporter);
  tuning.nsamples = 1;
  tuning.batch_size = 1;
  const Sampler self = [&](int64_t n, const Tokenizer*) { return at::zeros({n, tuning.seqlen}, at::kLong); };
  (void)load_samples(options, tuning, source, layout.tokens.vocab_size, self, reporter);
}

Calibration calibrate(const QuantizeOptions& options, const ResolvedTuning& tuning, const ModelSource& source,
                      Model& model, const Registry& registry, Reporter& reporter) {
  const Samples samples = read_samples(options, tuning, source, model, registry, reporter);
  return {.hidden = embed_all(model, samples.set.input_ids, tuning.batch_size, reporter),
          .loss_mask = loss_mask(samples.set.input_ids, samples.pad_id),
          .report = samples.set.report()};
}

}  // namespace arkit
