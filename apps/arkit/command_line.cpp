#include "command_line.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <limits>
#include <optional>

#include <boost/program_options.hpp>

#include <arkit/error.h>
#include <arkit/str.h>

#include "autoround_flags.h"
#include "environment.h"
#include "recipe_file.h"

namespace arkit::cli {
namespace {

namespace po = boost::program_options;

// "--group-size=64" -> "--group_size=64"; values and single dashes are left alone.
std::string with_underscores(const std::string& argument) {
  if (!argument.starts_with("--") || argument.size() == 2) return argument;
  const size_t end = std::min(argument.find('='), argument.size());
  std::string name = argument.substr(2, end - 2);
  std::replace(name.begin(), name.end(), '-', '_');
  return "--" + name + argument.substr(end);
}

// Does an option of any command with this name take several words?
bool takes_several_words(const std::string& argument) {
  if (!argument.starts_with("--")) return false;
  const Option* option = find_option(*find_command("quantize"), argument.substr(2));
  return option != nullptr && option->row.several_words;
}

// AutoRound takes several words after some: "--schemes W4A16 W8A16", "--shared_layers q_proj k_proj v_proj". Here they
// become one word with commas; where a word of a list of groups has commas itself, each is a group of its own.
std::vector<std::string> with_joined_words(const std::vector<std::string>& arguments) {
  std::vector<std::string> joined;
  for (size_t i = 0; i < arguments.size();) {
    const std::string& name = arguments[i];
    joined.push_back(arguments[i++]);
    if (!takes_several_words(name)) continue;
    const bool grouped = find_option(*find_command("quantize"), name.substr(2))->type == Type::groups;
    std::vector<std::string> words;
    for (std::error_code ignored; i < arguments.size() && !arguments[i].starts_with("-"); ++i) {
      if (!words.empty() && std::filesystem::exists(arguments[i], ignored)) break;  // the model
      words.push_back(arguments[i]);
    }
    const bool each = grouped && std::any_of(words.begin(), words.end(), [](const std::string& word) {
                        return word.find(',') != std::string::npos;
                      });
    std::string line;
    for (size_t w = 0; w < words.size(); ++w) {
      if (each && w > 0) joined.push_back(name);
      if (each)
        joined.push_back(words[w]);
      else
        line += (w > 0 ? "," : "") + words[w];
    }
    if (!each && !words.empty()) joined.push_back(line);
  }
  return joined;
}

void add_options(po::options_description& description, std::span<const Option> options) {
  for (const Option& option : options) {
    std::vector<std::string> names{std::string(option.name)};
    for (const std::string& alias : split(option.aliases, ' ')) names.push_back(alias);
    for (const std::string& name : names) {
      auto* value = po::value<std::vector<std::string>>();
      if (option.type == Type::flag) value->implicit_value({"true"}, "true");
      // Boost wants "long,s"; ",s" alone is an option with only a short name.
      description.add_options()((name.size() == 1 ? "," + name : name).c_str(), value);
    }
  }
}

[[noreturn]] void unknown_option(const Command& command, const std::string& typed) {
  std::string name = typed.substr(0, typed.find('='));
  name.erase(0, name.find_first_not_of('-'));
  if (find_option(*find_command("quantize"), name) != nullptr)
    throw_usage(str("'arkit ", command.name, "' has no option '--", printable(name),
                    "', 'arkit quantize' has; use that to round a model ('arkit ", command.name,
                    " --help' shows all)"));
  const std::string near = nearest(name, option_names(command));
  throw_usage(str("unknown option '", printable(typed), "'", near.empty() ? "" : str("; did you mean '--", near, "'?"),
                  " ('arkit ", command.name, " --help' shows all)"));
}

int wanted_positionals(const Command& command, bool most) {
  int count = 0;
  for (const std::string& word : split(command.positional, ' ')) {
    if (most && word.find("...") != std::string::npos) return std::numeric_limits<int>::max();
    if (most || word.front() != '[') ++count;
  }
  return count;
}

bool is_on(const Values& values, std::string_view name) {
  const auto it = values.find(name);
  return it != values.end() && it->second.front() != "false";
}

// A flag and its negation are one setting, whichever of the two is typed: "--sym=false" is "--asym". It is kept under
// the name that is true.
void settle_pair(const Option& option, Values& values, const std::string& where) {
  const std::string yes(option.name), no(option.excludes);
  if (!values.contains(yes) && !values.contains(no)) return;
  const bool wanted = values.contains(yes) ? is_on(values, yes) : !is_on(values, no);
  if (values.contains(yes) && values.contains(no) && is_on(values, no) == wanted) {
    const std::string_view how = wanted ? "" : "=false";
    throw_usage(str(where, "--", yes, how, " and --", no, how, " contradict each other; give one"));
  }
  values.erase(yes);
  values.erase(no);
  values[wanted ? yes : no] = {"true"};
}

// Puts each option boost found under its canonical name and checks it.
Values collect(const Command& command, const po::parsed_options& parsed, std::vector<std::string>& positionals) {
  Values values;
  for (const po::option& found : parsed.options) {
    if (found.position_key >= 0) {
      positionals.insert(positionals.end(), found.value.begin(), found.value.end());
      continue;
    }
    std::string name = found.string_key;
    name.erase(0, std::min(name.find_first_not_of('-'), name.size()));
    const Option* option = find_option(command, name);
    if (option == nullptr) unknown_option(command, found.string_key);
    const std::string where = str("--", option->name);
    const std::string value = found.value.empty() ? "true" : found.value.front();
    check_value(*option, value, where);
    std::vector<std::string>& into = values[std::string(option->name)];
    if (!into.empty() && !repeatable(*option) && into.front() != value)
      throw_usage(str(where, " is given twice, as '", printable(into.front()), "' and as '", printable(value), "'"));
    if (!repeatable(*option)) into.clear();
    into.push_back(value);
  }
  tidy_values(command, values, "");
  return values;
}

Values parse_options(const Command& command, const std::vector<std::string>& arguments,
                     std::vector<std::string>& positionals) {
  po::options_description description;
  add_options(description, command.options);
  add_options(description, common_options());
  po::positional_options_description positional;
  positional.add("positional arguments", -1);
  description.add_options()("positional arguments", po::value<std::vector<std::string>>());
  // No guessing: "--iterat" is a slip to be pointed out, not an abbreviation.
  constexpr int kStyle = po::command_line_style::unix_style & ~po::command_line_style::allow_guessing;
  try {
    return collect(command,
                   po::command_line_parser(arguments).options(description).positional(positional).style(kStyle).run(),
                   positionals);
  } catch (const po::unknown_option& error) {
    unknown_option(command, error.get_option_name());
  } catch (const po::invalid_command_line_syntax& error) {
    throw_usage(str(error.get_option_name(), " needs a value ('arkit ", command.name, " --help' shows its form)"));
  } catch (const po::error& error) {
    throw_usage(str(error.what(), " ('arkit ", command.name, " --help' shows all options)"));
  }
}

std::string quoted_for_shell(const std::string& word) {
  constexpr std::string_view kPlain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-+=:,./@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

struct Verb {
  const Command* command = nullptr;
  std::vector<std::string> rest;  // the arguments without the command's words
  std::string group;              // `arkit eval --help`: a first word that only begins commands
};

bool is_help(const std::string& word) {
  return word == "--help" || word == "-h";
}

bool asks_for_help(const std::vector<std::string>& words) {
  return std::any_of(words.begin(), words.end(), is_help);
}

[[noreturn]] void unknown_command(const std::string& typed) {
  std::vector<std::string> names;
  for (const Command& command : commands()) names.push_back(split(command.name, ' ').front());
  names.emplace_back("eval");
  std::string message = unknown_name("command", typed, names, "'arkit --help' shows all");
  if (typed.find('/') != std::string::npos)
    message += str("; to quantize a model: arkit quantize ", quoted_for_shell(typed));
  throw_usage(message);
}

bool begins_commands(const std::string& word) {
  return std::any_of(commands().begin(), commands().end(),
                     [&](const Command& command) { return command.name.starts_with(word + " "); });
}

// `auto-round eval MODEL --tasks T`, which names no kind of evaluation.
bool means_tasks(const std::string& first, const std::vector<std::string>& arguments, size_t second,
                 const CalledAs& program) {
  if (first != "eval" || second >= arguments.size()) return false;
  const std::string& word = arguments[second];
  std::error_code ignored;
  return find_command(first + " " + word) == nullptr &&
         (program.quantizes() || word.starts_with("-") || word.find('/') != std::string::npos ||
          std::filesystem::exists(word, ignored));
}

const Command* two_words(const std::string& first, const std::vector<std::string>& arguments, size_t second) {
  std::vector<std::string> names;
  for (const Command& command : commands())
    if (command.name.starts_with(first + " ")) names.push_back(split(command.name, ' ').at(1));
  if (names.empty()) return nullptr;
  const std::string word = second < arguments.size() ? arguments[second] : "";
  if (const Command* command = find_command(first + " " + word)) return command;
  if (word.empty() || word.front() == '-')
    throw_usage(str("'arkit ", first, "' needs one of ", quoted_list(names), " ('arkit --help' shows all)"));
  throw_usage(unknown_name(first + " command", word, names, "'arkit --help' shows all"));
}

// The command is the first word that is no common option: `arkit --plugin ./build list formats`. A first word that is
// an existing path, or an option of quantize, means `quantize`, as AutoRound does; under a name of AutoRound's any other
// word does.
Verb find_verb(const std::vector<std::string>& arguments, const CalledAs& program) {
  size_t at = 0;
  const Command& help = *find_command("help");  // has the common options only
  while (at < arguments.size() && arguments[at].starts_with("-")) {
    std::string name = arguments[at].substr(0, arguments[at].find('='));
    name.erase(0, std::min(name.find_first_not_of('-'), name.size()));
    const Option* option = find_option(help, name);
    if (option == nullptr) return {find_command("quantize"), arguments};
    at += option->type != Type::flag && arguments[at].find('=') == std::string::npos ? 2 : 1;
  }
  Verb verb{nullptr, arguments};
  if (at >= arguments.size()) return verb;
  const std::string word = arguments[at];
  const auto first = verb.rest.begin() + static_cast<std::ptrdiff_t>(at);
  if (begins_commands(word) && (at + 1 == arguments.size() || arguments[at + 1].starts_with("-")) &&
      asks_for_help(arguments)) {
    verb.group = word;
  } else if ((verb.command = find_command(word)) != nullptr) {
    verb.rest.erase(first);
  } else if (means_tasks(word, arguments, at + 1, program)) {
    verb.command = find_command("eval lm");
    verb.rest.erase(first);
  } else if ((verb.command = two_words(word, arguments, at + 1)) != nullptr) {
    verb.rest.erase(first, first + 2);
  } else if (std::error_code ignored; program.quantizes() || std::filesystem::exists(word, ignored)) {
    verb.command = find_command("quantize");
  } else {
    unknown_command(word);
  }
  return verb;
}

// `auto-round MODEL --eval --tasks T` measures a model as it is and quantizes nothing.
void settle_eval(Verb& verb) {
  if (verb.command == nullptr || verb.command->name != "quantize") return;
  const auto end = std::find(verb.rest.begin(), verb.rest.end(), "--");
  const auto is_eval = [](const std::string& word) { return word == "--eval" || word == "--eval=true"; };
  const auto kept = std::remove_if(verb.rest.begin(), end, is_eval);
  if (kept == end) return;
  verb.rest.erase(kept, end);
  verb.command = find_command("eval lm");
}

// About the command that the words name; none = about all.
Request request_about(Request::Kind kind, const ParsedCommand& parsed) {
  std::string name;
  for (const std::string& word : parsed.positionals) name += (name.empty() ? "" : " ") + word;
  Request request{kind, nullptr, parsed, {}};
  if (name.empty()) return request;
  request.command = find_command(name);
  if (request.command != nullptr) return request;
  if (!begins_commands(name)) unknown_command(name);
  if (kind == Request::Kind::help) request.group = name;
  return request;
}

// What a typed option ends of a file that has `beside`: saved files hold the values a name stands for, too. `names`
// are further options that end with it, `parts` the option whose parts do.
struct Ends {
  std::string_view typed, beside, parts, names;
};
constexpr Ends kEnds[] = {
    {"scheme", "scheme", "scheme", ""},
    {"options", "scheme", "scheme", "scheme"},
    {"recipe", "recipe", "recipe", ""},
    {"recipe_file", "scheme", "scheme", "scheme"},
    {"recipe_file", "recipe", "recipe", "recipe format"},
    {"model_free", "iters", "", "iters lr minmax_lr enable_opt_rtn"},
    {"disable_minmax_tuning", "minmax_lr", "", "minmax_lr"},
    {"enable_neuqi", "minmax_lr", "", "minmax_lr"},
};

void end_replaced(const Command& command, const Values& flags, Values& file) {
  for (const Ends& ends : kEnds) {
    const auto typed = flags.find(ends.typed);
    const auto beside = file.find(ends.beside);
    if (typed == flags.end() || beside == file.end() || !is_on(flags, ends.typed)) continue;
    if (ends.typed == ends.beside && typed->second == beside->second) continue;  // the same name again
    for (const Option& option : command.options)
      if (!ends.parts.empty() && option.row.part_of == ends.parts) file.erase(std::string(option.name));
    for (const std::string& name : split(ends.names, ' ')) file.erase(name);
  }
}

// The recipe file first, flags override it; a flag also ends what it contradicts or replaces.
void merge_recipe(const Command& command, Values& values) {
  const auto config = values.find("config");
  if (config == values.end()) return;
  const Values flags = values;
  values = read_recipe_file(config->second.front(), command);
  end_replaced(command, flags, values);
  for (const auto& [name, given] : flags) {
    values[name] = given;
    const Option* option = find_option(command, name);
    if (!option->excludes.empty() && is_on(flags, name)) values.erase(std::string(option->excludes));
  }
}

// May --model stand in place of the positional argument?
bool takes_model(const Command& command) {
  return command.positional == "MODEL";
}

// "--list formats", as AutoRound had it.
std::vector<std::string> with_list_command(std::vector<std::string> words) {
  const auto list = std::find(words.begin(), words.end(), "--list");
  if (list == words.end()) return words;
  words.erase(list);
  words.insert(words.begin(), "list");
  return words;
}

// What is listed, also in the singular and under AutoRound's words.
void settle_listed(const Command& command, std::string& what) {
  const std::string low = lower(what);
  for (const std::string& word : {low, low + "s"})
    if (is_among(command.choices, word)) what = word;
  if (is_among("alg algs algorithm algorithms", low)) what = "transforms";
}

// The recipe that the name of the program stands for, as if it was typed.
void settle_recipe(const CalledAs& program, Values& values) {
  if (program.recipe.empty()) return;
  const auto recipe = values.find("recipe");
  if (recipe != values.end() && recipe->second.front() != program.recipe)
    throw_usage(str("--recipe '", printable(recipe->second.front()), "' contradicts ", program.name,
                    ", which is recipe '", program.recipe, "'; call arkit instead"));
  values["recipe"] = {std::string(program.recipe)};
}

// The folder that it stands for, where neither the command line nor an options file says another.
void settle_folder(const CalledAs& program, Values& values) {
  if (!program.folder.empty() && !values.contains("output_dir")) values["output_dir"] = {std::string(program.folder)};
}

// The model is named once; only a file may be overruled.
void check_model_named_once(const Command& command, const ParsedCommand& parsed) {
  if (!takes_model(command)) return;
  const auto model = parsed.values.find("model");
  if (model == parsed.values.end() || parsed.positionals.empty() || parsed.positionals == model->second) return;
  throw_usage(str("the model is given twice, as '", printable(parsed.positionals.front()), "' and as --model '",
                  printable(model->second.front()), "'; give one"));
}

void check_positionals(const Command& command, ParsedCommand& parsed) {
  if (const auto model = parsed.values.find("model"); takes_model(command) && model != parsed.values.end()) {
    if (parsed.positionals.empty()) parsed.positionals = model->second;
    parsed.values.erase(model);
  }
  const auto given = static_cast<int>(parsed.positionals.size());
  if (given < wanted_positionals(command, false))
    throw_usage(
        str("'arkit ", command.name, "' needs ", command.positional, " ('arkit ", command.name, " --help' shows how)"));
  if (given > wanted_positionals(command, true))
    throw_usage(str("unexpected argument '",
                    printable(parsed.positionals[static_cast<size_t>(wanted_positionals(command, true))]),
                    "' of 'arkit ", command.name, "'; quote values that contain blanks"));
}

}  // namespace

namespace {

bool is_number(const std::string& value) {
  double number = 0;
  const char* end = value.data() + value.size();
  const auto [rest, error] = std::from_chars(value.data(), end, number);
  return error == std::errc() && rest == end && number > -1e300 && number < 1e300;
}

}  // namespace

void check_value(const Option& option, const std::string& value, const std::string& where) {
  const auto bad = [&](const std::string& expected) {
    throw_usage(str(where, ": '", printable(value), "' is not ", expected));
  };
  const char* end = value.data() + value.size();
  if (option.type == Type::flag && value != "true" && value != "false") bad("true or false");
  if (option.type == Type::integer) {
    int64_t number = 0;
    const auto [rest, error] = std::from_chars(value.data(), end, number);
    if (error == std::errc::result_out_of_range)
      throw_usage(str(where, ": ", printable(value, 60), " is out of range; no count is that large"));
    if (error != std::errc() || rest != end) bad("a whole number");
  }
  if (option.type == Type::number && !is_number(value)) bad("a number");
  if (option.type == Type::bytes) {
    const size_t digits = std::min(value.find_first_not_of("0123456789."), value.size());
    const std::string unit = lower(value.substr(digits));
    double number = 0;
    const auto [rest, error] = std::from_chars(value.data(), value.data() + digits, number);
    static const std::vector<std::string> units{"", "kb", "mb", "gb", "kib", "mib", "gib"};
    const bool known_unit = std::find(units.begin(), units.end(), unit) != units.end();
    const bool whole = unit != "" || value.find('.') == std::string::npos;
    if (digits == 0 || error != std::errc() || rest != value.data() + digits || !(number > 0 && number < 9e15) ||
        !known_unit || !whole)
      bad("a size such as 5GB, 3GiB, 200MB or 64KB");
  }
  if (value.empty() && option.type != Type::flag && !option.row.may_be_empty) throw_usage(str(where, " is empty"));
  if (!option.choices.empty() && !is_among(option.choices, value))
    throw_usage(str(where, ": '", printable(value), "' is not one of ", quoted_list(split(option.choices, ' '))));
}

void tidy_values(const Command& command, Values& values, const std::string& where) {
  for (const Option& option : command.options) {
    const auto it = values.find(option.name);
    if (it == values.end() || !is_list(option)) continue;
    std::vector<std::string> parts;
    for (const std::string& value : it->second)
      for (const std::string& part : split(value, ','))
        if (!part.empty()) parts.push_back(part);
    it->second = std::move(parts);
    if (it->second.empty()) throw_usage(str(where, "--", option.name, " lists nothing; leave it out"));
    if (option.type != Type::numbers) continue;
    for (const std::string& part : it->second)
      if (!is_number(part))
        throw_usage(str(where, "--", option.name, ": '", printable(part), "' is not ", option.row.range.expected));
  }
  for (const Option& option : command.options) {
    if (is_pair(option))
      settle_pair(option, values, where);
    else if (!option.excludes.empty() && is_on(values, option.name) && is_on(values, option.excludes))
      throw_usage(str(where, "--", option.name, " and --", option.excludes, " contradict each other; give one"));
  }
}

Request parse_command_line(const std::vector<std::string>& arguments, const CalledAs& program) {
  std::vector<std::string> normal;
  std::string typed(program.name);
  bool options_end = false;
  for (const std::string& argument : arguments) {
    options_end = options_end || argument == "--";
    normal.push_back(options_end ? argument : with_underscores(argument));
    typed += " " + quoted_for_shell(argument);
  }
  if (normal.empty()) return {Request::Kind::help, nullptr, {}, {}};
  if (normal.front() == "--version" || normal.front() == "-V") return {Request::Kind::version, nullptr, {}, {}};

  Verb verb = find_verb(with_joined_words(with_list_command(normal)), program);
  settle_eval(verb);
  if (!verb.group.empty()) return {Request::Kind::help, nullptr, {}, verb.group};
  if (verb.command == nullptr) {
    if (asks_for_help(normal)) return {Request::Kind::help, nullptr, {}, {}};
    throw_usage("a command is missing ('arkit --help' shows all)");
  }
  Request request{Request::Kind::run, verb.command, {}, {}};
  ParsedCommand& parsed = request.parsed;
  parsed.command = verb.command->name;
  parsed.command_line = typed;
  // Asked for help: whatever else is wrong does not matter.
  if (asks_for_help(verb.rest))
    return {Request::Kind::help, verb.command->name == "help" ? nullptr : verb.command, {}, {}};
  AutoRoundWords foreign;
  const bool quantizes = verb.command->name == "quantize", measures = verb.command->name == "eval lm";
  parsed.values = parse_options(
      *verb.command, quantizes || measures ? foreign.take(*verb.command, verb.rest) : verb.rest, parsed.positionals);
  foreign.settle(parsed.values);
  parsed.notes = foreign.notes();
  if (verb.command->name == "help") return request_about(Request::Kind::help, parsed);
  if (verb.command->name == "man") return request_about(Request::Kind::manual, parsed);
  check_model_named_once(*verb.command, parsed);
  if (quantizes) settle_recipe(program, parsed.values);
  apply_variables(*verb.command, parsed.values, parsed.notes);
  merge_recipe(*verb.command, parsed.values);
  if (quantizes) settle_folder(program, parsed.values);
  check_positionals(*verb.command, parsed);
  if (verb.command->name == "list") settle_listed(*verb.command, parsed.positionals.front());
  if (verb.command->name == "completions") request.kind = Request::Kind::completions;
  return request;
}

}  // namespace arkit::cli
