// `arkit generate`: prompts in, texts out.
#include <ATen/ATen.h>

#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "inference/engine.h"
#include "inference/generator.h"
#include "jobs/source_notes.h"
#include "jobs/token_source.h"

namespace arkit {
namespace {

std::vector<int64_t> encode_prompt(const std::string& prompt, const Tokenizer& tokenizer, bool chat) {
  if (!chat) return tokenizer.encode(prompt);
  const json::Array messages = {json::Object{{"role", "user"}, {"content", prompt}}};
  return tokenizer.encode(tokenizer.apply_chat_template(messages, true), false);  // the template writes BOS itself
}

// Stop tokens of the configuration files, else the tokenizer's.
std::vector<int64_t> stop_ids(const ModelSource& source, const Tokenizer& tokenizer) {
  std::vector<int64_t> ids = stop_ids_of(source);
  if (ids.empty() && tokenizer.eos_id()) ids.push_back(*tokenizer.eos_id());
  return ids;
}

// Temperature 0 takes the likeliest token, and there is nothing to choose among.
void check_options(const GenerateOptions& options, Reporter& reporter) {
  const GenerateOptions defaults;
  if (options.temperature != 0.0) return;
  if (options.top_p != defaults.top_p || options.top_k != defaults.top_k)
    throw_usage(
        str(options.top_p != defaults.top_p ? "top_p" : "top_k",
            " chooses among sampled tokens, and temperature 0 takes the likeliest; add --temperature 1, or leave "
            "it out"));
  if (options.seed != defaults.seed) reporter.warn("temperature 0 takes the likeliest token: --seed has no effect");
}

}  // namespace

json::Object generate(const GenerateOptions& options, const Registry& registry, Reporter& reporter) {
  check_options(options, reporter);
  reporter.step("open the model");
  const std::unique_ptr<ModelSource> source = open_source(options.model, registry, reporter);
  warn_about_source(*source, reporter);
  warn_about_backend(backend_wish(options), *source, reporter);
  const Tokenizer tokenizer = tokenizer_of(*source);
  if (options.chat && !tokenizer.has_chat_template())
    throw_unsupported(str("'", options.model, "': the model has no chat template; generate without it"));

  GenerationRequest request;
  for (const std::string& prompt : options.prompts)
    request.prompts.push_back(encode_prompt(prompt, tokenizer, options.chat));
  request.max_new_tokens = options.max_new_tokens;
  request.stop_ids = stop_ids(*source, tokenizer);
  request.sampling = {options.temperature, options.top_p, options.top_k, static_cast<uint64_t>(options.seed)};

  Engine engine(*source, registry, compute_dtype(options.dtype), backend_wish(options), reporter);
  engine.use_whole_blocks(options.head_bits);
  engine.load_all();
  reporter.step("generate");
  const GenerationResult made = generate_tokens(engine, request, reporter);

  json::Array outputs;
  for (size_t i = 0; i < made.tokens.size(); ++i) {
    const std::vector<int64_t>& ids = made.tokens[i];
    outputs.push_back(json::Object{{"prompt", options.prompts[i]},
                                   {"text", tokenizer.decode(ids)},
                                   {"prompt_tokens", request.prompts[i].size()},
                                   {"new_tokens", ids.size()},
                                   {"token_ids", json::Array(ids.begin(), ids.end())}});
  }
  json::Object result;
  result["outputs"] = std::move(outputs);
  result["dtype"] = c10::toString(engine.dtype());
  result["prompt_seconds"] = made.prompt_seconds;
  result["tokens_per_second"] = made.decode_seconds > 0 ? static_cast<double>(made.decoded) / made.decode_seconds : 0.0;
  describe_backends(engine, result);
  return result;
}

}  // namespace arkit
