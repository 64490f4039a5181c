#pragma once
// Tasks of the standard harness, lm-eval, which is the user's own Python package: `arkit eval lm` and `arkit quantize
// --tasks` (docs/EVALUATION.md).

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/engine/option_table.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

struct TaskOptions {
  std::vector<std::string> tasks;      // names, patterns and groups; empty = none are asked for
  std::string eval_backend = "arkit";  // who computes: arkit (this program, as a server), hf, vllm
  std::optional<int64_t> eval_bs;      // texts computed together; unset = 8, of another program what lm-eval finds
  bool eval_task_by_task = false;      // a task that fails does not keep the others from running
  std::string eval_model_dtype;        // empty = float32 here, "auto" of another program
  std::string vllm_args;               // "a=1,--b=0.8"
  std::optional<double> limit;         // examples a task; below 1 a share of them
  std::optional<int64_t> num_fewshot;
  std::string eval_gen_kwargs;  // "temperature=0.5,top_p=0.9", of tasks that let the model write
  bool fewshot_as_multiturn = false;
  bool add_bos_token = false;          // texts begin with the special tokens the tokenizer puts there
  std::filesystem::path include_path;  // a folder of task files beside lm-eval's own
  std::filesystem::path python;        // interpreter; empty = the first that has lm-eval
};

struct TaskModelOptions {
  std::string model;
  // Of arkit as the server.
  std::string backend;                   // empty = the best of those that compute exactly
  std::filesystem::path prepared_cache;  // folder for layers made ready; empty = none
  // Whoever computes.
  std::string device;  // "cpu", "cuda:1"; numbers of GPUs, with commas between, of another program
};

// What AutoRound asks where nothing is said.
inline constexpr std::string_view kUsualTasks =
    "lambada_openai,hellaswag,winogrande,piqa,mmlu,wikitext,truthfulqa_mc1,truthfulqa_mc2,openbookqa,boolq,rte,arc_"
    "easy,"
    "arc_challenge";

class ARKIT_EXPORT TaskEvaluation {
 public:
  // Looks whether all that a run needs is there: the interpreter, lm-eval and what it needs, the tasks. Throws
  // ErrorCode::usage for options that contradict each other and tasks nobody knows, ErrorCode::unsupported for what is
  // not installed, saying how it is.
  TaskEvaluation(TaskOptions options, Reporter& reporter);
  ~TaskEvaluation();
  TaskEvaluation(const TaskEvaluation&) = delete;
  TaskEvaluation& operator=(const TaskEvaluation&) = delete;

  // {"results": by task, "table": as lm-eval prints it, "failed": [{"tasks", "error"}], ...}. Throws
  // ErrorCode::resource when no task came to an end, and what opening the model throws.
  [[nodiscard]] json::Object run(const TaskModelOptions& model, const Registry& registry, Reporter& reporter);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

template <>
ARKIT_EXPORT std::span<const OptionOf<TaskOptions>> option_table();
template <>
ARKIT_EXPORT std::span<const OptionOf<TaskModelOptions>> option_table();

}  // namespace arkit
