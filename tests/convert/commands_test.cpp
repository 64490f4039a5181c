// The two commands through the real program: options, tables, exit codes.
#include <gtest/gtest.h>

#include <filesystem>

#include "cli/run_program.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

const std::string kGolden = testing::tiny_model("auto_round-W4A16");

TEST(Commands, ConvertThenDiff) {
  const testing::TemporaryFolder folder;
  const std::string out = (folder.path() / "gptq").string();
  const Outcome wrote = run_arkit({"convert", kGolden, "--format", "auto_gptq", "-o", out});
  ASSERT_EQ(wrote.exit_code, 0) << wrote.err;
  EXPECT_TRUE(contains(wrote.out, "14 layers with equal codes and zero points, equal scales")) << wrote.out;

  const Outcome same = run_arkit({"diff", kGolden, out, "--exit-code"});
  EXPECT_EQ(same.exit_code, 0) << same.err;
  EXPECT_TRUE(contains(same.out, "equal")) << same.out;
  EXPECT_FALSE(contains(same.out, "model.layers")) << "layers that do not differ are no news";

  const std::string model = testing::tiny_model("source-llama-bf16");
  const Outcome other = run_arkit({"diff", model, out});
  EXPECT_EQ(other.exit_code, 0) << "a difference is no failure unless asked for";
  EXPECT_TRUE(contains(other.out, "more layers")) << other.out;
  EXPECT_EQ(run_arkit({"diff", model, out, "--exit_code"}).exit_code, 6);
  const Outcome json = run_arkit({"diff", model, out, "--json"});
  EXPECT_EQ(json::parse(json.out, "stdout").at("layers").as_array().size(), 14U);
}

TEST(Commands, DryRunWritesNothing) {
  const testing::TemporaryFolder folder;
  const std::string out = (folder.path() / "no").string();
  const Outcome run =
      run_arkit({"convert", kGolden, "--format", "mlx,llm_compressor", "--output_dir", out, "--dry-run"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  EXPECT_TRUE(contains(run.out, "llm_compressor")) << run.out;
  EXPECT_FALSE(std::filesystem::exists(out));
}

TEST(Commands, SayWhatIsMissing) {
  const Outcome no_format = run_arkit({"convert", kGolden});
  EXPECT_EQ(no_format.exit_code, 2);
  EXPECT_TRUE(contains(no_format.err, "--format")) << no_format.err;
  EXPECT_EQ(run_arkit({"diff", kGolden}).exit_code, 2);
  EXPECT_EQ(run_arkit({"convert"}).exit_code, 2);
}

}  // namespace
}  // namespace arkit
