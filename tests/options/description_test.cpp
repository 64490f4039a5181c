// A walk over the description itself: whatever option it gains is tested here without a line of its own. For each one a
// changed value reaches its field and no other, the record, a saved file and back; no field is without an option.
#include <map>
#include <set>
#include <utility>

#include <gtest/gtest.h>

#include <arkit/engine/bench.h>
#include <arkit/engine/option_table.h>
#include <arkit/engine/reproduce.h>
#include <arkit/engine/resolved_options.h>
#include <arkit/engine/serve_options.h>
#include <arkit/engine/task_eval.h>

#include "options/option_checks.h"
#include "options/option_json.h"
#include "options_testing.h"
#include "read_options.h"
#include "recipe_file.h"
#include "save_config.h"

namespace options_test {
namespace {

using namespace arkit;
using arkit::testing::contains;
using arkit::testing::refusal;
using arkit::testing::TemporaryFolder;

struct Anything {
  template <typename T>
  constexpr operator T() const {  // NOLINT: any field is made of it
    return T();
  }
};
template <typename T, size_t... kIndex>
constexpr bool is_made_of(std::index_sequence<kIndex...>) {
  return requires {
    T{((void)kIndex, Anything())...};
  };
}
// How many fields an aggregate has.
template <typename T, size_t kMost = 64>
constexpr size_t fields() {
  if constexpr (is_made_of<T>(std::make_index_sequence<kMost>()))
    return kMost;
  else
    return fields<T, kMost - 1>();
}

template <typename Options>
size_t described(std::string_view holder) {
  std::set<std::string_view> members;
  for (const OptionOf<Options>& one : option_table<Options>())
    if (one.member.substr(0, one.member.find("::")) == holder) members.insert(one.member);
  return members.size();
}

TEST(Description, HasARowForEveryField) {
  // Beside options: the structs below, the words of the command line as a record, and the commits of a repeated run.
  EXPECT_EQ(described<QuantizeOptions>("QuantizeOptions"), fields<QuantizeOptions>() - 7);
  EXPECT_EQ(described<QuantizeOptions>("TuningOptions"), fields<TuningOptions>());
  EXPECT_EQ(described<QuantizeOptions>("SchemeOverrides"), fields<SchemeOverrides>());
  EXPECT_EQ(described<QuantizeOptions>("AutoSchemeOptions"), fields<AutoSchemeOptions>());
  EXPECT_EQ(described<QuantizeOptions>("FormatOptions"), fields<FormatOptions>());
  EXPECT_EQ(described<QuantizeOptions>("AttentionOptions"), fields<AttentionOptions>() - 1);  // averaging: of recipes
  // Beside options: positional arguments, and of convert the words again.
  EXPECT_EQ(described<EvalOptions>("EvalOptions"), fields<EvalOptions>() - 1);
  EXPECT_EQ(described<DivergenceOptions>("DivergenceOptions"), fields<DivergenceOptions>() - 1);
  EXPECT_EQ(described<TaskOptions>("TaskOptions"), fields<TaskOptions>());
  EXPECT_EQ(described<TaskModelOptions>("TaskModelOptions"), fields<TaskModelOptions>() - 1);
  EXPECT_EQ(described<LastWordOptions>("LastWordOptions"), fields<LastWordOptions>() - 1);
  EXPECT_EQ(described<GenerateOptions>("GenerateOptions"), fields<GenerateOptions>() - 2);  // and how tokens are picked
  EXPECT_EQ(described<GenerateOptions>("SamplingWishes"), fields<SamplingWishes>());
  EXPECT_EQ(described<ChatOptions>("ChatOptions"), fields<ChatOptions>() - 2);
  EXPECT_EQ(described<ChatOptions>("SamplingWishes"), fields<SamplingWishes>());
  EXPECT_EQ(described<ServeOptions>("ServeOptions"), fields<ServeOptions>() - 2);
  EXPECT_EQ(described<BenchOptions>("BenchOptions"), fields<BenchOptions>() - 1);
  EXPECT_EQ(described<ForwardOptions>("ForwardOptions"), fields<ForwardOptions>() - 1);
  EXPECT_EQ(described<VerifyOptions>("VerifyOptions"), fields<VerifyOptions>() - 1);
  EXPECT_EQ(described<ConvertOptions>("ConvertOptions"), fields<ConvertOptions>() - 2);
  EXPECT_EQ(described<DiffOptions>("DiffOptions"), fields<DiffOptions>() - 2);
  EXPECT_EQ(described<ReproduceOptions>("ReproduceOptions"), fields<ReproduceOptions>() - 1);
}

// An option is called as its field; where the struct's name says part of it, the field has the rest.
TEST(Description, LeadsToTheFieldOfItsName) {
  const std::map<std::string_view, std::string_view> others{{"no_share_fused", "share_fused_layers"},
                                                            {"score_cache", "cache_dir"},
                                                            {"no_score_cache", "use_cache"},
                                                            {"format", "formats"},
                                                            {"max_shard_size", "max_shard_bytes"}};
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const std::string_view field = one.member.substr(one.member.find("::") + 2);
    const auto other = others.find(one.row.name);
    const bool same = one.row.name == field || one.row.name.ends_with(std::string("_") + std::string(field));
    const bool known = other == others.end() ? same : field == other->second;
    EXPECT_TRUE(known) << one.row.name << " leads to " << one.member;
  }
}

// What to type for another value than the usual one.
Words changed(const OptionRow& row, const OptionValue& usual) {
  const std::string name = "--" + std::string(row.name);
  const auto pick = [&](const Words& values, auto number) -> Words {
    for (const std::string& value : values)
      if ((row.range.allows == nullptr || row.range.allows(std::stod(value))) && OptionValue(number(value)) != usual)
        return {name, value};
    ADD_FAILURE() << row.name << " takes none of the values of this test";
    return {};
  };
  switch (row.type) {
    case OptionType::flag:
      return {usual == OptionValue(true) ? "--" + std::string(row.negation) : name};
    case OptionType::integer:
      return pick(row.choices.empty() ? Words{"3", "7"} : split(row.choices, ' '),
                  [](const std::string& v) { return int64_t{std::stoll(v)}; });
    case OptionType::number:
      return pick({"3", "0.25"}, [](const std::string& v) { return std::stod(v); });
    case OptionType::bytes:
      return {name, "1.5KiB"};
    case OptionType::text:
      for (const std::string& choice : split(row.choices, ' '))
        if (OptionValue(choice) != usual) return {name, choice};
      return {name, "changed"};
    case OptionType::path:
      return {name, "/a/changed file"};
    case OptionType::texts:
      return {name, "a text, with a comma", name, "another"};
    case OptionType::list:
      return {name, "a,b", name, "c"};
    case OptionType::numbers:
      return {name, "3.5,4"};
    case OptionType::groups:
      return {name, "a,b", name, "c"};
  }
  return {};
}

// A command line beside which the option means something.
Words beside(const OptionOf<QuantizeOptions>& one) {
  if (one.row.name == "model") return {};
  const Words plain{"m"}, mix{"m", "--options", "W2A16,W4A16"}, budget = mix + Words{"--avg_bits", "3"};
  if (one.row.name == "options") return plain;
  for (const Words& words :
       {plain, mix, budget, Words{"m", "--static_kv_dtype", "fp8"}, Words{"m", "--static_attention_dtype", "fp8"}})
    if (one.applies == nullptr || one.applies(options_of("quantize", words))) return words;
  ADD_FAILURE() << one.row.name << " means nothing beside any of these";
  return {};
}

struct Pair {
  QuantizeOptions before, after;
};

Pair change(const OptionOf<QuantizeOptions>& one) {
  const Words words = beside(one), typed = changed(one.row, one.get(QuantizeOptions()));
  return {options_of("quantize", words.empty() ? Words{"m"} : words), options_of("quantize", words + typed)};
}

TEST(Description, EveryOptionReachesItsFieldAndNoOther) {
  // One brings the other with it.
  const std::set<std::pair<std::string_view, std::string_view>> together{{"ignore_scale_zp_bits", "bits_accounting"},
                                                                         {"recipe_file", "format"}};
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const auto [before, after] = change(one);
    for (const OptionOf<QuantizeOptions>& other : option_table<QuantizeOptions>()) {
      if (together.contains({one.row.name, other.row.name})) continue;
      EXPECT_EQ(other.get(before) != other.get(after), one.row.name == other.row.name)
          << one.row.name << " and " << other.row.name;
    }
  }
}

