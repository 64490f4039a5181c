// Tasks over a server of our own: what it answers lm-eval is what the model computes.
#include <filesystem>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/task_eval.h>
#include <arkit/error.h>
#include <arkit/model_source.h>

#include "cli/run_program.h"
#include "inference/engine.h"
#include "inference/support.h"
#include "process_environment.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

// The log-likelihood of ids[1..] by a forward over all of them.
double expected(Engine& engine, const std::vector<int64_t>& ids) {
  const at::Tensor logits = engine.forward(at::tensor(ids).unsqueeze(0), {}, {}, false)[0].to(at::kDouble);
  const at::Tensor next = at::tensor(ids).narrow(0, 1, static_cast<int64_t>(ids.size()) - 1).unsqueeze(1);
  return logits.log_softmax(-1).narrow(0, 0, next.size(0)).gather(1, next).sum().item<double>();
}

TEST(ServedTasks, AreScoredAsTheModelComputes) {
  if (cli_test::program({"python3", "-c", ""}).exit_code != 0) GTEST_SKIP() << "needs python3 in PATH";
  const testing::Environment fake("PYTHONPATH", ARKIT_FAKE_HARNESS);
  const fs::path model = fs::path(ARKIT_TEST_DATA) / "golden/source-llama-bf16";
  TaskEvaluation evaluation({.tasks = {"scoring"}}, tests::silent());
  const json::Object got = evaluation.run({.model = model.string()}, tests::registry(), tests::silent());
  const auto source = open_hf_folder(model);
  Engine engine(*source, tests::registry(), at::kFloat, "");
  engine.load_all();
  const json::Value& scores = got.at("results").at("scoring");
  EXPECT_NEAR(scores.at("log_likelihood_0,none").as_double(), expected(engine, {5, 6, 7, 8, 9}), 1e-4);
  EXPECT_NEAR(scores.at("log_likelihood_1,none").as_double(), expected(engine, {10, 11, 12}), 1e-4);
}

TEST(ServedTasks, OfAModelThatCannotBeOpenedSayWhy) {
  if (cli_test::program({"python3", "-c", ""}).exit_code != 0) GTEST_SKIP() << "needs python3 in PATH";
  const testing::Environment fake("PYTHONPATH", ARKIT_FAKE_HARNESS);
  TaskEvaluation evaluation({.tasks = {"scoring"}}, tests::silent());
  EXPECT_THROW((void)evaluation.run({.model = "/no/such/model"}, tests::registry(), tests::silent()), Error);
  EXPECT_THROW((void)evaluation.run({.model = "m", .device = "no_such_device"}, tests::registry(), tests::silent()),
               Error);
}

}  // namespace
}  // namespace arkit
