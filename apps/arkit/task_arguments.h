#pragma once
// Evaluation with tasks, from what was typed to what people see.

#include <arkit/engine/task_eval.h>

#include "command.h"

namespace arkit::cli {

// Of `eval lm`, and of `quantize`, where no tasks may be named; then nothing else of it may be given either
// (ErrorCode::usage). AutoRound's warning of models whose tokenizer leaves the first token out while lm-eval runs: where
// "llama" is in the name, it is put there, unless the user says otherwise.
[[nodiscard]] TaskOptions read_task_options(const Arguments& arguments, const std::string& model, Reporter& reporter);

// lm-eval's table, and what failed.
[[nodiscard]] std::string describe_tasks(const json::Object& evaluation);

// 0, or ErrorCode::resource where a task failed.
[[nodiscard]] int task_exit_code(const json::Object& evaluation);

}  // namespace arkit::cli
