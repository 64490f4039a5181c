#include "jobs/writing_model.h"

#include <array>
#include <optional>

#include <ATen/ATen.h>

#include <arkit/engine/output_grammar.h>
#include <arkit/engine/reported_jobs.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/generator.h"
#include "inference/sampling_choice.h"
#include "jobs/token_source.h"

namespace arkit {

namespace {

// A schema or grammar that is asked for.
std::optional<OutputRules> output_rules(const WritingWish& wish) {
  constexpr int64_t kMostBytes = int64_t{1} << 20;
  if (!wish.json_schema.empty())
    return OutputRules::json_schema(json::read_file(wish.json_schema, kMostBytes),
                                    str("'", printable(wish.json_schema.string()), "'"));
  if (wish.grammar.empty()) return std::nullopt;
  return OutputRules::of_grammar(read_text_file(wish.grammar), str("'", printable(wish.grammar.string()), "'"));
}

}  // namespace

WritingModel::WritingModel(const WritingWish& wish, const Registry& registry, Reporter& reporter)
    : wish_(wish), registry_(registry) {
  text::check_stop_texts(wish.stop);
  if (wish.model_defaults)
    check_wishes(wish.sampling);
  else
    sampling_ = choose_sampling(wish.sampling, reporter);
  const std::optional<OutputRules> rules = output_rules(wish);
  reporter.step("open the model");
  source_ = open_source(wish.model, registry, reporter);
  warn_about_source(*source_, reporter);
  warn_about_backend(wish.backend, *source_, reporter);
  tokenizer_ = std::make_unique<Tokenizer>(tokenizer_of(*source_));
  if (wish.needs_template && !tokenizer_->has_chat_template())
    throw_unsupported(
        str("'", wish.model,
            "': the model has no chat template; continue texts with 'arkit generate --prompt TEXT' (without "
            "--chat), or give its folder one"));
  if (wish.model_defaults) sampling_ = choose_sampling(wish.sampling, true, *source_, reporter);
  if (rules)
    sampling_.grammar = std::make_shared<const OutputGrammar>(*rules, std::make_shared<const TokenBytes>(*tokenizer_));
  stop_ids_ = stop_ids_of(*source_);
  if (stop_ids_.empty() && tokenizer_->eos_id()) stop_ids_.push_back(*tokenizer_->eos_id());
  for (const std::string& stop : wish.stop) {  // special tokens are no part of an output's text
    const std::optional<int64_t> id = tokenizer_->token_to_id(stop);
    if (id && tokenizer_->decode(std::array{*id}).empty()) stop_ids_.push_back(*id);
  }
}

void WritingModel::load(Reporter& reporter) {
  engine_ = std::make_unique<Engine>(*source_, registry_, compute_dtype(wish_.dtype), wish_.backend, reporter);
  engine_->use_whole_blocks(wish_.head_bits, wish_.kv_cache_dtype);
  engine_->load_all();
}

std::vector<int64_t> WritingModel::encode_messages(const json::Array& messages) const {
  return tokenizer_->encode(tokenizer_->apply_chat_template(messages, true), false);  // the template writes BOS itself
}

}  // namespace arkit
