// `arkit eval lm` and what `arkit quantize --tasks` does at the end.
#include <arkit/engine/task_eval.h>

#include <chrono>
#include <tuple>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "harness/interpreter.h"
#include "harness/served_model.h"
#include "harness/task_request.h"
#include "harness/task_runner.h"
#include "util/seconds.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

using namespace harness;
using Environment = std::vector<std::pair<std::string, std::string>>;

constexpr std::string_view kOwn = "arkit";

std::string words_of(const json::Value& array) {
  std::string line;
  for (const json::Value& word : array.as_array()) line += (line.empty() ? "" : ", ") + printable(word.as_string(), 80);
  return line;
}

std::string last_words(const TaskAnswers& answers) {
  return answers.last_words.empty() ? std::string() : str(": ", answers.last_words);
}

// The first interpreter that has all modules, and what it found.
std::pair<fs::path, json::Object> find_python(const TaskOptions& options, Reporter& reporter) {
  const std::vector<fs::path> candidates = interpreters(options.python);
  if (candidates.empty())
    throw_unsupported(str("tasks are run by lm-eval, and no Python is there to run it; install Python 3 and then: ",
                          install_command(options)));
  std::string missing;
  for (const fs::path& python : candidates) {
    TaskAnswers answers = ask_harness(python, check_request(options), {}, {}, reporter);
    if (answers.checked.empty()) {
      const std::string how = answers.ended.empty() ? "gave no answer" : answers.ended;
      if (!options.python.empty()) throw_unsupported(str("'", python.string(), "' ", how, last_words(answers)));
      missing += str(missing.empty() ? "" : "; ", python.string(), " ", how);
      continue;
    }
    if (answers.checked.at("missing").as_array().empty()) {
      if (!answers.ended.empty())
        throw_unsupported(str("lm-eval of '", python.string(), "' ", answers.ended, last_words(answers)));
      return {python, std::move(answers.checked)};
    }
    missing += str(missing.empty() ? "" : "; ", python.string(), " lacks ", words_of(answers.checked.at("missing")));
  }
  throw_unsupported(str("tasks are run by lm-eval",
                        options.eval_backend == kOwn ? "" : str(" with --eval_backend ", options.eval_backend),
                        ", and what it needs is not installed (", missing,
                        "); install it with: ", install_command(options), ", and name another Python with --python"));
}

void merge(json::Object& into, const json::Object& results) {
  for (const char* name : {"results", "groups", "versions", "n-shot", "n-samples", "higher_is_better"}) {
    const json::Value* part = json::find(results, name);
    if (part == nullptr || part->if_object() == nullptr) continue;
    if (json::find(into, name) == nullptr) into[name] = json::Object();
    for (const auto& [task, value] : *part->if_object()) into[name].as_object()[task] = value;
  }
}

// GPUs by number are chosen for another program; ours has a device or its best one.
Environment settle_device(const TaskOptions& options, TaskModelOptions& model, Reporter& reporter) {
  const bool numbers = !gpus_of(model.device).empty();
  if (options.eval_backend != kOwn)
    return numbers ? Environment{{"CUDA_VISIBLE_DEVICES", model.device}} : Environment{};
  if (numbers)
    reporter.info(str("--device_map ", model.device,
                      ": arkit's server runs on its best device; GPUs by number go with --eval_backend hf and vllm"));
  if (numbers || model.device == "auto") model.device.clear();
  return {};
}

TaskAnswers ask(const TaskOptions& options, const TaskModelOptions& given, const fs::path& python,
                const Registry& registry, Reporter& reporter) {
  TaskModelOptions model = given;
  const Environment environment = settle_device(options, model, reporter);
  std::string tasks;
  for (const std::string& task : options.tasks) tasks += (tasks.empty() ? "" : ", ") + task;
  const std::string step = str("lm-eval: ", tasks);
  if (options.eval_backend != kOwn) {
    reporter.step(step);
    return ask_harness(python, run_request(options, model), environment, {}, reporter);
  }
  const ServedModel served(model, options.eval_model_dtype, registry, reporter);
  reporter.step(step);
  return ask_harness(
      python, served_request(options, served.url(), served.name()), environment, [&] { served.check(); }, reporter);
}

// Results of all answers as one, and what failed.
json::Object gathered(const TaskAnswers& answers, Reporter& reporter) {
  json::Object result;
  std::string table, why;
  for (const json::Object& one : answers.results) {
    merge(result, one);
    table += std::string(one.at("table").as_string()) + "\n";
  }
  json::Array failed;
  for (const json::Object& one : answers.failed) {
    const std::string said = str(words_of(one.at("tasks")), ": ", printable(one.at("error").as_string(), 600));
    reporter.warn(str("failed: ", said));
    if (why.empty()) why = said;
    failed.push_back(json::Object{{"tasks", one.at("tasks")}, {"error", one.at("error")}});
  }
  if (!answers.ended.empty()) {
    why = str("lm-eval ", answers.ended, last_words(answers));
    reporter.warn(why);
    failed.push_back(json::Object{{"tasks", json::Array()}, {"error", why}});
  }
  if (answers.results.empty())
    throw_resource(str("no task was evaluated: ", why.empty() ? "lm-eval gave no results" : why));
  result["failed"] = std::move(failed);
  result["table"] = table;
  return result;
}

}  // namespace

struct TaskEvaluation::State {
  TaskOptions options;
  fs::path python;
  json::Object checked;
};

TaskEvaluation::TaskEvaluation(TaskOptions options, Reporter& reporter)
    : state_(std::make_unique<State>(State{.options = std::move(options), .python = {}, .checked = {}})) {
  const TaskOptions& wish = state_->options;
  check_task_options(wish);
  reporter.step("looking for lm-eval and its tasks");
  std::tie(state_->python, state_->checked) = find_python(wish, reporter);
  if (const json::Array& unknown = state_->checked.at("unknown").as_array(); !unknown.empty())
    throw_usage(str("lm-eval knows no task ", words_of(unknown), "; '", state_->python.string(),
                    " -m lm_eval ls tasks' shows all, and --include_path DIR brings others"));
  const json::Value* remote = json::find(state_->checked, "reads_remote");
  if (wish.eval_backend == kOwn && (remote == nullptr || !remote->as_bool()))
    throw_unsupported(
        str("lm-eval of '", state_->python.string(),
            "' is too old to take the server's tokenizer; bring it up to date with: pip install -U 'lm-eval[api]'"));
}

TaskEvaluation::~TaskEvaluation() = default;

json::Object TaskEvaluation::run(const TaskModelOptions& model, const Registry& registry, Reporter& reporter) {
  const TaskOptions& options = state_->options;
  if (options.eval_backend != kOwn)
    for (const auto& [idle, name] :
         {std::pair(!model.backend.empty(), "backend"), std::pair(!model.prepared_cache.empty(), "prepared_cache")})
      if (idle) throw_usage(str("--", name, " is of arkit's own server; leave it or --eval_backend out"));
  const auto start = std::chrono::steady_clock::now();
  json::Object result = gathered(ask(options, model, state_->python, registry, reporter), reporter);
  result["model"] = model.model;
  result["eval_backend"] = options.eval_backend;
  result["lm_eval"] = state_->checked.at("lm_eval");
  result["python"] = state_->python.string();
  result["seconds"] = seconds_since(start);
  return result;
}

}  // namespace arkit
