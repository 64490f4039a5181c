// What is asked of lm-eval, what it draws, and where Python is looked for.
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <arkit/error.h>

#include "harness/interpreter.h"
#include "harness/progress_line.h"
#include "harness/task_request.h"
#include "process_environment.h"
#include "temporary_folder.h"

namespace arkit::harness {
namespace {

namespace fs = std::filesystem;
using arkit::testing::Environment;
using arkit::testing::TemporaryFolder;

ErrorCode refusal(TaskOptions options) {
  if (options.tasks.empty()) options.tasks = {"good"};
  try {
    check_task_options(options);
  } catch (const Error& error) {
    return error.code();
  }
  return ErrorCode::internal;
}

TEST(ProgressLine, IsFoundInWhatPythonDraws) {
  const auto drawn = progress_in("Requesting API:  12%|█▏        | 60/500 [00:10<01:13,  6.0it/s]");
  ASSERT_TRUE(drawn);
  EXPECT_EQ(drawn->what, "Requesting API");
  EXPECT_EQ(drawn->done, 60);
  EXPECT_EQ(drawn->total, 500);
  const auto bare = progress_in("100%|####| 5/5 [00:00<?, ?it/s]");
  ASSERT_TRUE(bare);
  EXPECT_EQ(bare->what, "");
  EXPECT_EQ(bare->done, 5);
  for (const char* line : {"", "12% of | 3/4 [", "x%|y| 3/4 [", "5%|y| a/4 [", "5%|y| 3/ [", "5%|y| -3/4 [1",
                           "5%|y| 3/4", "5%|| 99999999999999999999/4 [0", "Traceback (most recent call last):"})
    EXPECT_FALSE(progress_in(line)) << line;
}

TEST(TaskRequest, ReadsArgumentsAsTheGuideWritesThem) {
  const json::Object got = read_arguments(
      "tensor_parallel_size=2,--gpu_memory_utilization=0.8,enforce_eager=True,quantization=awq,seed=-1", "--vllm_args");
  EXPECT_EQ(got.at("tensor_parallel_size"), 2);
  EXPECT_EQ(got.at("gpu_memory_utilization"), 0.8);
  EXPECT_EQ(got.at("enforce_eager"), true);
  EXPECT_EQ(got.at("quantization"), "awq");
  EXPECT_EQ(got.at("seed"), -1);
  for (const char* bad : {"a", "=1", "a=", "a=1,b"})
    EXPECT_THROW((void)read_arguments(bad, "--vllm_args"), Error) << bad;
}

TEST(TaskRequest, RefusesWhatCannotBeOrDoesNothing) {
  EXPECT_EQ(refusal({}), ErrorCode::internal) << "nothing is wrong";
  EXPECT_EQ(refusal({.eval_bs = 0}), ErrorCode::usage);
  EXPECT_EQ(refusal({.vllm_args = "a=1"}), ErrorCode::usage) << "nothing reads them";
  EXPECT_EQ(refusal({.eval_backend = "vllm", .vllm_args = "a=1"}), ErrorCode::internal);
  EXPECT_EQ(refusal({.eval_backend = "vllm", .vllm_args = "a"}), ErrorCode::usage);
  EXPECT_EQ(refusal({.eval_model_dtype = "float16"}), ErrorCode::usage);
  EXPECT_EQ(refusal({.limit = 0.0}), ErrorCode::usage);
  EXPECT_EQ(refusal({.limit = 2.5}), ErrorCode::usage);
  EXPECT_EQ(refusal({.num_fewshot = -1}), ErrorCode::usage);
  EXPECT_EQ(refusal({.include_path = "/no/such/folder"}), ErrorCode::input);
}

TEST(TaskRequest, SaysWhatAnotherProgramComputesWith) {
  TaskOptions options{
      .tasks = {"good"}, .eval_backend = "vllm", .eval_bs = 16, .vllm_args = "dtype=half", .limit = 0.5};
  const json::Object vllm = run_request(options, {.model = "m", .device = "0,1"});
  EXPECT_EQ(vllm.at("model"), "vllm");
  EXPECT_EQ(vllm.at("model_args").at("pretrained"), "m");
  EXPECT_EQ(vllm.at("model_args").at("tensor_parallel_size"), 2) << "as many as there are GPUs named";
  EXPECT_EQ(vllm.at("model_args").at("dtype"), "half") << "what vllm_args say wins";
  EXPECT_EQ(vllm.at("batch_size"), 16);
  EXPECT_EQ(vllm.at("limit"), 0.5);
  options = {.tasks = {"good"}, .eval_backend = "hf", .limit = 100, .num_fewshot = 3, .eval_gen_kwargs = "top_p=0.9"};
  const json::Object hf = run_request(options, {.model = "m", .device = "cpu"});
  EXPECT_EQ(hf.at("device"), "cpu");
  EXPECT_EQ(hf.at("batch_size"), "auto:8");
  EXPECT_EQ(hf.at("limit"), 100);
  EXPECT_EQ(hf.at("num_fewshot"), 3);
  EXPECT_EQ(hf.at("gen_kwargs").at("top_p"), 0.9);
  EXPECT_FALSE(hf.at("model_args").as_object().contains("parallelize"));
}

TEST(TaskRequest, SaysWhereTheServerIs) {
  const json::Object got = served_request({.tasks = {"good"}, .add_bos_token = true}, "http://127.0.0.1:5", "name");
  EXPECT_EQ(got.at("model"), "local-completions");
  EXPECT_EQ(got.at("model_args").at("base_url"), "http://127.0.0.1:5/v1/completions");
  EXPECT_EQ(got.at("model_args").at("model"), "name");
  EXPECT_EQ(got.at("model_args").at("add_bos_token"), true);
}

fs::path write_program(const TemporaryFolder& folder, const std::string& name, const std::string& text) {
  const fs::path file = folder.write(name, text);
  fs::permissions(file, fs::perms::owner_all);
  return file;
}

TEST(Interpreters, AreLookedForWhereLmEvalIs) {
  const TemporaryFolder folder;
  const fs::path named = write_program(folder, "tools/bin/python3.11", "#!/bin/sh\n"),
                 active = write_program(folder, "active/bin/python3", "#!/bin/sh\n"),
                 first = write_program(folder, "path/python3", "#!/bin/sh\n");
  write_program(folder, "path/lm_eval", "#!" + named.string() + "\nimport sys\n");
  const Environment path("PATH", "relative:" + (folder.path() / "path").string());
  const Environment environment("VIRTUAL_ENV", (folder.path() / "active").string());
  EXPECT_EQ(interpreters({}), (std::vector<fs::path>{active, named, first}));
  EXPECT_EQ(interpreters(named), std::vector<fs::path>{named});
  EXPECT_EQ(interpreters("python3"), std::vector<fs::path>{first});
  EXPECT_THROW((void)interpreters(folder.path() / "none"), Error);
  EXPECT_THROW((void)interpreters(folder.path()), Error) << "a folder";
  write_program(folder, "path/lm_eval", "#!/bin/sh\nexec python3\n");
  EXPECT_EQ(interpreters({}), (std::vector<fs::path>{active, first})) << "a shell is no Python";
}

}  // namespace
}  // namespace arkit::harness
