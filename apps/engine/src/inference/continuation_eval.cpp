#include "inference/continuation_eval.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/row_scores.h"
#include "util/tensor_cache.h"

namespace arkit {
namespace {

constexpr int64_t kPassTokens = 65536;  // hidden states kept at once, padding included

// Items of similar length, which run together; the first is the longest.
using Batch = std::vector<size_t>;

// Padding stands behind a text, where a causal model does not look.
at::Tensor padded_ids(const std::vector<Continuation>& items, const std::vector<size_t>& which) {
  const auto width = static_cast<int64_t>(items[which.front()].ids.size());
  at::Tensor ids = at::zeros({static_cast<int64_t>(which.size()), width}, at::kLong);
  for (size_t row = 0; row < which.size(); ++row) {
    const std::vector<int64_t>& text = items[which[row]].ids;
    std::copy(text.begin(), text.end(), ids.mutable_data_ptr<int64_t>() + static_cast<int64_t>(row) * width);
  }
  return ids;
}

// Hidden states before the targets of one item, [target, hidden].
at::Tensor before_target(const at::Tensor& hidden, const Continuation& item) {
  const auto length = static_cast<int64_t>(item.ids.size());
  return hidden.narrow(0, length - item.target - 1, item.target);
}

// Longest first, in passes whose hidden states are in memory together.
std::vector<std::vector<Batch>> passes_of(const std::vector<Continuation>& items, int64_t batch_size) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return items[a].ids.size() > items[b].ids.size(); });
  std::vector<std::vector<Batch>> passes;
  for (size_t next = 0; next < order.size();) {
    std::vector<Batch> pass;
    for (int64_t tokens = 0; next < order.size() && tokens < kPassTokens;) {
      const size_t end = std::min(order.size(), next + static_cast<size_t>(batch_size));
      Batch batch(order.begin() + static_cast<std::ptrdiff_t>(next), order.begin() + static_cast<std::ptrdiff_t>(end));
      tokens += static_cast<int64_t>(items[batch.front()].ids.size() * batch.size());
      next = end;
      pass.push_back(std::move(batch));
    }
    passes.push_back(std::move(pass));
  }
  return passes;
}

void check_lengths(const Engine& engine, const std::vector<Continuation>& items) {
  for (const Continuation& item : items)
    if (static_cast<int64_t>(item.ids.size()) > engine.model().max_positions())
      throw_input(
          str("a text has ", item.ids.size(), " tokens; the model has ", engine.model().max_positions(), " positions"));
}

// Hidden states before every target of a pass, [targets, hidden], in the order of its batches.
at::Tensor target_rows(Engine& engine, const std::vector<Batch>& pass, const std::vector<Continuation>& items) {
  Model& model = engine.model();
  engine.load_rest();
  std::vector<at::Tensor> hidden;
  for (const Batch& batch : pass) hidden.push_back(model.embed(padded_ids(items, batch)));
  for (int64_t block = 0; block < model.num_blocks(); ++block) {
    throw_if_interrupted();
    engine.load_block(block);
    for (at::Tensor& rows : hidden)
      rows = engine.run_block(block, rows, model.context(rows.size(0), rows.size(1), {}, {}, {}));
    engine.release_block(block);
  }
  std::vector<at::Tensor> rows;
  for (size_t i = 0; i < pass.size(); ++i)
    for (size_t row = 0; row < pass[i].size(); ++row)
      rows.push_back(before_target(hidden[i][static_cast<int64_t>(row)], items[pass[i][row]]));
  return at::cat(rows);
}

at::Tensor targets_of(const std::vector<Batch>& pass, const std::vector<Continuation>& items) {
  std::vector<int64_t> targets;
  for (const Batch& batch : pass)
    for (const size_t index : batch)
      targets.insert(targets.end(), items[index].ids.end() - items[index].target, items[index].ids.end());
  return at::tensor(targets);
}

// The items of a pass, for progress.
int64_t texts_of(const std::vector<Batch>& pass) {
  int64_t texts = 0;
  for (const Batch& batch : pass) texts += static_cast<int64_t>(batch.size());
  return texts;
}

}  // namespace

int64_t continuation_passes(const std::vector<Continuation>& items) {
  int64_t tokens = 0;
  for (const Continuation& item : items) tokens += static_cast<int64_t>(item.ids.size());
  return 1 + tokens / kPassTokens;
}

std::vector<ContinuationScore> score_continuations(Engine& engine, const std::vector<Continuation>& items,
                                                   int64_t batch_size, Reporter& reporter) {
  const c10::NoGradGuard no_grad;
  check_lengths(engine, items);
  const TensorCacheScope reuse;
  std::vector<ContinuationScore> scores(items.size());
  int64_t done = 0;
  for (const std::vector<Batch>& pass : passes_of(items, batch_size)) {
    const at::Tensor wanted = targets_of(pass, items);
    const RowScores scored = score_rows(engine, target_rows(engine, pass, items), nullptr, {}, wanted).model;
    const at::Tensor greedy = scored.likeliest.eq(wanted);
    int64_t first = 0;
    for (const Batch& batch : pass)
      for (const size_t index : batch) {
        const int64_t count = items[index].target;
        scores[index] = {.log_likelihood = scored.log_likelihood.narrow(0, first, count).sum().item<double>(),
                         .greedy = greedy.narrow(0, first, count).all().item<bool>()};
        first += count;
      }
    done += texts_of(pass);
    reporter.progress({"guessing", done, static_cast<int64_t>(items.size()), "texts"});
  }
  return scores;
}

EvalResult compare_continuations(Engine& model, Engine& reference, const std::vector<Continuation>& items,
                                 int64_t batch_size, Reporter& reporter) {
  const c10::NoGradGuard no_grad;
  check_lengths(model, items);
  check_lengths(reference, items);
  const TensorCacheScope reuse;
  ScoreSums sums;
  int64_t done = 0;
  for (const std::vector<Batch>& pass : passes_of(items, batch_size)) {
    const at::Tensor theirs = target_rows(reference, pass, items);
    sums.add(score_rows(model, target_rows(model, pass, items), &reference, theirs, targets_of(pass, items)));
    done += texts_of(pass);
    reporter.progress({"comparing", done, static_cast<int64_t>(items.size()), "texts"});
  }
  return sums.result();
}

}  // namespace arkit
