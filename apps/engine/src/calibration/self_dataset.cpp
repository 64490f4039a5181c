#include "calibration/self_dataset.h"

#include <algorithm>
#include <atomic>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/fixed_product.h>
#include <arkit/sdk/paged_hook.h>
#include <arkit/str.h>

#include "calibration/sampling.h"

namespace arkit::calibration {
namespace {

// Streams of uniform_at: choices of a row's tokens and of its random document openings never share a draw.
constexpr uint64_t kTokenStream = 0, kOpeningStream = uint64_t{1} << 32;
constexpr int64_t kOpeningTries = 64;

// Half the memory for weights that were bfloat16 before they were loaded, and the same values.
void narrow_weight(Linear& layer) {
  if (!layer.weight.defined() || layer.weight.scalar_type() != at::kFloat) return;
  at::Tensor narrow = layer.weight.to(at::kBFloat16);
  if (at::equal(narrow.to(at::kFloat), layer.weight)) layer.weight = std::move(narrow);
}

// Holds every block and the rest of the model in memory.
class Resident {
 public:
  explicit Resident(Model& model) : model_(model) {
    try {
      model_.load_rest();
      for (; loaded_ < model_.num_blocks(); ++loaded_) {
        model_.load_block(loaded_);
        for (Linear* layer : model_.block_linears(loaded_)) narrow_weight(*layer);
      }
      narrow_weight(model_.head());
    } catch (...) {
      release();
      throw;
    }
  }
  ~Resident() { release(); }
  Resident(const Resident&) = delete;
  Resident& operator=(const Resident&) = delete;

 private:
  void release() noexcept {
    for (int64_t block = 0; block < loaded_; ++block) model_.release_block(block);
    model_.release_rest();
  }
  Model& model_;
  int64_t loaded_ = 0;
};

class Writer {
 public:
  Writer(const SelfOptions& options, Model& model, const Tokenizer* tokenizer, Reporter& reporter)
      : options_(options), model_(model), tokenizer_(tokenizer), reporter_(reporter) {
    if (tokenizer_ == nullptr) return;
    bos_ = in_vocabulary(tokenizer_->bos_id());
    eos_ = in_vocabulary(tokenizer_->eos_id());
  }

  at::Tensor write();

 private:
  [[nodiscard]] std::optional<int64_t> in_vocabulary(std::optional<int64_t> id) const {
    return id && *id < model_.vocab_size() ? id : std::nullopt;
  }
  [[nodiscard]] int64_t rows_per_batch() const;
  void write_batch(int64_t first_row, int64_t rows);
  void choose(const at::Tensor& logits, int64_t first_row, int64_t position);
  [[nodiscard]] std::optional<int64_t> forced(int64_t row, int64_t position) const;
  [[nodiscard]] int64_t random_opening(int64_t row, int64_t position) const;
  [[nodiscard]] bool ordinary(int64_t id) const;
  [[nodiscard]] int64_t at(int64_t row, int64_t position) const { return ids_[row * options_.seqlen + position]; }

