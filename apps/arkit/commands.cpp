#include "commands.h"

#include <algorithm>
#include <charconv>

#include <arkit/engine/bench.h>
#include <arkit/engine/serve_options.h>
#include <arkit/engine/task_eval.h>
#include <arkit/str.h>

namespace arkit::cli {
namespace {

using enum OptionType;

constexpr std::string_view kCommon = "Common";
constexpr std::string_view kRun = "Run";

constexpr OptionRow kCommonRows[] = {
    {.name = "plugin",
     .type = texts,
     .group = kCommon,
     .unit = "PATH",
     .help = "load a plugin file or a folder of plugins; may be repeated",
     .one_call = true},
    {.name = "family",
     .type = texts,
     .group = kCommon,
     .unit = "FILE",
     .help = "know the model family of this file, too (docs/FAMILIES.md); may be repeated",
     .one_call = true},
    {.name = "json",
     .type = flag,
     .group = kCommon,
     .help = "print the result as JSON on stdout; everything else goes to stderr"},
    {.name = "progress",
     .group = kCommon,
     .unit = "P",
     .help = "how progress is shown on stderr: auto = a bar on a terminal, lines elsewhere; json = events, one a line "
             "(docs/COMMAND_LINE.md)",
     .absent = "auto",
     .choices = "auto lines json"},
    {.name = "quiet", .type = flag, .group = kCommon, .help = "only warnings and errors on stderr", .aliases = "q"},
    {.name = "verbose",
     .type = flag,
     .group = kCommon,
     .help = "more detail, and the origin of errors",
     .aliases = "v"},
    {.name = "help", .type = flag, .group = kCommon, .help = "this text", .aliases = "h", .one_call = true},
};

// Options that no struct of the engine holds.
constexpr OptionRow kFileRows[] = {
    {.name = "config",
     .type = path,
     .group = kRun,
     .unit = "FILE",
     .help = "read options of this command from a TOML file first (an llm-compressor recipe: --recipe_file)",
     .one_call = true},
    {.name = "save_config",
     .type = path,
     .group = kRun,
     .unit = "FILE",
     .help = "write every option as this run uses it into a TOML file for --config, before the run",
     .one_call = true},
};
// Which hub an id means and at which commit; they become part of the model's name (hub_name.h).
constexpr OptionRow kHubRows[] = {
    {.name = "revision",
     .type = text,
     .group = kRun,
     .unit = "REV",
     .help = "branch, tag or commit of a model from a hub, as in 'org/name@REV'",
     .absent = "the hub's main branch",
     .one_call = true},
    {.name = "hub",
     .type = text,
     .group = kRun,
     .unit = "HUB",
     .help = "where a model that is no local path is downloaded from (docs/HUB.md)",
     .absent = "hf, or modelscope with AR_USE_MODELSCOPE=1",
     .aliases = "platform",
     .choices = "hf modelscope model_scope",
     .one_call = true},
};
constexpr OptionRow kTokenizeRows[] = {
    {.name = "text_file", .type = path, .group = kRun, .unit = "FILE", .help = "text to tokenize"},
};
constexpr OptionRow kExitCodeRows[] = {
    {.name = "exit_code",
     .type = flag,
     .group = kRun,
     .help = "exit with 6 when weights, tensors or configuration differ"},
};
constexpr OptionRow kManualRows[] = {
    {.name = "output_dir",
     .type = path,
     .group = kRun,
     .unit = "DIR",
     .help = "write the pages of all commands into this folder, which is made if need be",
     .aliases = "o"},
};
constexpr OptionRow kDraftRows[] = {
    {.name = "output",
     .type = path,
     .group = kRun,
     .unit = "FILE",
     .help = "write the family file there instead of to standard output; an existing file stays as it is",
     .aliases = "o"},
};
constexpr OptionRow kSymbolsRows[] = {
    {.name = "symbols", .type = flag, .group = kRun, .help = "also print the exported symbols"},
};

constexpr std::string_view kFile = "File";
constexpr OptionRow kShowRows[] = {
    {.name = "filter",
     .type = text,
     .group = kFile,
     .unit = "REGEX",
     .help = "only keys and tensors in whose names the expression is found",
     .absent = "all"},
    {.name = "whole", .type = flag, .group = kFile, .help = "arrays and texts in full"},
};
constexpr OptionRow kSetRows[] = {
    {.name = "output",
     .type = path,
     .group = kFile,
     .unit = "FILE",
     .help = "write the changed file there, where nothing is yet",
     .absent = "in place of FILE, when it is complete",
     .aliases = "o"},
    {.name = "remove", .type = texts, .group = kFile, .unit = "KEY", .help = "take a key out; may be repeated"},
    {.name = "force",
     .type = flag,
     .group = kFile,
     .help = "also keys with which the model could not be read any more"},
};
constexpr OptionRow kSplitRows[] = {
    {.name = "split_max_size",
     .type = bytes,
     .group = kFile,
     .unit = "SIZE",
     .help = "parts of at most this size: 2GB, 500MB"},
    {.name = "split_max_tensors",
     .type = integer,
     .group = kFile,
     .unit = "N",
     .help = "parts of at most so many tensors",
     .range = {"at least 1", [](double value) { return value >= 1.0; }}},
    {.name = "output",
     .type = path,
     .group = kFile,
     .unit = "NAME",
     .help = "where the parts go and what their names begin with: out/model -> out/model-00001-of-00003.gguf",
     .absent = "beside FILE and called after it",
     .aliases = "o"},
};
constexpr OptionRow kMergeRows[] = {
    {.name = "output",
     .type = path,
     .group = kFile,
     .unit = "FILE",
     .help = "the file to write, where nothing is yet",
     .absent = "beside the parts and called after them",
     .aliases = "o"},
};

// What users of one backend call it; the engine names none.
constexpr std::string_view kPreparedCacheNames = "ark_cache";
// And of one format.
constexpr std::string_view kTypeRulesNames = "gguf_rules";

std::string_view names_of(const OptionRow& row) {
  if (row.name == "prepared_cache") return kPreparedCacheNames;
  return row.name == "type_rules" ? kTypeRulesNames : row.aliases;
}

// The value a field has by itself, as a user would type it; empty for none, and for flags, which are off or absent.
struct Typed {
  const OptionRow& row;