TEST(Description, EveryOptionIsInTheRecordAndComesBack) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const auto [before, after] = change(one);
    const json::Object record = describe_options(after);
    EXPECT_NE(record.at(one.row.name), describe_options(before).at(one.row.name)) << one.row.name;
    const auto again = read_described<QuantizeOptions>(json::parse(json::dump(record), "record").as_object(), "record");
    EXPECT_TRUE(one.get(again) == one.get(after)) << one.row.name;
    EXPECT_EQ(describe_options(again), record) << one.row.name;
  }
}

TEST(Description, EveryOptionIsSavedAndReadAgain) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const auto [before, after] = change(one);
    const TemporaryFolder folder;
    const auto file =
        write_text(folder.path() / "o.toml", cli::recipe_text(*cli::find_command("quantize"), describe_options(after)));
    const QuantizeOptions again = options_of("quantize", {"--config", file.string()});
    EXPECT_EQ(describe_options(again), describe_options(one.row.unsaved ? before : after)) << one.row.name;
  }
}

// Both names of a flag, true and false, typed and in a file.
TEST(Description, AFlagAndItsNegationAreOppositesEverywhere) {
  size_t flags = 0;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    if (one.row.type != OptionType::flag) continue;
    ++flags;
    const Words base = beside(one);
    const std::string name(one.row.name), no(one.row.negation);
    const TemporaryFolder folder;
    const auto typed = [&](const std::string& word) {
      return one.get(options_of("quantize", base + Words{"--" + word}));
    };
    const auto filed = [&](const std::string& line) {
      const auto file = write_text(folder.path() / "o.toml", line + "\n");
      return one.get(options_of("quantize", base + Words{"--config", file.string()}));
    };
    const OptionValue on(true), off(false);
    EXPECT_TRUE(typed(name) == on && typed(name + "=false") == off) << name;
    EXPECT_TRUE(filed(name + " = true") == on && filed(name + " = false") == off) << name;
    if (no.empty()) continue;
    EXPECT_TRUE(typed(no) == off && typed(no + "=false") == on) << no;
    EXPECT_TRUE(filed(no + " = true") == off && filed(no + " = false") == on) << no;
  }
  EXPECT_GE(flags, 20U);
}

