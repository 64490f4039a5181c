#include "autoscheme/score_pass.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>

#include "autoscheme/score_labels.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kLogits = int64_t{1} << 22;  // elements of logits kept at once: 16 MiB in f32

}  // namespace

ScorePass::ScorePass(Model& model, at::Tensor input_ids, const PassSettings& settings, Reporter& reporter)
    : model_(model), input_ids_(std::move(input_ids)), settings_(settings), reporter_(reporter) {
  ARKIT_CHECK(input_ids_.dim() == 2 && input_ids_.scalar_type() == at::kLong && input_ids_.size(0) > 0 &&
                  input_ids_.size(1) > 1,
              "scoring needs token ids [samples, seqlen] with seqlen > 1");
  input_ids_ = input_ids_.contiguous();
  settings_.batch_size = std::clamp<int64_t>(settings_.batch_size, 1, input_ids_.size(0));
}

void ScorePass::step(int64_t done) {
  throw_if_interrupted();
  reporter_.progress({label_, done, 2 * model_.num_blocks(), "blocks"});
}

void ScorePass::forward(PassWork& work) {
  const at::NoGradGuard no_grad;
  const int64_t samples = input_ids_.size(0), batch = settings_.batch_size;
  const auto batches = [&](const auto& each) {
    for (int64_t first = 0; first < samples; first += batch) each(first, std::min(batch, samples - first));
  };
  const at::TensorOptions kept = at::TensorOptions().dtype(settings_.kept_dtype);
  inputs_.push_back(at::empty({samples, input_ids_.size(1), model_.hidden_size()}, kept));
  at::ScalarType compute = at::kFloat;
  model_.load_rest();
  batches([&](int64_t first, int64_t count) {
    const at::Tensor hidden = model_.embed(input_ids_.narrow(0, first, count));
    compute = hidden.scalar_type();
    inputs_.back().narrow(0, first, count).copy_(hidden);
  });
  model_.release_rest();
  gradient_ = at::empty(inputs_.back().sizes(), kept.dtype(compute));  // also the values the kept ones are rounded from
  gradient_.copy_(inputs_.back());
  for (int64_t block = 0; block < model_.num_blocks(); ++block) {
    model_.load_block(block);
    BlockHook& hook = work.forward_hook(block);
    batches([&](int64_t first, int64_t count) {
      at::Tensor hidden = gradient_.narrow(0, first, count);
      hidden.copy_(model_.run_block(block, hidden, contexts_.get(model_, count, input_ids_.size(1)), hook));
    });
    model_.release_block(block);
    inputs_.push_back(at::empty_like(inputs_.front()).copy_(gradient_));
    step(block + 1);
  }
}

// gradient_ holds the last block's output and is turned into d loss / d it.
void ScorePass::head_batch(int64_t first, int64_t count, ReplayHook& hook, LabelSource& labels) {
  const int64_t seqlen = input_ids_.size(1), width = model_.hidden_size(), rows = count * seqlen;
  const bool whole = settings_.labels == Labels::next_token;  // a score may want the gradient of the batch's loss
  const int64_t slice = whole ? rows : std::max<int64_t>(1, kLogits / model_.vocab_size());
  const at::Tensor all = gradient_.narrow(0, first, count).view({rows, width}), ids = input_ids_.view(-1);
  for (int64_t row = 0; row < rows; row += slice) {
    const at::AutoGradMode with_grad(true);
    const int64_t taken = std::min(slice, rows - row);
    at::Tensor part = all.narrow(0, row, taken);
    const at::Tensor hidden = part.view({1, taken, width}).detach().clone().requires_grad_();
    const at::Tensor logits = model_.logits(hidden, hook);
    const at::Tensor flat = logits.view({taken, logits.size(-1)});
    flat.backward(labels.gradient(flat, ids, first * seqlen + row, seqlen, count * (seqlen - 1)));
    const at::NoGradGuard no_grad;
    part.copy_(hidden.grad().view({taken, width}));
  }
}

void ScorePass::head(PassWork& work) {
  LabelSource labels(settings_.labels, settings_.seed);
  inputs_.pop_back();  // gradient_ has it
  model_.load_rest();
  ReplayHook& hook = work.replay_hook(PassWork::kHead);
  const int64_t samples = input_ids_.size(0), batch = settings_.batch_size;
  for (int64_t first = 0; first < samples; first += batch) {
    throw_if_interrupted();
    head_batch(first, std::min(batch, samples - first), hook, labels);
  }
  work.replayed(PassWork::kHead);
  model_.release_rest();
}

void ScorePass::backward(PassWork& work) {
  const int64_t samples = input_ids_.size(0), batch = settings_.batch_size, blocks = model_.num_blocks();
  for (int64_t block = blocks - 1; block >= 0; --block) {
    model_.load_block(block);
    ReplayHook& hook = work.replay_hook(block);
    for (int64_t first = 0; first < samples; first += batch) {
      const at::AutoGradMode with_grad(true);
      const int64_t count = std::min(batch, samples - first);
      at::Tensor gradient = gradient_.narrow(0, first, count);
      const at::Tensor hidden = inputs_.back().narrow(0, first, count).to(gradient.scalar_type()).clone();
      hidden.requires_grad_();
      model_.run_block(block, hidden, contexts_.get(model_, count, input_ids_.size(1)), hook).backward(gradient);
      const at::NoGradGuard no_grad;
      gradient.copy_(hidden.grad());
    }
    work.replayed(block);
    model_.release_block(block);
    inputs_.pop_back();
    step(2 * blocks - block);
  }
}

void ScorePass::run(PassWork& work, const char* label) {
  label_ = label;
  inputs_.clear();
  forward(work);
  head(work);
  backward(work);
  work.embedded(gradient_);
}

}  // namespace arkit::auto_scheme