  std::string operator()(std::monostate) const { return {}; }
  std::string operator()(bool) const { return {}; }
  std::string operator()(int64_t number) const {
    constexpr int64_t kGiga = 1'000'000'000;
    return row.type == bytes && number % kGiga == 0 ? str(number / kGiga, "GB") : std::to_string(number);
  }
  std::string operator()(double number) const {
    char digits[32];
    return {digits, std::to_chars(digits, digits + sizeof(digits), number).ptr};
  }
  std::string operator()(const std::string& text) const { return text; }
  std::string operator()(const std::vector<std::string>& words) const {
    std::string line;
    for (const std::string& word : words) line += (line.empty() ? "" : ",") + word;
    return line;
  }
  std::string operator()(const std::vector<double>&) const { return {}; }
  std::string operator()(const std::vector<std::vector<std::string>>&) const { return {}; }
};

void add(std::vector<Option>& options, const OptionRow& row, const OptionValue& usual = {}) {
  const Option option{.name = row.name,
                      .type = row.type,
                      .group = row.group,
                      .value_name = row.unit,
                      .default_value = std::visit(Typed{row}, usual),
                      .absent = row.absent,
                      .help = row.help,
                      .aliases = names_of(row),
                      .excludes = row.negation.empty() ? row.excludes : row.negation,
                      .choices = row.choices,
                      .row = row};
  if (row.negation.empty()) {
    options.push_back(option);
    return;
  }
  Option negation = option;
  negation.name = row.negation;
  negation.help = row.negation_help;
  negation.aliases = {};
  negation.excludes = row.name;
  // First the one that changes something.
  const bool on = usual == OptionValue(true);
  options.push_back(on ? negation : option);
  options.push_back(on ? option : negation);
}

template <size_t N>
void add(std::vector<Option>& options, const OptionRow (&rows)[N]) {
  for (const OptionRow& row : rows) add(options, row);
}

template <typename Options>
void add_table(std::vector<Option>& options, auto&& wanted) {
  const Options usual;
  for (const OptionOf<Options>& one : option_table<Options>())
    if (wanted(one.row)) add(options, one.row, one.get(usual));
}

template <typename Options>
void add_table(std::vector<Option>& options) {
  add_table<Options>(options, [](const OptionRow&) { return true; });
}

template <typename... Options>
std::vector<Option> tables() {
  std::vector<Option> options;
  (add_table<Options>(options), ...);
  return options;
}

template <size_t N>
std::vector<Option> rows(const OptionRow (&own)[N]) {
  std::vector<Option> options;
  add(options, own);
  return options;
}

std::vector<Option> quantize_options() {
  std::vector<Option> options;
  add_table<QuantizeOptions>(options);
  const auto run = std::find_if(options.begin(), options.end(), [](const Option& o) { return o.name == "dry_run"; });
  const std::vector<Option> files = rows(kFileRows);
  options.insert(run, files.begin(), files.end());
  add_table<TaskOptions>(options);
  return options;
}

// As AutoRound's `eval` calls them.
std::vector<Option> task_options() {
  std::vector<Option> options;
  add_table<QuantizeOptions>(options, [](const OptionRow& row) { return row.name == "model"; });
  add_table<TaskOptions>(options);
  add_table<TaskModelOptions>(options);
  for (Option& option : options) {
    if (option.name == "eval_bs") option.aliases = "bs batch_size";
    if (option.name == "tasks") option.absent = "AutoRound's thirteen";
  }
  return options;
}

// Those of quantize that mean something where nothing is tuned or written; the mix is what the command is about.
std::vector<Option> autoscheme_options() {
  std::vector<Option> options;
  const auto scoring = [](bool model, bool mix) {
    return [=](const OptionRow& row) {
      const bool of_mix = row.needs == OptionNeeds::mix || row.name == "options";
      return row.scoring && (row.name == "model") == model && of_mix == mix;
    };
  };
  add_table<QuantizeOptions>(options, scoring(true, false));
  add_table<QuantizeOptions>(options, scoring(false, true));
  add_table<QuantizeOptions>(options, scoring(false, false));
  add(options, kFileRows);
  return options;
}

std::vector<Option> diff_options() {
  std::vector<Option> options;
  add_table<DiffOptions>(options);
  add(options, kExitCodeRows);
  add_table<ResidentOptions>(options);
  return options;
}

// Of commands whose one model may come from a hub; `diff A B` has two, and their names say it.
bool takes_one_model(const Command& command) {
  static constexpr std::string_view kNames[] = {"verify", "convert"};
  return command.positional == "MODEL" ||
         std::find(std::begin(kNames), std::end(kNames), command.name) != std::end(kNames);
}

std::vector<Command> own_commands() {
  return {
      {"quantize", "MODEL", "quantize a model and write it in one or several formats", quantize_options(),
       "arkit quantize meta-llama/Llama-3.2-1B --scheme W4A16 --output_dir llama-w4\n"
       "arkit quantize ./model --bits 3 --group_size 64 --asym --recipe best --format auto_gptq\n"
       "arkit quantize ./model --options MXFP4,MXFP8 --avg_bits 4.5 --format llm_compressor\n"
       "arkit quantize ./model --dataset self --iters 50 --dry-run"},
      {"autoscheme", "MODEL", "find the best mix of schemes for budgets, without quantizing", autoscheme_options(),
       "arkit autoscheme ./llama --options W2A16,W4A16,W8A16 --avg_bits 3,4,5 --dataset self --svg mix.svg\n"
       "arkit autoscheme ./llama --options MXFP4,MXFP8 --target-size 3GiB --save-layer-config mix.toml"},
      {"list",
       "WHAT",
       "plugins, schemes, formats, runtimes, backends, models, transforms, recipes or datasets",
       {},
       "arkit list formats\narkit list plugins --json",
       "plugins schemes formats runtimes backends models transforms recipes datasets"},
      {"inspect",
       "MODEL",
       "tensors, schemes, sizes and bits per weight of a model or file",
       {},
       "arkit inspect ./llama-w4 --json"},
      {"eval ppl", "MODEL", "perplexity on a text", tables<EvalOptions, ResidentOptions>(),
       "arkit eval ppl ./llama-w4 --text wiki.txt --seqlen 512 --against ./llama"},
      {"eval kl", "MODEL", "distance from a reference model, token by token: KL divergence and top-1 agreement",
       tables<DivergenceOptions, ResidentOptions>(),
       "arkit eval kl ./llama-w4 --reference ./llama --text wiki.txt\n"
       "arkit eval kl ./llama-w4 --reference ./llama --along-generation --prompt 'Once upon a time'"},
      {"eval lambada", "MODEL", "accuracy and perplexity of the last word of each text",
       tables<LastWordOptions, ResidentOptions>(),
       "arkit eval lambada ./llama-w4 --file lambada_test.jsonl --limit 500"},
      {"eval lm", "MODEL", "tasks of the standard harness, lm-eval", task_options(),
       "arkit eval lm ./llama-w4 --tasks lambada_openai,piqa --limit 100\n"
       "arkit eval lm ./llama-w4 --tasks my_task --include_path ./tasks --python ./venv/bin/python"},
      {"generate", "MODEL", "continue a text", tables<GenerateOptions>(),
       "arkit generate ./llama-w4 --prompt 'The capital of France is'"},
      {"chat", "MODEL", "talk with a model; its answers appear as they are written", tables<ChatOptions>(),
       "arkit chat ./llama-w4\n"
       "arkit chat ./llama-w4 --system 'Answer in one sentence.' --temperature 0.7\n"
       "arkit chat ./llama-w4 --json < questions.txt"},
      {"serve", "MODEL", "answer requests as OpenAI's clients send them, and a chat page in the browser",
       tables<ServeOptions>(),
       "arkit serve ./llama-w4\n"
       "arkit serve ./llama-w4 --port 0 --json\n"
       "ARKIT_API_KEY=secret arkit serve ./llama-w4 --host 0.0.0.0 --cache_tokens 131072"},
      {"bench", "[MODEL]", "how fast this machine, its backends and a model are", tables<BenchOptions>(),
       "arkit bench\narkit bench ./llama-w4 --only prefill,decode --svg bench.svg\narkit bench --backend torch --only "
       "kernels --threads 1"},
      {"forward", "MODEL", "logits of given token ids", tables<ForwardOptions, ResidentOptions>(),
       "arkit forward ./model --input_ids ids.safetensors --output logits.safetensors"},
      {"tokenize", "MODEL", "token ids of a text", rows(kTokenizeRows),
       "arkit tokenize ./model --text-file a.txt --json"},
      {"verify", "DIR", "reopen an export and compare it with its source", tables<VerifyOptions, ResidentOptions>(),
       "arkit verify ./llama-w4 --against ./llama"},
      {"reproduce", "DIR", "run the quantization of an export again and compare the files", tables<ReproduceOptions>(),
       "arkit reproduce ./llama-w4 --output_dir ./llama-w4-again\n"
       "arkit reproduce ./llama-w4 --dry-run"},
      {"convert", "DIR", "write an export in another format without rounding it again", tables<ConvertOptions>(),
       "arkit convert ./llama-w4 --format auto_gptq -o llama-w4-gptq\n"
       "arkit convert ./gptq-from-elsewhere --format auto_round,llm_compressor"},
      {"diff", "A B", "compare two exports, or an export and a model", diff_options(),
       "arkit diff ./llama-w4 ./llama-w4-gptq --exit-code\n"
       "arkit diff ./llama ./llama-w4 --text wiki.txt --json"},
      {"gguf show", "FILE", "keys and tensors of a GGUF file", rows(kShowRows),
       "arkit gguf show model.gguf\n"
       "arkit gguf show model.gguf --filter chat_template --whole\n"
       "arkit gguf show model.gguf --json | jq '.types'"},
      {"gguf set-metadata", "FILE [KEY=VALUE...]", "change, add and remove keys of a GGUF file", rows(kSetRows),
       "arkit gguf set-metadata model.gguf general.name='My model' -o renamed.gguf\n"
       "arkit gguf set-metadata model.gguf tokenizer.chat_template=@template.jinja\n"
       "arkit gguf set-metadata model.gguf tokenizer.ggml.add_eos_token=bool:false --remove general.url"},
      {"gguf split", "FILE", "cut a GGUF file into parts", rows(kSplitRows),
       "arkit gguf split model.gguf --split-max-size 2GB\n"
       "arkit gguf split model.gguf --split-max-tensors 100 -o parts/model"},
      {"gguf merge", "PART", "join the parts of a model into one GGUF file; any of them is named", rows(kMergeRows),
       "arkit gguf merge model-00001-of-00003.gguf -o model.gguf"},
      {"models new", "MODEL",
       "draft a family file for a model that no family knows: its folder, its config.json or its id", rows(kDraftRows),
       "arkit models new ./olmo2-7b -o olmo2.toml\n"
       "arkit quantize ./olmo2-7b --family olmo2.toml --output_dir olmo2-w4"},
      {"plugin inspect", "FILE", "describe a plugin file, also a refused one, without running it", rows(kSymbolsRows),
       "arkit plugin inspect ./libarkit_scheme_nf4.so"},
      {"plugin new",
       "KIND NAME [DIR]",
       "write a project for a new scheme, exporter, backend, model or transform plugin",
       {},
       "arkit plugin new scheme nf4\narkit plugin new exporter my_format ./my_format",
       "scheme exporter backend model transform"},
      {"completions",
       "SHELL",
       "a script that completes commands and options in bash, zsh or fish",
       {},
       "arkit completions bash > ~/.local/share/bash-completion/completions/arkit\n"
       "arkit completions zsh > ~/.zfunc/_arkit\n"
       "arkit completions fish > ~/.config/fish/completions/arkit.fish",
       "bash zsh fish"},
      {"man", "[COMMAND]", "the manual page of arkit or of a command, as roff", rows(kManualRows),
       "arkit man quantize | man -l -\narkit man --output_dir ~/.local/share/man/man1"},
      {"help", "[COMMAND]", "this overview, or the help of a command", {}, "arkit help quantize"},
  };
}

std::vector<Command> all_commands() {
  std::vector<Command> all = own_commands();
  for (Command& command : all)
    if (takes_one_model(command)) add(command.options, kHubRows);
  return all;
}

bool has_name(const Option& option, std::string_view name) {
  return option.name == name || is_among(option.aliases, name);
}

}  // namespace

std::span<const Command> commands() {
  static const std::vector<Command> all = all_commands();
  return all;
}

const Command* find_command(std::string_view name) {
  for (const Command& command : commands())
    if (command.name == name) return &command;
  return nullptr;
}

std::span<const Option> common_options() {
  static const std::vector<Option> all = rows(kCommonRows);
  return all;
}

const Option* find_option(const Command& command, std::string_view name) {
  for (const std::span<const Option> options : {std::span<const Option>(command.options), common_options()})
    for (const Option& option : options)
      if (has_name(option, name)) return &option;
  return nullptr;
}

std::vector<std::string> option_names(const Command& command) {
  std::vector<std::string> names;
  for (const std::span<const Option> options : {std::span<const Option>(command.options), common_options()})
    for (const Option& option : options) names.emplace_back(option.name);
  return names;
}

std::vector<std::string_view> option_groups(const Command& command) {
  std::vector<std::string_view> groups;
  for (const Option& option : command.options)
    if (std::find(groups.begin(), groups.end(), option.group) == groups.end()) groups.push_back(option.group);
  return groups;
}

bool is_among(std::string_view words, std::string_view word) {
  const std::vector<std::string> all = split(words, ' ');
  return std::find(all.begin(), all.end(), word) != all.end();
}

bool is_list(const Option& option) {
  return option.type == list || option.type == numbers;
}

bool repeatable(const Option& option) {
  return is_list(option) || option.type == texts || option.type == groups;
}

bool is_pair(const Option& option) {
  return !option.row.negation.empty();
}

}  // namespace arkit::cli