  const SelfOptions& options_;
  Model& model_;
  const Tokenizer* tokenizer_;
  Reporter& reporter_;
  std::optional<int64_t> bos_, eos_;
  FixedOrderHook hook_;
  int64_t* ids_ = nullptr;
};

// Whole text of a token, without special tokens or halves of characters.
bool Writer::ordinary(int64_t id) const {
  if (tokenizer_ == nullptr) return true;
  const std::string text = tokenizer_->decode(std::span(&id, 1), true);
  return !text.empty() && text.find("\uFFFD") == std::string::npos;
}

int64_t Writer::random_opening(int64_t row, int64_t position) const {
  int64_t id = 0;
  for (int64_t attempt = 0; attempt < kOpeningTries; ++attempt) {
    const auto counter = static_cast<uint64_t>(position * kOpeningTries + attempt);
    const double u = uniform_at(options_.seed, kOpeningStream + static_cast<uint64_t>(row), counter);
    id = std::min(static_cast<int64_t>(u * static_cast<double>(model_.vocab_size())), model_.vocab_size() - 1);
    if (ordinary(id)) break;
  }
  return id;
}

// The token that must stand at (row, position) whatever the model thinks: the opening of a document.
std::optional<int64_t> Writer::forced(int64_t row, int64_t position) const {
  const bool random_row = !bos_ || row % 2 == 1;
  const auto starts = [&](int64_t p) { return p == 0 || (eos_ && at(row, p - 1) == *eos_); };
  if (starts(position)) return bos_ ? *bos_ : random_opening(row, position);
  if (bos_ && random_row && starts(position - 1)) return random_opening(row, position);
  return std::nullopt;
}

int64_t Writer::rows_per_batch() const {
  int64_t numbers = 0;  // of keys and values at one position
  for (const AttentionPlan& plan : model_.attentions()) numbers += plan.kv_heads * (plan.key_dim + plan.value_dim);
  const int64_t bytes = numbers * options_.seqlen * static_cast<int64_t>(sizeof(float));
  const int64_t fitting = bytes > 0 ? options_.max_cache_bytes / bytes : options_.nsamples;
  const int64_t most = std::clamp(fitting, int64_t{1}, options_.nsamples);
  const int64_t batches = (options_.nsamples + most - 1) / most;
  return (options_.nsamples + batches - 1) / batches;  // batches of about equal size
}

void Writer::choose(const at::Tensor& logits, int64_t first_row, int64_t position) {
  const int64_t vocab = logits.size(1);
  const float* data = logits.const_data_ptr<float>();
  const SamplingRule rule{options_.temperature, options_.top_p, options_.top_k};
  std::atomic<bool> failed{false};
  at::parallel_for(0, logits.size(0), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t row = first_row + i;
      const double u =
          uniform_at(options_.seed, kTokenStream + static_cast<uint64_t>(row), static_cast<uint64_t>(position));
      const int64_t sampled = sample_token({data + i * vocab, static_cast<size_t>(vocab)}, rule, u);
      if (sampled < 0) failed = true;
      ids_[row * options_.seqlen + position] = forced(row, position).value_or(sampled);
    }
  });
  if (failed)
    throw_input(str("dataset 'self': the model's logits at position ", position,
                    " hold no finite number; its weights are damaged or overflow this dtype"));
}

void Writer::write_batch(int64_t first_row, int64_t rows) {
  sdk::SequenceCache cache(options_.seqlen, rows);
  sdk::PagedHook hook(hook_, cache);
  std::vector<sdk::NewTokens> fed;
  for (int64_t row = first_row; row < first_row + rows; ++row) {
    fed.push_back({cache.add(), {}});
    ARKIT_CHECK(cache.reserve(fed.back().sequence, options_.seqlen), "every row has a page");
    ids_[row * options_.seqlen] = *forced(row, 0);
  }
  for (int64_t position = 1; position < options_.seqlen; ++position) {
    throw_if_interrupted();
    for (int64_t i = 0; i < rows; ++i)
      fed[static_cast<size_t>(i)].ids = {ids_ + (first_row + i) * options_.seqlen + position - 1, 1};
    const at::Tensor hidden = sdk::feed(model_, hook, cache, fed, true);
    choose(model_.logits(hidden, hook).select(0, 0).to(at::kFloat).contiguous(), first_row, position);
    reporter_.progress({"writing calibration samples", first_row * options_.seqlen + rows * (position + 1),
                        options_.nsamples * options_.seqlen, "tokens"});
  }
}

at::Tensor Writer::write() {
  if (options_.nsamples <= 0 || options_.seqlen <= 0)
    throw_usage(
        str("dataset 'self': ", options_.nsamples, " samples of ", options_.seqlen, " tokens; expected at least 1"));
  if (options_.seqlen > model_.max_positions())
    throw_usage(str("dataset 'self': seqlen ", options_.seqlen, " is longer than the model's ", model_.max_positions(),
                    " positions; choose a smaller --seqlen"));
  const at::NoGradGuard no_grad;
  const FixedOrder fixed;
  const Resident resident(model_);
  at::Tensor out = at::empty({options_.nsamples, options_.seqlen}, at::kLong);
  ids_ = out.mutable_data_ptr<int64_t>();
  const int64_t batch = rows_per_batch();
  for (int64_t first = 0; first < options_.nsamples; first += batch)
    write_batch(first, std::min(batch, options_.nsamples - first));
  return out;
}

}  // namespace

at::Tensor write_self_samples(const SelfOptions& options, Model& model, const Tokenizer* tokenizer,
                              Reporter& reporter) {
  return Writer(options, model, tokenizer, reporter).write();
}

}  // namespace arkit::calibration
