// Tasks by a package that stands in for lm-eval: results, failures, and what is known before anything is computed.
#include <arkit/engine/task_eval.h>

#include <chrono>
#include <csignal>
#include <fstream>
#include <thread>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include <arkit/error.h>

#include "cli/run_program.h"
#include "inference/support.h"
#include "process_environment.h"
#include "temporary_folder.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using arkit::testing::Environment;
using arkit::testing::TemporaryFolder;
using cli_test::contains;
using cli_test::Outcome;

struct Recorder final : Reporter {
  void info(std::string_view text) override { said.emplace_back(text); }
  void warn(std::string_view text) override { warnings.emplace_back(text); }
  void progress(const Progress& one) override { seen.push_back({std::string(one.what), one.done, one.total}); }
  struct Seen {
    std::string what;
    int64_t done, total;
    bool operator==(const Seen&) const = default;
  };
  std::vector<std::string> said, warnings;
  std::vector<Seen> seen;
};

class Tasks : public ::testing::Test {
 protected:
  Tasks() {
    environment_.set("PYTHONPATH", ARKIT_FAKE_HARNESS);
    environment_.unset("VIRTUAL_ENV");
  }
  void SetUp() override {
    if (cli_test::program({"python3", "-c", ""}).exit_code != 0) GTEST_SKIP() << "needs python3 in PATH";
  }
  // By "hf", which opens the model itself: the stand-in opens none.
  json::Object run(TaskOptions options, const std::string& model = "m") {
    options.eval_backend = "hf";
    TaskEvaluation evaluation(options, recorder_);
    return evaluation.run({.model = model}, tests::registry(), recorder_);
  }
  template <typename Call>
  static std::string refusal(ErrorCode code, const Call& call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code) << error.what();
      return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return {};
  }

  Environment environment_;
  Recorder recorder_;
};

TEST_F(Tasks, GiveResultsTableAndProgress) {
  const json::Object got = run({.tasks = {"good", "printing"}});
  EXPECT_EQ(got.at("results").at("good").at("acc,none"), 0.5);
  EXPECT_TRUE(got.at("results").at("good").at("acc_stderr,none").is_null()) << "no number";
  EXPECT_EQ(got.at("versions").at("printing"), 1);
  EXPECT_TRUE(got.at("failed").as_array().empty());
  EXPECT_TRUE(contains(got.at("table").as_string().c_str(), "|good|acc,none|0.5|"));
  EXPECT_EQ(recorder_.seen.at(1), (Recorder::Seen{"lm-eval: requesting api", 2, 3}));
  EXPECT_EQ(recorder_.seen.size(), 6U);
  EXPECT_EQ(recorder_.said.size(), 2U) << "what tasks print is no answer";
}

TEST_F(Tasks, AreAskedWithEveryWord) {
  const std::string model = "a,b='c' \"d\" $(touch /tmp/x);{e}\n=f";
  const json::Object got = run({.tasks = {"telling"},
                                .eval_bs = 3,
                                .limit = 20,
                                .num_fewshot = 2,
                                .eval_gen_kwargs = "temperature=0.5",
                                .fewshot_as_multiturn = true,
                                .add_bos_token = true},
                               model);
  const json::Value told = json::parse(got.at("results").at("telling").at("told,none").as_string().c_str(), "told");
  EXPECT_EQ(told.at("arguments").at("pretrained"), model.c_str());
  EXPECT_EQ(told.at("arguments").at("add_bos_token"), true);
  EXPECT_EQ(told.at("beside").at("batch_size"), 3);
  const json::Object wishes{{"limit", 20},
                            {"num_fewshot", 2},
                            {"gen_kwargs", json::Object{{"temperature", 0.5}}},
                            {"fewshot_as_multiturn", true}};
  EXPECT_EQ(told.at("wishes"), wishes);
}

