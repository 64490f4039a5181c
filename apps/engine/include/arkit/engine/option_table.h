#pragma once
// Options described once: a row an option. From it follow the command line with its help, completions and manual pages,
// options files, --save_config, arkit-run.json and its reading back, the keys of caches, and the checks that no option
// is ignored (docs/adr/0035). Free of LibTorch and Boost, because the front of the command line is made of it, too.

#include <climits>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/engine/reproduce.h>
#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {

// How a value is typed, and what it is then.
enum class OptionType {
  flag,     // bool: present or absent; "true"/"false" in options files and after '='
  text,     // std::string, anything
  path,     // std::string, of a file or folder
  integer,  // int64_t
  number,   // double
  bytes,  // int64_t: 5GB, 1.5GiB, 200MB, 64KB or a plain number; 1GB = 1000^3 (docs/spec/export-folder.md 5), 1GiB = 1024^3
  texts,    // vector of strings, given several times
  list,     // the same, and each may hold several with commas between
  numbers,  // vector of doubles, as a list
  groups,   // vector of lists: given several times, each comma separated
};

// monostate: none, for somebody else to decide.
using OptionValue = std::variant<std::monostate, bool, int64_t, double, std::string, std::vector<std::string>,
                                 std::vector<double>, std::vector<std::vector<std::string>>>;

// What an option acts on: without it, a value would be ignored, and jobs/option_effects.cpp says so.
enum class OptionNeeds { nothing, mix, tuning };

// Values a number may have; `expected` puts them into words for errors and manuals. No `allows` = any.
struct OptionRange {
  std::string_view expected = {};
  bool (*allows)(double) = nullptr;
};

inline constexpr std::string_view kFirstRelease = "0.1.0";

struct OptionRow {
  std::string_view name;
  OptionType type = OptionType::text;
  std::string_view group = {};    // heading in --help
  std::string_view unit = {};     // "N", "DIR"; empty for flags
  std::string_view help = {};     // of a pair of flags: of the one that is true
  std::string_view absent = {};   // what leaving it out means where no fixed value does: "1 / iters"
  std::string_view aliases = {};  // other names, separated by blanks; one letter = short option

  std::string_view negation = {}, negation_help = {};  // the flag that means false
  std::string_view excludes = {};                      // an option that cannot be given together with this one
  std::string_view choices = {};                       // allowed values, separated by blanks; empty = any
  std::string_view synonyms = {};                      // choices that mean another: "fp16=float16 bf16=bfloat16"
  OptionRange range = {};
  OptionNeeds needs = OptionNeeds::nothing;
  std::string_view part_of = {};  // the option whose value is a name for values of this one: a scheme, a recipe
  std::string_view since = kFirstRelease;

  bool several_words = false;  // AutoRound's scripts write "--schemes A B"
  bool may_be_empty = false;   // "" is a value
  bool shown_empty = false;    // records say "" where nothing was given, not null
  bool may_be_table = false;   // in an options file
  bool names_file = false;     // that is read: its content decides, so that its hash is recorded
  bool place = false;          // where something lies or may be replaced; the results are the same
  bool unsaved = false;        // how this run goes, though a file may ask for it: --save_config leaves it out
  bool one_call = false;       // belongs to a call, not to what is asked for: never in files or records
  bool scoring = false;        // `arkit autoscheme` takes it, too
};

