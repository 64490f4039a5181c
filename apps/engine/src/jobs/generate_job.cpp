// `arkit generate`: prompts in, texts out.
#include <string_view>

#include <ATen/ATen.h>

#include <arkit/engine/chat.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/generator.h"
#include "jobs/source_notes.h"
#include "jobs/writing_model.h"

namespace arkit {
namespace {

// Of one prompt.
struct Output {
  text::TextStream stream;
  std::string_view ended_by;
};

json::Object describe(const std::string& prompt, size_t prompt_tokens, const Output& output,
                      const std::vector<int64_t>& ids, const Tokenizer& tokenizer) {
  return {{"prompt", prompt},
          {"text", output.stream.stopped() ? output.stream.text() : tokenizer.decode(ids)},
          {"prompt_tokens", prompt_tokens},
          {"new_tokens", ids.size()},
          {"ended_by", output.ended_by},
          {"token_ids", json::Array(ids.begin(), ids.end())}};
}

}  // namespace

json::Object generate(const GenerateOptions& options, const TextSink& sink, const Registry& registry,
                      Reporter& reporter) {
  if (sink && options.prompts.size() > 1)
    throw_usage(str(options.prompts.size(), " prompts are written side by side, and one at most piece by piece"));
  WritingModel model(writing_wish(options, options.chat), registry, reporter);
  GenerationRequest request;
  std::vector<Output> written;
  for (const std::string& prompt : options.prompts) {
    const json::Array messages = {json::Object{{"role", "user"}, {"content", prompt}}};
    request.prompts.push_back(options.chat ? model.encode_messages(messages) : model.tokenizer().encode(prompt));
    written.push_back({.stream = model.stream(), .ended_by = {}});
  }
  request.max_new_tokens = options.max_new_tokens;
  request.stop_ids = model.stop_ids();
  request.sampling = model.sampling();
  request.shows_progress = !sink;
  request.goes_on = [&](size_t row, const SessionToken& made) {
    auto& [stream, ended] = written[row];
    std::string piece = stream.push(made.token);
    if (made.last) piece += stream.finish();
    if (sink && !piece.empty()) sink(piece);
    ended = ended_by(stream, made, "max_new_tokens");
    return !stream.stopped();
  };

  model.load(reporter);
  reporter.step("generate");
  const GenerationResult made = generate_tokens(model.engine(), request, reporter);

  json::Array outputs;
  for (size_t i = 0; i < made.tokens.size(); ++i)
    outputs.push_back(
        describe(options.prompts[i], request.prompts[i].size(), written[i], made.tokens[i], model.tokenizer()));
  json::Object result;
  result["outputs"] = std::move(outputs);
  result["dtype"] = c10::toString(model.engine().dtype());
  result["prompt_seconds"] = made.prompt_seconds;
  result["tokens_per_second"] = made.decode_seconds > 0 ? static_cast<double>(made.decoded) / made.decode_seconds : 0.0;
  describe_backends(model.engine(), result);
  return result;
}

json::Object generate(const GenerateOptions& options, const Registry& registry, Reporter& reporter) {
  return generate(options, {}, registry, reporter);
}

}  // namespace arkit