TEST_F(Tasks, ThatFailAreReportedAndTheOthersRun) {
  const json::Object got = run({.tasks = {"good", "failing", "better"}, .eval_task_by_task = true});
  EXPECT_EQ(got.at("results").as_object().size(), 2U);
  ASSERT_EQ(got.at("failed").as_array().size(), 1U);
  EXPECT_EQ(got.at("failed").at(0).at("tasks"), json::Array{"failing"});
  EXPECT_EQ(got.at("failed").at(0).at("error"), "ValueError: the data is");
  ASSERT_EQ(recorder_.warnings.size(), 1U);
  EXPECT_EQ(recorder_.warnings.front(), "failed: failing: ValueError: the data is");
  // Patterns are tasks, too.
  EXPECT_EQ(run({.tasks = {"*r", "f*"}, .eval_task_by_task = true}).at("results").as_object().size(), 1U);
}

TEST_F(Tasks, AllFailWithOneWhereTheyRunTogether) {
  const std::string said = refusal(ErrorCode::resource, [&] { (void)run({.tasks = {"good", "failing"}}); });
  EXPECT_TRUE(contains(said, "no task was evaluated: good, failing: ValueError: the data is")) << said;
  EXPECT_TRUE(contains(refusal(ErrorCode::resource, [&] { (void)run({.tasks = {"good"}}, "refused"); }),
                       "RuntimeError: this model cannot be opened"));
}

TEST_F(Tasks, ThatTakeThePythonWithThemAreReported) {
  const json::Object got = run({.tasks = {"good", "dying", "better"}, .eval_task_by_task = true});
  EXPECT_EQ(got.at("results").as_object().size(), 1U);
  EXPECT_TRUE(contains(got.at("failed").at(0).at("error").as_string().c_str(), "ended by signal 9"));
  EXPECT_EQ(run({.tasks = {"leaving", "better"}, .eval_task_by_task = true}).at("failed").as_array().size(), 1U);
}

TEST_F(Tasks, OfAFolderAreKnown) {
  const TemporaryFolder folder;
  folder.write("mine", "");
  EXPECT_EQ(run({.tasks = {"mine"}, .include_path = folder.path()}).at("results").as_object().size(), 1U);
}

TEST_F(Tasks, AreLookedForBeforeAnything) {
  const auto check = [&](const TaskOptions& options) { const TaskEvaluation evaluation(options, recorder_); };
  EXPECT_TRUE(contains(refusal(ErrorCode::usage,
                               [&] {
                                 check({.tasks = {"good", "godo", "nothing"}});
                               }),
                       "lm-eval knows no task godo, nothing; '"));
  const std::string vllm = refusal(ErrorCode::unsupported, [&] { check({.tasks = {"good"}, .eval_backend = "vllm"}); });
  EXPECT_TRUE(contains(vllm, "--eval_backend vllm") && contains(vllm, "lacks vllm")) << vllm;
  EXPECT_TRUE(contains(vllm, "pip install 'lm-eval[vllm]'")) << vllm;
  {
    const TemporaryFolder nothing;
    const Environment without("PYTHONPATH", nothing.path().string());
    const fs::path broken = nothing.write("python3", "#!/bin/sh\necho no library >&2\nexit 1\n");
    fs::permissions(broken, fs::perms::owner_all);
    const std::string said = refusal(ErrorCode::unsupported, [&] { check({.tasks = {"good"}, .python = broken}); });
    EXPECT_TRUE(contains(said, "ended with exit code 1: no library")) << said;
    const Environment path("PATH", nothing.path().string());
    fs::remove(broken);
    EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { check({.tasks = {"good"}}); }),
                         "no Python is there to run it; install Python 3 and then: pip install 'lm-eval[api]'"));
  }
}

