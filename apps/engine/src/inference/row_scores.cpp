#include "inference/row_scores.h"

#include <algorithm>
#include <limits>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "inference/head_walk.h"

namespace arkit {
namespace {

constexpr int64_t kRowElements = int64_t{1} << 23;  // logits kept at once: 32 MB in f32

// Sums over the vocabulary of some rows, strip after strip: exponentials are relative to the largest logit so far.
class Softmax {
 public:
  explicit Softmax(int64_t rows)
      : most_(at::full({rows}, -std::numeric_limits<double>::infinity(), at::kDouble)),
        sum_(at::zeros({rows}, at::kDouble)),
        wanted_(at::zeros({rows}, at::kDouble)),
        likeliest_(at::zeros({rows}, at::kLong)) {}

  // `logits` f32 [count, tokens] of rows from `row` on and of tokens from `first` on. Gives back the exponentials,
  // [count, tokens], and by what earlier sums of these rows were scaled, [count].
  std::pair<at::Tensor, at::Tensor> add(const at::Tensor& logits, int64_t row, int64_t first,
                                        const at::Tensor& targets) {
    const int64_t count = logits.size(0), tokens = logits.size(1);
    at::Tensor most = most_.narrow(0, row, count), sum = sum_.narrow(0, row, count);
    const auto [largest, place] = logits.max(1);
    const at::Tensor higher = largest.to(at::kDouble).gt(most);
    at::Tensor likeliest = likeliest_.narrow(0, row, count);
    likeliest.copy_(at::where(higher, place + first, likeliest));
    const at::Tensor now = at::maximum(most, largest.to(at::kDouble));
    at::Tensor scale = (most - now).exp();
    at::Tensor powers = (logits - now.to(at::kFloat).unsqueeze(1)).exp();
    sum.mul_(scale).add_(powers.sum(1, false, at::kDouble));
    most.copy_(now);
    const at::Tensor place_of_target = targets.narrow(0, row, count) - first;
    const at::Tensor here = place_of_target.ge(0).logical_and(place_of_target.lt(tokens));
    const at::Tensor value = logits.gather(1, place_of_target.clamp(0, tokens - 1).unsqueeze(1)).squeeze(1);
    at::Tensor wanted = wanted_.narrow(0, row, count);
    wanted.copy_(at::where(here, value.to(at::kDouble), wanted));
    return {std::move(powers), std::move(scale)};
  }

  [[nodiscard]] at::Tensor log_sum() const { return most_ + sum_.log(); }
  [[nodiscard]] const at::Tensor& sum() const { return sum_; }
  [[nodiscard]] RowScores scores() const { return {wanted_ - log_sum(), likeliest_}; }

 private:
  at::Tensor most_, sum_, wanted_, likeliest_;
};

// Logits of a strip, or of the whole vocabulary where `strip` has no weight.
at::Tensor logits_of(Engine& engine, const at::Tensor& hidden, const Linear& strip) {
  return (strip.weight.defined() ? engine.strip_logits(hidden, strip) : engine.logits(hidden)).to(at::kFloat);
}

}  // namespace

ComparedScores score_rows(Engine& model, const at::Tensor& hidden, Engine* reference,
                          const at::Tensor& reference_hidden, const at::Tensor& targets) {
  const c10::NoGradGuard no_grad;
  const int64_t rows = hidden.size(0), vocab = model.model().vocab_size();
  const bool strips =
      model.has_head_strips() && !model.has_packed_head() && (reference == nullptr || reference->has_head_strips());
  const int64_t width = strips ? std::max(hidden.size(1), reference == nullptr ? 0 : reference_hidden.size(1)) : 0;
  Softmax mine(rows), theirs(reference == nullptr ? 0 : rows);
  at::Tensor cross = at::zeros({reference == nullptr ? 0 : rows}, at::kDouble);
  const auto strip_of = [&](const Engine& engine, int64_t first, int64_t count) {
    return strips ? engine.head_strip(first, count) : Linear();
  };
  const auto one_strip = [&](int64_t first, int64_t count) {
    const Linear strip = strip_of(model, first, count);
    const Linear other = reference == nullptr ? Linear() : strip_of(*reference, first, count);
    const int64_t slice = std::max<int64_t>(1, kRowElements / count);
    for (int64_t row = 0; row < rows; row += slice) {
      throw_if_interrupted();
      const int64_t some = std::min(slice, rows - row);
      const at::Tensor logits = logits_of(model, hidden.narrow(0, row, some), strip);
      (void)mine.add(logits, row, first, targets);
      if (reference == nullptr) continue;
      const at::Tensor wanted = logits_of(*reference, reference_hidden.narrow(0, row, some), other);
      const auto [powers, scale] = theirs.add(wanted, row, first, targets);
      cross.narrow(0, row, some).mul_(scale).add_((powers * (wanted - logits)).sum(1, false, at::kDouble));
    }
  };
  if (strips)
    for_each_strip(vocab, width, one_strip);
  else
    one_strip(0, vocab);
  ComparedScores out{.model = mine.scores(), .reference = {}, .kl = {}};
  if (reference == nullptr) return out;
  out.reference = theirs.scores();
  out.kl = cross / theirs.sum() - theirs.log_sum() + mine.log_sum();
  return out;
}

}  // namespace arkit
