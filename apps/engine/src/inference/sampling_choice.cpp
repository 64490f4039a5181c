#include "inference/sampling_choice.h"

#include <charconv>
#include <optional>
#include <string>
#include <string_view>

#include <arkit/error.h>
#include <arkit/str.h>

#include "inference/sampler.h"

namespace arkit {
namespace {

constexpr std::string_view kFile = "generation_config.json";

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size() ? std::optional(number) : std::nullopt;
}

void add_bias(const std::string& given, SamplingOptions& sampling) {
  const std::string_view text = given;
  const size_t colon = text.find(':');
  const auto token = number_of<int64_t>(text.substr(0, colon));
  const auto bias = colon == text.npos ? std::nullopt : number_of<double>(text.substr(colon + 1));
  if (!token || !bias)
    throw_usage(str("logit_bias '", printable(given),
                    "': expected ID:X, a token's id and what is added to its logit, "
                    "as 50256:-100; 'arkit tokenize' shows ids"));
  if (!sampling.logit_bias.emplace(*token, *bias).second)
    throw_usage(str("logit_bias: token ", *token, " is given twice; give one bias"));
}

// The numbers alone.
SamplingOptions settled(const SamplingWishes& wishes) {
  SamplingOptions sampling;
  const auto take = [](auto& value, const auto& wish) { value = wish.value_or(value); };
  take(sampling.temperature, wishes.temperature);
  take(sampling.top_k, wishes.top_k);
  take(sampling.top_p, wishes.top_p);
  take(sampling.min_p, wishes.min_p);
  take(sampling.repetition_penalty, wishes.repetition_penalty);
  take(sampling.frequency_penalty, wishes.frequency_penalty);
  take(sampling.presence_penalty, wishes.presence_penalty);
  sampling.seed = wishes.seed;
  return sampling;
}

SamplingOptions checked(const SamplingWishes& wishes) {
  SamplingOptions sampling = settled(wishes);
  for (const std::string& bias : wishes.logit_bias) add_bias(bias, sampling);
  check_sampling(sampling);
  return sampling;
}

// What the model's makers recommend.
SamplingWishes recommended(const ModelSource& source) {
  const json::Object config = generation_config_of(source);
  SamplingWishes made;
  made.repetition_penalty = json::get_double(config, "repetition_penalty", kFile);
  made.temperature = 0.0;
  if (json::get_bool(config, "do_sample", kFile).value_or(false)) {
    made.temperature = json::get_double(config, "temperature", kFile).value_or(1.0);
    made.top_k = json::get_int(config, "top_k", kFile);
    made.top_p = json::get_double(config, "top_p", kFile);
    made.min_p = json::get_double(config, "min_p", kFile);
  }
  try {
    check_sampling(settled(made));
  } catch (const Error& error) {
    throw_input(str(kFile, ": ", error.what(), "; --no_model_defaults leaves it out"));
  }
  return made;
}

// Fills in what is not asked for, and says so.
void take_defaults(const ModelSource& source, SamplingWishes& wishes, Reporter& reporter) {
  const SamplingWishes made = recommended(source);
  std::string taken;
  const auto take = [&](std::string_view name, auto& wish, const auto& given) {
    if (wish || !given) return;
    wish = given;
    taken += str(taken.empty() ? "" : ", ", name, " ", *given);
  };
  take("temperature", wishes.temperature, made.temperature);
  if (wishes.temperature != 0.0) {
    take("top_k", wishes.top_k, made.top_k);
    take("top_p", wishes.top_p, made.top_p);
    take("min_p", wishes.min_p, made.min_p);
  }
  take("repetition_penalty", wishes.repetition_penalty, made.repetition_penalty);
  if (!taken.empty()) reporter.info(str("the model's defaults: ", taken));
}

}  // namespace

json::Object generation_config_of(const ModelSource& source) {
  for (const CompanionFile& file : source.companions()) {
    if (file.name != kFile) continue;
    const json::Value config = file.path.empty() ? json::parse(file.content, file.name) : json::read_file(file.path);
    return json::as_object(config, file.name);
  }
  return {};
}

void check_wishes(const SamplingWishes& wishes) {
  (void)checked(wishes);
}

SamplingOptions choose_sampling(const SamplingWishes& wishes, Reporter& reporter) {
  const SamplingOptions usual;
  SamplingOptions sampling = checked(wishes);
  if (sampling.temperature != 0.0) return sampling;
  // The likeliest token is taken, and there is nothing to choose among.
  const std::string_view idle = sampling.top_p != usual.top_p   ? "top_p"
                                : sampling.top_k != usual.top_k ? "top_k"
                                : sampling.min_p != usual.min_p ? "min_p"
                                                                : "";
  if (!idle.empty())
    throw_usage(str(idle,
                    " chooses among sampled tokens, and temperature 0 takes the likeliest; add --temperature 1, "
                    "or leave it out"));
  if (sampling.seed != usual.seed) reporter.warn("temperature 0 takes the likeliest token: --seed has no effect");
  return sampling;
}

SamplingOptions choose_sampling(const SamplingWishes& wishes, bool model_defaults, const ModelSource& source,
                                Reporter& reporter) {
  if (!model_defaults) return choose_sampling(wishes, reporter);
  SamplingWishes complete = wishes;
  take_defaults(source, complete, reporter);
  return choose_sampling(complete, reporter);
}

}  // namespace arkit
