#include "inference/generator.h"

#include <algorithm>
#include <chrono>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "util/seconds.h"

namespace arkit {
namespace {

using Clock = std::chrono::steady_clock;

// A batch of prompts as tensors; `mask` and `positions` are undefined when no row needs padding.
struct PaddedPrompts {
  at::Tensor ids, mask, positions;
  int64_t length = 0;
};

PaddedPrompts pad_left(const std::vector<std::vector<int64_t>>& prompts, int64_t pad_id) {
  PaddedPrompts out;
  size_t longest = 0, shortest = prompts.front().size();
  for (const auto& prompt : prompts) {
    longest = std::max(longest, prompt.size());
    shortest = std::min(shortest, prompt.size());
  }
  out.length = static_cast<int64_t>(longest);
  const int64_t batch = static_cast<int64_t>(prompts.size());
  out.ids = at::full({batch, out.length}, pad_id, at::kLong);
  const at::Tensor real = at::zeros({batch, out.length}, at::kLong);
  for (int64_t row = 0; row < batch; ++row) {
    const auto& prompt = prompts[static_cast<size_t>(row)];
    const int64_t count = static_cast<int64_t>(prompt.size()), start = out.length - count;
    out.ids[row].narrow(0, start, count).copy_(at::tensor(prompt, at::kLong));
    real[row].narrow(0, start, count).fill_(1);
  }
  if (shortest == longest) return out;
  out.mask = real;
  out.positions = (real.cumsum(1) - 1).clamp_min(0);
  return out;
}

void check_request(const Engine& engine, const GenerationRequest& request) {
  if (request.prompts.empty()) throw_usage("nothing to generate from: no prompt given");
  if (request.max_new_tokens < 1) throw_usage(str("max_new_tokens ", request.max_new_tokens, " must be 1 or more"));
  check_sampling(request.sampling);
  for (const auto& prompt : request.prompts) {
    if (prompt.empty()) throw_usage("a prompt has no tokens; give it some text");
    engine.check_ids(at::tensor(prompt, at::kLong), "prompt");
    if (static_cast<int64_t>(prompt.size()) >= engine.model().max_positions())
      throw_usage(
          str("a prompt has ", prompt.size(), " tokens; the model takes at most ", engine.model().max_positions() - 1));
  }
}

// Rows of a batch while they grow.
class Rows {
 public:
  Rows(const GenerationRequest& request, GenerationResult& result)
      : request_(request), result_(result), sampler_(request.sampling), ended_(request.prompts.size(), false) {
    result_.tokens.resize(request.prompts.size());
  }

  // Picks the next token of every row that goes on; returns what to feed next, [batch, 1].
  at::Tensor next(const at::Tensor& logits) {
    const at::Tensor last = logits.select(1, logits.size(1) - 1).to(at::kFloat).contiguous();
    const at::Tensor fed = at::full({last.size(0), 1}, request_.pad_id, at::kLong);
    const size_t vocab = static_cast<size_t>(last.size(1));
    for (size_t row = 0; row < ended_.size(); ++row) {
      if (ended_[row]) continue;
      const int64_t token = sampler_.pick({last.const_data_ptr<float>() + row * vocab, vocab});
      result_.tokens[row].push_back(token);
      fed.mutable_data_ptr<int64_t>()[row] = token;
      ended_[row] = std::find(request_.stop_ids.begin(), request_.stop_ids.end(), token) != request_.stop_ids.end();
    }
    return fed;
  }
  bool done() const { return std::find(ended_.begin(), ended_.end(), false) == ended_.end(); }
  int64_t running() const { return std::count(ended_.begin(), ended_.end(), false); }

 private:
  const GenerationRequest& request_;
  GenerationResult& result_;
  Sampler sampler_;
  std::vector<bool> ended_;
};

}  // namespace

GenerationResult generate_tokens(Engine& engine, const GenerationRequest& request, Reporter& reporter) {
  check_request(engine, request);
  const PaddedPrompts prompts = pad_left(request.prompts, request.pad_id);
  const int64_t batch = prompts.ids.size(0);
  const int64_t steps = std::min(request.max_new_tokens, engine.model().max_positions() - prompts.length);
  if (steps < request.max_new_tokens)
    reporter.warn(str("only ", steps, " new tokens fit the model's ", engine.model().max_positions(), " positions"));

  GenerationResult result;
  Rows rows(request, result);
  KvCache cache = engine.model().make_cache(batch, prompts.length + steps);
  auto start = Clock::now();
  at::Tensor mask = prompts.mask, positions = prompts.positions;
  at::Tensor fed = rows.next(engine.forward(prompts.ids, mask, positions, &cache, true));
  cache.length = prompts.length;
  result.prompt_seconds = seconds_since(start);

  start = Clock::now();
  if (positions.defined()) positions = positions.narrow(1, prompts.length - 1, 1);
  for (int64_t step = 1; step < steps && !rows.done(); ++step) {
    throw_if_interrupted();
    if (mask.defined()) {
      mask = at::cat({mask, at::ones({batch, 1}, mask.options())}, 1);
      positions = positions + 1;
    }
    result.decoded += rows.running();
    fed = rows.next(engine.forward(fed, mask, positions, &cache, true));
    ++cache.length;
    reporter.activity("generate", step + 1, steps);
  }
  result.decode_seconds = seconds_since(start);
  return result;
}

std::vector<int64_t> stop_ids_of(const ModelSource& source) {
  const auto read = [](const json::Object& config) {
    std::vector<int64_t> ids;
    const json::Value* given = json::find(config, "eos_token_id");
    if (given == nullptr) return ids;
    if (given->is_array()) {
      for (const json::Value& id : given->get_array())
        if (id.is_int64()) ids.push_back(id.get_int64());
    } else if (given->is_int64()) {
      ids.push_back(given->get_int64());
    }
    return ids;
  };
  for (const CompanionFile& file : source.companions()) {
    if (file.name != "generation_config.json") continue;
    const json::Value config = file.path.empty() ? json::parse(file.content, file.name) : json::read_file(file.path);
    const std::vector<int64_t> ids = read(json::as_object(config, file.name));
    if (!ids.empty()) return ids;
  }
  return read(source.config());
}

}  // namespace arkit
