#include "inference/last_word_eval.h"

#include <algorithm>
#include <numeric>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/row_scores.h"
#include "util/tensor_cache.h"

namespace arkit {
namespace {

constexpr int64_t kPassTokens = 65536;  // hidden states kept at once, padding included

struct Batch {
  std::vector<size_t> items;  // indices; the first is the longest
  at::Tensor hidden;          // [items, longest, hidden]
};

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

void score_pass(Engine& engine, const std::vector<Batch>& pass, const std::vector<Continuation>& items,
                std::vector<ContinuationScore>& scores) {
  std::vector<at::Tensor> rows;
  std::vector<int64_t> targets;
  for (const Batch& batch : pass)
    for (size_t row = 0; row < batch.items.size(); ++row) {
      const Continuation& item = items[batch.items[row]];
      rows.push_back(before_target(batch.hidden[static_cast<int64_t>(row)], item));
      targets.insert(targets.end(), item.ids.end() - item.target, item.ids.end());
    }
  const at::Tensor wanted = at::tensor(targets);
  const RowScores scored = score_rows(engine, at::cat(rows), nullptr, {}, wanted).model;
  const at::Tensor greedy = scored.likeliest.eq(wanted);
  int64_t first = 0;
  for (const Batch& batch : pass)
    for (const size_t index : batch.items) {
      const int64_t count = items[index].target;
      scores[index] = {.log_likelihood = scored.log_likelihood.narrow(0, first, count).sum().item<double>(),
                       .greedy = greedy.narrow(0, first, count).all().item<bool>()};
      first += count;
    }
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
  Model& model = engine.model();
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return items[a].ids.size() > items[b].ids.size(); });
  if (!order.empty() && static_cast<int64_t>(items[order.front()].ids.size()) > model.max_positions())
    throw_input(str("a text has ", items[order.front()].ids.size(), " tokens; the model has ", model.max_positions(),
                    " positions"));
  const TensorCacheScope reuse;
  std::vector<ContinuationScore> scores(items.size());
  engine.load_rest();
  for (size_t next = 0; next < order.size();) {
    std::vector<Batch> pass;
    for (int64_t tokens = 0; next < order.size() && tokens < kPassTokens;) {
      const size_t end = std::min(order.size(), next + static_cast<size_t>(batch_size));
      Batch batch{
          .items{order.begin() + static_cast<std::ptrdiff_t>(next), order.begin() + static_cast<std::ptrdiff_t>(end)}};
      const at::Tensor ids = padded_ids(items, batch.items);
      batch.hidden = model.embed(ids);
      tokens += ids.numel();
      next = end;
      pass.push_back(std::move(batch));
    }
    for (int64_t block = 0; block < model.num_blocks(); ++block) {
      throw_if_interrupted();
      engine.load_block(block);
      for (Batch& batch : pass) {
        const ForwardContext context = model.context(batch.hidden.size(0), batch.hidden.size(1), {}, {}, {});
        batch.hidden = engine.run_block(block, batch.hidden, context);
      }
      engine.release_block(block);
    }
    score_pass(engine, pass, items, scores);
    reporter.progress({"guessing", static_cast<int64_t>(next), static_cast<int64_t>(order.size()), "texts"});
  }
  return scores;
}

}  // namespace arkit
