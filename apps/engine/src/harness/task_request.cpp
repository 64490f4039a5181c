#include "harness/task_request.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::harness {
namespace {

constexpr int64_t kServerBatch = 8;
constexpr std::string_view kOwn = "arkit", kVllm = "vllm";

json::Value value_of(const std::string& text) {
  if (text == "true" || text == "false" || text == "True" || text == "False")
    return text.front() == 't' || text.front() == 'T';
  const char *begin = text.data(), *end = begin + text.size();
  int64_t whole = 0;
  if (const auto [rest, error] = std::from_chars(begin, end, whole); error == std::errc() && rest == end) return whole;
  double number = 0;
  if (const auto [rest, error] = std::from_chars(begin, end, number);
      error == std::errc() && rest == end && std::isfinite(number))
    return number;
  return text.c_str();
}

template <typename T>
json::Value or_null(const std::optional<T>& value) {
  return value ? json::Value(*value) : json::Value(nullptr);
}

json::Array as_array(const std::vector<std::string>& words) {
  json::Array array;
  for (const std::string& word : words) array.push_back(word.c_str());
  return array;
}

// What is the same whoever computes.
json::Object common_request(const TaskOptions& options, bool check) {
  json::Object request{
      {"needs", as_array(needed_modules(options))},
      {"tasks", as_array(options.tasks)},
      {"include_path", nullptr},
      {"check", check},
      {"task_by_task", options.eval_task_by_task},
      {"num_fewshot", or_null(options.num_fewshot)},
      {"gen_kwargs", nullptr},
      {"fewshot_as_multiturn", options.fewshot_as_multiturn ? json::Value(true) : json::Value(nullptr)},
      {"device", nullptr}};
  request["limit"] = nullptr;
  if (options.limit && *options.limit >= 1)
    request["limit"] = static_cast<int64_t>(*options.limit);
  else if (options.limit)
    request["limit"] = *options.limit;
  if (!options.include_path.empty()) request["include_path"] = std::filesystem::absolute(options.include_path).string();
  if (!options.eval_gen_kwargs.empty())
    request["gen_kwargs"] = read_arguments(options.eval_gen_kwargs, "--eval_gen_kwargs");
  return request;
}

}  // namespace

void check_task_options(const TaskOptions& options) {
  if (options.tasks.empty()) throw_usage("no task is named; give --tasks NAME,...");
  if (options.eval_bs && *options.eval_bs < 1) throw_usage(str("eval_bs ", *options.eval_bs, " must be 1 or more"));
  if (options.limit && !(*options.limit > 0 && *options.limit <= 1e15))
    throw_usage(str("limit ", *options.limit, " must be above 0"));
  if (options.limit && *options.limit > 1 && *options.limit != std::floor(*options.limit))
    throw_usage(str("limit ", *options.limit, " is neither a number of examples nor a share below 1"));
  if (options.num_fewshot && *options.num_fewshot < 0)
    throw_usage(str("num_fewshot ", *options.num_fewshot, " must be 0 or more"));
  if (!options.vllm_args.empty() && options.eval_backend != kVllm)
    throw_usage("--vllm_args has no effect without --eval_backend vllm; leave it out or add that");
  if (options.eval_backend == kOwn && options.eval_model_dtype == "float16")
    throw_usage("--eval_model_dtype float16: arkit computes in float32 or bfloat16; give one of these");
  (void)read_arguments(options.vllm_args, "--vllm_args");
  (void)read_arguments(options.eval_gen_kwargs, "--eval_gen_kwargs");
  if (std::error_code error;
      !options.include_path.empty() && !std::filesystem::is_directory(options.include_path, error))
    throw_input(str("--include_path '", printable(options.include_path.string(), 400), "': is no folder"));
}

json::Object read_arguments(const std::string& text, const std::string& where) {
  json::Object arguments;
  for (std::string pair : split(text, ',')) {
    pair.erase(0, pair.find_first_not_of("- "));
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == pair.size())
      throw_usage(str(where, ": '", printable(pair, 60), "' is not of the form NAME=VALUE"));
    arguments[pair.substr(0, equals)] = value_of(pair.substr(equals + 1));
  }
  return arguments;
}

std::vector<std::string> needed_modules(const TaskOptions& options) {
  if (options.eval_backend == kOwn) return {"lm_eval", "requests", "aiohttp", "tenacity", "tqdm"};
  if (options.eval_backend == kVllm) return {"lm_eval", "vllm"};
  return {"lm_eval", "torch", "transformers", "accelerate"};
}

std::string install_command(const TaskOptions& options) {
  const std::string extra = options.eval_backend == kOwn ? "api" : options.eval_backend;
  return str("pip install 'lm-eval[", extra, "]'");
}

json::Object check_request(const TaskOptions& options) {
  return common_request(options, true);
}

std::vector<std::string> gpus_of(const std::string& device) {
  if (device.empty() || device.find_first_not_of("0123456789,") != std::string::npos) return {};
  std::vector<std::string> gpus;
  for (const std::string& word : split(device, ','))
    if (!word.empty()) gpus.push_back(word);
  return gpus;
}

json::Object run_request(const TaskOptions& options, const TaskModelOptions& model) {
  json::Object request = common_request(options, false);
  const bool vllm = options.eval_backend == kVllm;
  const std::vector<std::string> gpus = gpus_of(model.device);
  json::Object arguments{{"pretrained", model.model},
                         {"dtype", options.eval_model_dtype.empty() ? std::string("auto") : options.eval_model_dtype},
                         {"trust_remote_code", false},
                         {"add_bos_token", options.add_bos_token}};
  if (vllm && gpus.size() > 1) arguments["tensor_parallel_size"] = gpus.size();
  if (!vllm && gpus.size() > 1) arguments["parallelize"] = true;
  for (auto& [name, value] : read_arguments(options.vllm_args, "--vllm_args")) arguments[name] = value;
  request["model"] = options.eval_backend;
  request["model_args"] = std::move(arguments);
  request["batch_size"] = options.eval_bs ? json::Value(*options.eval_bs) : json::Value(vllm ? "auto" : "auto:8");
  if (model.device == "cpu" || model.device.starts_with("cuda")) request["device"] = model.device;
  return request;
}

json::Object served_request(const TaskOptions& options, const std::string& url, const std::string& name) {
  json::Object request = common_request(options, false);
  request["model"] = "local-completions";
  // The server has time to compute; its own limits end what does not come to an end.
  constexpr int64_t kTimeout = 3600;
  request["model_args"] = json::Object{{"model", name},
                                       {"base_url", str(url, "/v1/completions")},
                                       {"tokenizer_backend", "remote"},
                                       {"tokenized_requests", true},
                                       {"max_retries", 1},
                                       {"timeout", kTimeout},
                                       {"add_bos_token", options.add_bos_token}};
  request["batch_size"] = options.eval_bs.value_or(kServerBatch);
  return request;
}

}  // namespace arkit::harness
