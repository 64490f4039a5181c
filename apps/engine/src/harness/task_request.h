#pragma once
// What lm-eval is asked, in the words of share/harness/run_tasks.py.

#include <string>
#include <utility>
#include <vector>

#include <arkit/engine/task_eval.h>
#include <arkit/json.h>

namespace arkit::harness {

// Throws ErrorCode::usage for values out of range and for what would do nothing beside the others.
void check_task_options(const TaskOptions& options);

// "tensor_parallel_size=2,--gpu_memory_utilization=0.8": whole numbers, numbers with a point, true and false are
// themselves, anything else a text. Throws ErrorCode::usage.
[[nodiscard]] json::Object read_arguments(const std::string& text, const std::string& where);

// Modules a run needs, the first of them lm_eval.
[[nodiscard]] std::vector<std::string> needed_modules(const TaskOptions& options);
// What installs them: "pip install 'lm-eval[api]'".
[[nodiscard]] std::string install_command(const TaskOptions& options);

// "check": true.
[[nodiscard]] json::Object check_request(const TaskOptions& options);

// GPUs by number, "0,1"; none for other words.
[[nodiscard]] std::vector<std::string> gpus_of(const std::string& device);

// Of a run by another program: hf and vllm open the model themselves.
[[nodiscard]] json::Object run_request(const TaskOptions& options, const TaskModelOptions& model);
// Of a run over a server at `url`, which calls its model `name`.
[[nodiscard]] json::Object served_request(const TaskOptions& options, const std::string& url, const std::string& name);

}  // namespace arkit::harness