TEST(Description, ValuesOutOfRangeAreRefusedWithTheRange) {
  size_t ranges = 0;
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    if (one.row.range.allows == nullptr) continue;
    ++ranges;
    QuantizeOptions options;
    const OptionValue bad = one.row.type == OptionType::integer   ? OptionValue(int64_t{-5})
                            : one.row.type == OptionType::numbers ? OptionValue(std::vector<double>{3.0, -5.0})
                                                                  : OptionValue(-5.0);
    one.set(options, bad, one.row.name);
    const std::string said = refusal(ErrorCode::usage, [&] { check_ranges(options); });
    EXPECT_TRUE(contains(said, std::string(one.row.name) + " -5 is out of range; expected ")) << said;
    EXPECT_TRUE(said.ends_with(one.row.range.expected)) << said;
  }
  EXPECT_GE(ranges, 12U);
  EXPECT_NO_THROW(check_ranges(QuantizeOptions()));
}

// Options that nothing would act on are found by what they need.
TEST(Description, OptionsThatWouldDoNothingAreNamed) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    if (one.row.needs == OptionNeeds::nothing) continue;
    const auto [before, after] = change(one);
    const std::string typed = changed(one.row, one.get(QuantizeOptions())).front();
    EXPECT_FALSE(contains(changed_options(before, one.row.needs), typed)) << one.row.name;
    EXPECT_TRUE(contains(changed_options(after, one.row.needs), typed)) << one.row.name;
  }
}

// A record comes from outside.
TEST(Description, ValuesOfAnotherTypeAreRefusedInRecords) {
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    json::Value wrong = json::Object{{"a", 1}};
    for (int i = 0; i < 2; ++i) {
      const json::Object record{{one.row.name, wrong}};
      const std::string said =
          refusal(ErrorCode::input, [&] { (void)read_described<QuantizeOptions>(record, "'r.json'"); });
      EXPECT_TRUE(contains(said, "'r.json': option '" + std::string(one.row.name) + "' is ")) << said;
      wrong = json::parse("[[1]]", "a list in a list");
    }
  }
  EXPECT_TRUE(contains(refusal(ErrorCode::input,
                               [] {
                                 const json::Object record{{"amp_dtype", "int3"}};
                                 (void)read_described<QuantizeOptions>(record, "r");
                               }),
                       "not one of 'auto', 'bfloat16', 'float32'"));
}

// The other commands.
template <typename Options>
void expect_fields_reached(const std::string& command, const Words& base) {
  for (const OptionOf<Options>& one : option_table<Options>()) {
    const auto read = [&](const Words& words) {
      const cli::ParsedCommand parsed = cli::parse_command_line(split(command, ' ') + base + words).parsed;
      Options options;
      cli::read_options(options, cli::Arguments(parsed));
      return options;
    };
    const Options before = read({}), after = read(changed(one.row, one.get(Options())));
    for (const OptionOf<Options>& other : option_table<Options>())
      EXPECT_EQ(other.get(before) != other.get(after), one.row.name == other.row.name)
          << command << ": " << one.row.name << " and " << other.row.name;
  }
}

