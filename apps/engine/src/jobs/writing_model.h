#pragma once
// What `generate` and `chat` open alike: a model that writes text.

#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/engine/sampling.h>
#include <arkit/engine/session.h>
#include <arkit/engine/tokenizer.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "inference/engine.h"
#include "jobs/source_notes.h"
#include "text/text_stream.h"

namespace arkit {

struct WritingWish {
  std::string model;
  SamplingWishes sampling;
  bool model_defaults = false;
  std::vector<std::string> stop;
  std::filesystem::path json_schema, grammar;
  std::string dtype;
  BackendWish backend;
  int64_t head_bits = 8;
  std::string kv_cache_dtype = "auto";
  bool needs_template = false;
};

template <typename Options>
[[nodiscard]] WritingWish writing_wish(const Options& options, bool needs_template) {
  return {.model = options.model,
          .sampling = options.sampling,
          .model_defaults = options.model_defaults,
          .stop = options.stop,
          .json_schema = options.json_schema,
          .grammar = options.grammar,
          .dtype = options.dtype,
          .backend = backend_wish(options),
          .head_bits = options.head_bits,
          .kv_cache_dtype = options.kv_cache_dtype,
          .needs_template = needs_template};
}

class WritingModel {
 public:
  // Nothing is loaded yet. What is wrong with a wish itself is said before the model is opened.
  WritingModel(const WritingWish& wish, const Registry& registry, Reporter& reporter);
  void load(Reporter& reporter);

  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] const SamplingOptions& sampling() const { return sampling_; }
  // Of the configuration files, else the tokenizer's, and special tokens that are given as stop texts.
  [[nodiscard]] const std::vector<int64_t>& stop_ids() const { return stop_ids_; }
  [[nodiscard]] text::TextStream stream() const { return {*tokenizer_, wish_.stop}; }
  [[nodiscard]] Engine& engine() { return *engine_; }
  // A conversation as the model's template writes it before an answer.
  [[nodiscard]] std::vector<int64_t> encode_messages(const json::Array& messages) const;

 private:
  const WritingWish wish_;
  const Registry& registry_;
  SamplingOptions sampling_;
  std::unique_ptr<ModelSource> source_;
  std::unique_ptr<Tokenizer> tokenizer_;
  std::vector<int64_t> stop_ids_;
  std::unique_ptr<Engine> engine_;
};

// Why an output ends, in a word of its own: "stop_text", "stop_token", "grammar" (nothing may follow), or `otherwise`.
[[nodiscard]] inline std::string_view ended_by(const text::TextStream& stream, const SessionToken& last,
                                               std::string_view otherwise) {
  return stream.stopped() ? "stop_text" : last.stopped ? "stop_token" : last.complete ? "grammar" : otherwise;
}

}  // namespace arkit
