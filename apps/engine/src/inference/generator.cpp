#include "inference/generator.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/batcher.h"
#include "inference/sampling_choice.h"
#include "util/seconds.h"

namespace arkit {
namespace {

using Clock = std::chrono::steady_clock;

}  // namespace

GenerationResult generate_tokens(Engine& engine, const GenerationRequest& request, Reporter& reporter) {
  if (request.prompts.empty()) throw_usage("nothing to generate from: no prompt given");
  int64_t least = request.max_new_tokens, most = 0, longest = 0;
  for (const std::vector<int64_t>& prompt : request.prompts) {
    check_text(engine, prompt, request.max_new_tokens, request.sampling);
    const auto length = static_cast<int64_t>(prompt.size());
    const int64_t steps = Batcher::steps(engine, length, request.max_new_tokens);
    least = std::min(least, steps);
    most = std::max(most, steps);
    longest = std::max(longest, length + steps);
  }
  if (least < request.max_new_tokens)
    reporter.warn(str("only ", least, " new tokens fit the model's ", engine.model().max_positions(), " positions"));

  // A page a text: attention reads keys and values where they lie.
  Batcher batcher(engine, engine.page_size(longest), static_cast<int64_t>(request.prompts.size()));
  const auto sampler = std::make_shared<Sampler>(request.sampling);
  for (const std::vector<int64_t>& prompt : request.prompts)
    batcher.add({.prompt = prompt, .most = request.max_new_tokens, .stop_ids = request.stop_ids, .sampler = sampler});
  GenerationResult result;
  result.tokens.resize(request.prompts.size());
  const auto step = [&] {
    for (const SessionToken& made : batcher.step()) {
      const auto row = static_cast<size_t>(made.sequence);
      result.tokens[row].push_back(made.token);
      if (request.goes_on && !request.goes_on(row, made)) (void)batcher.cancel(made.sequence);
    }
  };
  auto start = Clock::now();
  step();
  result.prompt_seconds = seconds_since(start);

  start = Clock::now();
  for (int64_t done = 2; batcher.running() > 0; ++done) {
    throw_if_interrupted();
    result.decoded += batcher.running();
    step();
    if (request.shows_progress) reporter.progress({"generate", done, most, "tokens"});
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
  const std::vector<int64_t> ids = read(generation_config_of(source));
  if (!ids.empty()) return ids;
  return read(source.config());
}

}  // namespace arkit