// The whole program.
class Program : public Tasks {
 protected:
  Outcome arkit(std::vector<std::string> words) {
    words.push_back("--quiet");
    return cli_test::run_arkit(words);
  }
  const std::string model_ = (fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16").string();
  TemporaryFolder folder_;
};

TEST_F(Program, QuantizesAndEvaluatesTheLastFormat) {
  const std::string out = (folder_.path() / "out").string();
  const Outcome run = arkit({"quantize", model_, "--recipe", "rtn", "--group_size", "32", "--format", "auto_round,fake",
                             "--output_dir", out, "--tasks", "telling", "--eval_backend", "hf", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const json::Value got = json::parse(run.out, "stdout");
  const json::Value& evaluation = got.at("evaluation");
  const json::Value told =
      json::parse(evaluation.at("results").at("telling").at("told,none").as_string().c_str(), "told");
  EXPECT_EQ(told.at("arguments").at("pretrained"), got.at("outputs").at(1).at("output_dir"));
  EXPECT_EQ(told.at("arguments").at("add_bos_token"), true) << "'llama' is in the name";
}

TEST_F(Program, SaysThatTheExportIsThereWhenTasksFail) {
  const std::string out = (folder_.path() / "out").string();
  const Outcome run = arkit({"quantize", model_, "--recipe", "rtn", "--group_size", "32", "--output_dir", out,
                             "--tasks", "failing", "--eval_backend", "hf"});
  EXPECT_EQ(run.exit_code, 5);
  EXPECT_TRUE(contains(run.err, "the export is complete: '" + out)) << run.err;
  EXPECT_TRUE(fs::exists(fs::path(out) / "arkit-run.json"));
}

TEST_F(Program, KnowsWhatIsMissingBeforeItQuantizes) {
  const std::string out = (folder_.path() / "out").string();
  const std::vector<std::string> words{"quantize",     model_, "--recipe",     "rtn",
                                       "--group_size", "32",   "--output_dir", out};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return arkit(more);
  };
  EXPECT_EQ(with({"--tasks", "godo"}).exit_code, 2);
  EXPECT_EQ(with({"--tasks", "good", "--eval_backend", "vllm"}).exit_code, 4);
  EXPECT_EQ(with({"--tasks", "good", "--python", "/no/such/python"}).exit_code, 3);
  const Outcome idle = with({"--limit", "3"});
  EXPECT_EQ(idle.exit_code, 2);
  EXPECT_TRUE(contains(idle.err, "--limit has no effect without --tasks")) << idle.err;
  EXPECT_FALSE(fs::exists(out));
}

TEST_F(Program, OfTheGuideEvaluatesWithoutQuantizing) {
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"quantize", "--model=" + model_, "--eval", "--device_map", "0,1", "--tasks", "telling",
                                 "--eval_bs", "16"},
        {"eval", model_, "--tasks", "telling", "--device_map", "0,1", "--bs", "16"},
        {"eval", "--model", model_, "--tasks", "telling", "--devices", "0,1", "--batch_size", "16"}}) {
    std::vector<std::string> all = words;
    all.insert(all.end(), {"--eval_backend", "hf", "--json"});
    const Outcome run = arkit(all);
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const json::Value got = json::parse(run.out, "stdout");
    const json::Value told = json::parse(got.at("results").at("telling").at("told,none").as_string().c_str(), "told");
    EXPECT_EQ(told.at("arguments").at("pretrained"), model_.c_str());
    EXPECT_EQ(told.at("arguments").at("parallelize"), true);
    EXPECT_EQ(told.at("beside").at("batch_size"), 16);
  }
}

TEST_F(Program, LeavesNobodyBehindOnCtrlC) {
  const fs::path file = folder_.path() / "pids";
  const pid_t us = ::fork();
  if (us == 0) {
    ::setenv("FAKE_HARNESS_PIDS", file.c_str(), 1);
    ::execl(ARKIT_BINARY, "arkit", "eval", "lm", model_.c_str(), "--tasks", "sleeping", "--eval_backend", "hf",
            "--quiet", nullptr);
    ::_exit(127);
  }
  std::vector<pid_t> processes;
  for (int i = 0; i < 1500 && processes.size() < 2; ++i) {
    std::ifstream in(file);
    for (pid_t number = 0; in >> number;) processes.push_back(number);
    if (processes.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  ::kill(us, SIGINT);
  int status = 0;
  ::waitpid(us, &status, 0);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 130);
  ASSERT_EQ(processes.size(), 2U);
  for (const pid_t process : processes) {
    for (int i = 0; i < 300 && ::kill(process, 0) == 0; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_NE(::kill(process, 0), 0) << process;
  }
}

}  // namespace
}  // namespace arkit
