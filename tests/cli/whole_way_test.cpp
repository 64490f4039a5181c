// The real program through quantize, verify, eval and convert, each in a process of its own, on a tiny model.
#include <cmath>
#include <filesystem>
#include <fstream>

#include <stdlib.h>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "run_program.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using cli_test::Outcome;
using cli_test::run_arkit;

class WholeWay : public testing::Test {
 protected:
  WholeWay() {
    char name[] = "/tmp/arkit_way_XXXXXX";
    folder_ = ::mkdtemp(name);
    std::ofstream text(text_);
    for (int line = 0; line < 60; ++line)
      text << "The quick brown fox number " << line << " jumps over the lazy dog.\n";
  }
  ~WholeWay() override { fs::remove_all(folder_); }

  // Standard output as JSON of a command that must succeed.
  static json::Object result_of(std::vector<std::string> arguments) {
    arguments.emplace_back("--json");
    const Outcome run = run_arkit(arguments);
    EXPECT_EQ(run.exit_code, 0) << arguments.front() << ": " << run.err << run.out;
    if (run.exit_code != 0) return {};
    return json::parse(run.out, "stdout").as_object();
  }
  double perplexity(const std::string& model) {
    const json::Object result =
        result_of({"eval", "ppl", model, "--text", text_, "--seqlen", "32", "--max_windows", "4"});
    return result.contains("perplexity") ? result.at("perplexity").as_double() : std::nan("");
  }
  std::string in(const std::string& name) const { return (folder_ / name).string(); }

  const std::string model_ = ARKIT_TEST_DATA "/golden/source-llama-bf16";
  fs::path folder_;
  const std::string text_ = in("text.txt");
};

}  // namespace

TEST_F(WholeWay, QuantizeVerifyEvalConvert) {
  const std::string first = in("first"), second = in("second");
  const json::Object made =
      result_of({"quantize", model_, "--scheme", "W4A16", "--group_size", "32", "--iters", "3", "--dataset", "self",
                 "--nsamples", "4", "--seqlen", "16", "--format", "auto_round", "--output_dir", first});
  EXPECT_EQ(made.at("method").as_string(), "SignRound");
  EXPECT_EQ(made.at("quantized_layers").to_number<int64_t>(), 14);
  EXPECT_TRUE(result_of({"verify", first, "--against", model_}).at("passed").as_bool());

  // Four bits cost a little of a model that knows nothing; another packing of the same codes costs nothing more.
  const double source = perplexity(model_), quantized = perplexity(first);
  EXPECT_GT(source, 1.0);
  EXPECT_NE(quantized, source);
  EXPECT_NEAR(quantized / source, 1.0, 0.05);

  (void)result_of({"convert", first, "--format", "auto_gptq", "--output_dir", second});
  EXPECT_TRUE(result_of({"verify", second, "--against", model_}).at("passed").as_bool());
  EXPECT_DOUBLE_EQ(perplexity(second), quantized);
  EXPECT_TRUE(result_of({"diff", first, second}).at("equal").as_bool());

  // A damaged code is noticed by the program that reads it back.
  std::fstream file(fs::path(second) / "model.safetensors", std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-4000, std::ios::end);
  const std::string noise(64, '\x5a');
  file.write(noise.data(), static_cast<std::streamsize>(noise.size()));
  file.close();
  EXPECT_EQ(run_arkit({"verify", second, "--against", model_}).exit_code, 6);
}
