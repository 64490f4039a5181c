#include "quantize_options.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>

#include <arkit/engine/default_formats.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/error.h>
#include <arkit/str.h>

#include "read_options.h"

namespace arkit::cli {
namespace {

// AutoRound's short form: --schemes A,B --bits 4.5. Elsewhere bits are whole.
ParsedCommand with_budget(const ParsedCommand& typed) {
  const Arguments arguments(typed);
  const auto bits = arguments.number("bits");
  if (!bits) return typed;
  if (!arguments.given("options")) {
    if (*bits != std::floor(*bits) || std::fabs(*bits) > 1000)
      throw_usage(str("--bits: '", *arguments.text("bits"), "' is not a whole number; budgets go with --options"));
    return typed;
  }
  if (arguments.given("avg_bits") || arguments.given("target_size"))
    throw_usage("--bits is a budget here, and another one is given; leave it out");
  ParsedCommand parsed = typed;
  parsed.values["avg_bits"] = parsed.values["bits"];
  parsed.values.erase("bits");
  return parsed;
}

// What options say about each other.
void settle_mix(QuantizeOptions& options, const Arguments& arguments) {
  AutoSchemeOptions& mix = options.auto_scheme;
  if (mix.ignore_scale_zp_bits && arguments.text("bits_accounting") == "exact")
    throw_usage("--ignore_scale_zp_bits is AutoRound's accounting, and --bits_accounting is exact; leave one out");
  if (mix.ignore_scale_zp_bits) mix.bits_accounting = "autoround";
  if (!mix.options.empty() && !options.scheme.empty())
    throw_usage("--scheme and --options contradict each other; list the scheme among the options");
}

// `name` stands in --algs. --rotation may say the same, or fields of it; another one would be a second rotation.
void settle_rotation(std::string& rotation, std::string_view name) {
  if (rotation.empty() || lower(rotation) == name) {
    rotation = name;
    return;
  }
  const auto is_of_model = [](std::string_view kind) { return kind == "quarot" || kind == "spinquant"; };
  bool other = !rotation.starts_with('{');
  if (!other) {
    json::Value parsed;
    try {
      parsed = json::parse(rotation, "--rotation");
    } catch (const Error& error) {
      throw_usage(error.what());
    }
    json::Object& fields = parsed.as_object();
    std::string kind = json::get_string(fields, "hadamard_type", "--rotation").value_or("");
    if (kind.empty()) kind = json::get_string(fields, "algorithm", "--rotation").value_or("");
    other = !kind.empty() && lower(kind) != name && !(is_of_model(lower(kind)) && is_of_model(name));
    if (kind.empty()) fields["algorithm"] = name;
    rotation = json::dump(parsed);
  }
  if (other)
    throw_usage(str("--algs ", name, " and --rotation ", printable(rotation),
                    " are two rotations, and a model is turned once; leave one of them out"));
}

// AutoRound's names of tuning are taken as well; it stands at the end. Rotations that are no transform of their own
// stand at the beginning there, and are --rotation here.
void settle_algs(std::string& algs, std::string& rotation) {
  for (const std::string_view name : {"random_hadamard", "quarot_hadamard", "quarot", "spinquant"}) {
    const std::string first = algs.substr(0, algs.find(','));
    if (lower(first) != name) continue;
    settle_rotation(rotation, name);
    algs.erase(0, std::min(first.size() + 1, algs.size()));
    break;
  }
  for (const std::string_view name : {"auto_round", "autoround", "sign_round"}) {
    const size_t at = algs.size() - std::min(name.size(), algs.size());
    const bool whole = at == 0 || algs[at - 1] == ',' || algs[at - 1] == ' ';
    if (whole && lower(algs.substr(at)) == name) algs.replace(at, name.size(), "signround");
  }
}

}  // namespace

QuantizeOptions quantize_options(const Arguments& typed) {
  const ParsedCommand parsed = with_budget(typed.parsed());
  const Arguments arguments(parsed);
  QuantizeOptions options;
  read_options(options, arguments);
  options.model = arguments.positional(0);
  options.command_line = parsed.command_line;
  settle_mix(options, arguments);
  settle_algs(options.algs, options.rotation);
  // The formats that record a recipe file are those of the file's plan.
  if (!options.recipe_file.empty() && !arguments.given("format")) options.formats.clear();
  return options;
}

void refuse_gguf(const QuantizeOptions& options, const Registry& registry) {
  const std::vector<std::string> writers = registry.names(Kind::exporter);
  if (std::find(writers.begin(), writers.end(), "gguf") != writers.end()) return;
  const auto refuse = [](std::string_view option, const std::string& value) {
    if (lower(value).starts_with("gguf"))
      throw_unsupported(str("--", option, " ", printable(value),
                            ": arkit reads GGUF files and does not write them; choose another ",
                            option == "format" ? "format" : "scheme", " ('arkit list ",
                            option == "format" ? "formats" : "schemes", "' shows all)"));
  };
  for (const std::string& format : options.formats) refuse("format", format);
  for (const std::string& list : options.auto_scheme.options)
    for (const std::string& scheme : split(list, ',')) refuse("options", scheme);
  refuse("scheme", options.scheme);
}

void settle_formats(QuantizeOptions& options, const Arguments& arguments, const Registry& registry) {
  if (!arguments.given("format") && options.recipe_file.empty()) options.formats = default_formats(options, registry);
}

QuantizeOptions autoscheme_options(const Arguments& arguments) {
  QuantizeOptions options = quantize_options(arguments);
  AutoSchemeOptions& mix = options.auto_scheme;
  const auto move = [](const char* name, std::optional<int64_t>& tuning, std::optional<int64_t>& scoring) {
    if (tuning && scoring && tuning != scoring)
      throw_usage(str("--", name, " ", *tuning, " and --score_", name, " ", *scoring,
                      " are the same option of autoscheme, which tunes nothing; give one"));
    if (tuning) scoring = tuning;
    tuning.reset();
  };
  move("nsamples", options.tuning.nsamples, mix.nsamples);
  move("seqlen", options.tuning.seqlen, mix.seqlen);
  move("batch_size", options.tuning.batch_size, mix.batch_size);
  return options;
}

json::Object resolved_autoscheme(const QuantizeOptions& options, const Registry& registry) {
  json::Object resolved = resolved_options(options, registry);
  for (const char* tuning : {"nsamples", "seqlen", "batch_size"}) resolved.erase(tuning);
  return resolved;
}

}  // namespace arkit::cli