TEST(Description, OfEveryOtherCommandReachesItsFieldToo) {
  expect_fields_reached<EvalOptions>("eval ppl", {"m"});
  expect_fields_reached<DivergenceOptions>("eval kl", {"m"});
  expect_fields_reached<TaskOptions>("eval lm", {"m"});
  expect_fields_reached<TaskOptions>("quantize", {"m"});
  expect_fields_reached<TaskModelOptions>("eval lm", {"m"});
  expect_fields_reached<LastWordOptions>("eval lambada", {"m"});
  expect_fields_reached<GenerateOptions>("generate", {"m"});
  expect_fields_reached<ChatOptions>("chat", {"m"});
  expect_fields_reached<ServeOptions>("serve", {"m"});
  expect_fields_reached<BenchOptions>("bench", {"m"});
  expect_fields_reached<ForwardOptions>("forward", {"m"});
  expect_fields_reached<VerifyOptions>("verify", {"m"});
  expect_fields_reached<ConvertOptions>("convert", {"m"});
  expect_fields_reached<DiffOptions>("diff", {"a", "b"});
  expect_fields_reached<ReproduceOptions>("reproduce", {"m"});
  for (const char* command : {"eval ppl", "eval kl", "eval lambada", "forward", "verify"})
    expect_fields_reached<ResidentOptions>(command, {"m"});
}

// What leaving an option out means, where the text says a number, is what a run then takes.
TEST(Description, SaysWhatRunsTake) {
  const QuantizeOptions plain = options_of("quantize", {"m"});
  const QuantizeOptions mix = options_of("quantize", {"m", "--options", "W2A16,W4A16", "--avg_bits", "3"});
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const bool number = !one.row.absent.empty() && one.row.absent.find_first_not_of("0123456789") == std::string::npos;
    if (!number || one.row.name == "score_seqlen") continue;  // the model's: mixtures of experts get half
    const json::Object record =
        resolved_options(one.row.needs == OptionNeeds::mix ? mix : plain, arkit::testing::registry());
    EXPECT_EQ(json::dump(record.at(one.row.name)), one.row.absent) << one.row.name;
  }
}

// --save_config leaves out what has no value: here is all of it, and why.
TEST(Description, SavedFilesLackOnlyWhatHasNoValue) {
  const std::set<std::string_view> none{"recipe_file",
                                        "rotation",
                                        "algs",
                                        "static_kv_dtype",
                                        "static_attention_dtype",  // nothing of the kind
                                        "runtime",
                                        "num_hidden_layers",
                                        "scale_search",  // the scheme's own
                                        "imatrix",
                                        "save_imatrix",
                                        "type_rules",
                                        "tensor_type",
                                        "tensor_type_file",
                                        "output_tensor_type",
                                        "token_embedding_type",
                                        "split_max_size",
                                        "format_option",  // of formats that have them
                                        "dataset",
                                        "layer_config",
                                        "ignore_layers",
                                        "to_quant_block_names",
                                        "on_indivisible",  // a warning, as in AutoRound
                                        "model_free",
                                        "disable_opt_rtn",
                                        "dry_run",      // of the run that saves
                                        "output_dir"};  // the model's, the layer's and the plan's to decide
  const std::set<std::string_view> activations{"act_group_size", "act_data_type", "act_sym", "act_dynamic"};
  const std::set<std::string_view> of_mixes{"target_size", "score_seqlen",      "score_cache",
                                            "svg",         "save_layer_config", "shared_layers"};
  const auto saved = [](const Words& words) {
    return cli::recipe_text(*cli::find_command("quantize"),
                            resolved_options(options_of("quantize", words), arkit::testing::registry()));
  };
  const std::string plain = saved({"m"}), dynamic = saved({"m", "--scheme", "INT8"});
  const std::string mix = saved({"m", "--options", "W2A16,W4A16", "--avg_bits", "3"});
  for (const OptionOf<QuantizeOptions>& one : option_table<QuantizeOptions>()) {
    const auto holds = [&](const std::string& text) {
      return contains("\n" + text, "\n" + std::string(one.row.name) + " = ");
    };
    const bool of_mix = one.row.name == "options" || (one.applies != nullptr && one.row.needs == OptionNeeds::mix);
    const bool of_attention = one.applies != nullptr && !of_mix;
    if (of_mix) {
      EXPECT_EQ(holds(mix), !of_mixes.contains(one.row.name)) << one.row.name;
      EXPECT_FALSE(holds(plain)) << one.row.name;
      continue;
    }
    const bool absent = none.contains(one.row.name) || of_attention;
    EXPECT_EQ(holds(plain), !absent && !activations.contains(one.row.name)) << one.row.name;
    EXPECT_EQ(holds(dynamic), !absent) << one.row.name;
  }
}

}  // namespace
}  // namespace options_test