namespace option_detail {

template <typename T>
struct MemberOf;
template <typename Class, typename Field>
struct MemberOf<Field Class::*> {
  using Owner = Class;
};

template <auto kFirst, auto...>
struct First {
  using Owner = typename MemberOf<decltype(kFirst)>::Owner;
};

template <typename T>
struct Held {
  using Type = T;
  static constexpr bool kOptional = false;
};
template <typename T>
struct Held<std::optional<T>> {
  using Type = T;
  static constexpr bool kOptional = true;
};

template <typename T>
OptionValue value_of(const T& field) {
  using Value = typename Held<T>::Type;
  if constexpr (Held<T>::kOptional) {
    return field ? value_of(*field) : OptionValue();
  } else if constexpr (std::is_same_v<Value, std::filesystem::path>) {
    return field.string();
  } else if constexpr (std::is_same_v<Value, int>) {
    return int64_t{field};
  } else {
    return field;
  }
}

// `where` names the option in errors. A value of another type than the field's leaves it alone: types were checked.
template <typename T>
void assign(T& field, const OptionValue& value, std::string_view where) {
  using Value = typename Held<T>::Type;
  if constexpr (std::is_same_v<Value, std::filesystem::path>) {
    if (const auto* text = std::get_if<std::string>(&value)) field = *text;
  } else if constexpr (std::is_same_v<Value, int>) {
    // Bits are typed as a number, because a budget of them may have a fraction.
    const auto fit = [&](const auto number) {
      if (!(number >= INT_MIN && number <= INT_MAX)) throw_usage(str(where, ": ", number, " is out of range"));
      const int whole = static_cast<int>(number);
      if (static_cast<double>(whole) != static_cast<double>(number))
        throw_usage(str(where, ": ", number, " is not a whole number"));
      field = whole;
    };
    if (const auto* whole = std::get_if<int64_t>(&value)) fit(*whole);
    if (const auto* real = std::get_if<double>(&value)) fit(*real);
  } else {
    if constexpr (std::is_same_v<Value, std::vector<std::string>>)
      if (const auto* text = std::get_if<std::string>(&value)) field = {*text};
    if (const auto* own = std::get_if<Value>(&value)) field = *own;
  }
}

// "&arkit::TuningOptions::lr", as the compiler spells the member, -> "TuningOptions::lr".
template <auto kMember>
constexpr std::string_view member_name() {
  const std::string_view text = __PRETTY_FUNCTION__;
  const size_t begin = text.find("kMember = ");
  const std::string_view spelled = text.substr(begin, text.find_first_of(";]", begin) - begin);
  return spelled.substr(spelled.rfind("::", spelled.rfind("::") - 1) + 2);
}

template <auto kLast>
constexpr std::string_view last_name() {
  return member_name<kLast>();
}
template <auto, auto kSecond, auto... kRest>
constexpr std::string_view last_name() {
  return last_name<kSecond, kRest...>();
}

}  // namespace option_detail

// A row and its field.
template <typename Options>
struct OptionOf {
  OptionRow row;
  std::string_view member;  // the field: "TuningOptions::lr"
  OptionValue (*get)(const Options&);
  void (*set)(Options&, const OptionValue&, std::string_view where);  // throws ErrorCode::usage
  bool (*applies)(const Options&) = nullptr;  // beside what else it has a meaning; null = whatever else
};

// The row of the field that the pointers to members lead to: option_at<&QuantizeOptions::tuning, &TuningOptions::lr>.
template <auto... kPath>
constexpr auto option_at(const OptionRow& row,
                         bool (*applies)(const typename option_detail::First<kPath...>::Owner&) = nullptr) {
  using Options = typename option_detail::First<kPath...>::Owner;
  return OptionOf<Options>{
      row, option_detail::last_name<kPath...>(),
      [](const Options& options) -> OptionValue { return option_detail::value_of((options.*....*kPath)); },
      [](Options& options, const OptionValue& value, std::string_view where) {
        option_detail::assign((options.*....*kPath), value, where);
      },
      applies};
}

// The same for a flag whose field means the opposite: --no_score_cache and use_cache.
template <auto... kPath>
constexpr auto option_not_at(const OptionRow& row,
                             bool (*applies)(const typename option_detail::First<kPath...>::Owner&) = nullptr) {
  using Options = typename option_detail::First<kPath...>::Owner;
  return OptionOf<Options>{row, option_detail::last_name<kPath...>(),
                           [](const Options& options) -> OptionValue { return !(options.*....*kPath); },
                           [](Options& options, const OptionValue& value, std::string_view) {
                             if (const bool* own = std::get_if<bool>(&value)) (options.*....*kPath) = !*own;
                           },
                           applies};
}

// Every option of a struct in the order of --help and of records. Specialised for the structs of jobs.h below.
template <typename Options>
[[nodiscard]] std::span<const OptionOf<Options>> option_table();

// How much of a model stays in memory (resident_jobs.h), beside the options of the commands that compute.
struct ResidentOptions {
  std::string resident = "auto";
};

template <>
ARKIT_EXPORT std::span<const OptionOf<QuantizeOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<EvalOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<DivergenceOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<LastWordOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<GenerateOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<ChatOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<ForwardOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<VerifyOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<ConvertOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<DiffOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<ReproduceOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<ResidentOptions>> option_table();

}  // namespace arkit
