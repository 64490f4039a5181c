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

fs::path make_folder() {
  char name[] = "/tmp/arkit_way_XXXXXX";
  return ::mkdtemp(name);
}

class WholeWay : public testing::Test {
 protected:
  WholeWay() {
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
  const fs::path folder_ = make_folder();
  const std::string text_ = in("text.txt");
};

}  // namespace

// Whoever sees only the result sees what it is; and a file that a plan saved makes a run.
TEST_F(WholeWay, APlanIsCalledOne) {
  const std::vector<std::string> words{"quantize", model_, "--recipe", "rtn", "--group_size",
                                       "32",       "-o",   in("out"),  "-q"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), words.begin(), words.end());
    return run_arkit(more);
  };
  const std::string saved = in("options.toml");
  const Outcome plan = with({"--dry_run", "--save_config", saved});
  EXPECT_EQ(plan.exit_code, 0) << plan.err;
  EXPECT_TRUE(plan.out.starts_with("a plan: nothing was written")) << plan.out;
  EXPECT_FALSE(fs::exists(in("out")));
  const Outcome made = run_arkit({"quantize", model_, "--config", saved, "-q"});
  EXPECT_EQ(made.exit_code, 0) << made.err;
  EXPECT_FALSE(cli_test::contains(made.out, "nothing was written")) << made.out;
  EXPECT_TRUE(fs::exists(in("out")));
  const Outcome converted =
      run_arkit({"convert", in("out"), "--format", "auto_gptq", "-o", in("gptq"), "--dry_run", "-q"});
  EXPECT_TRUE(converted.out.starts_with("a plan: nothing was written")) << converted.out << converted.err;
}

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

// What a user sees of `arkit reproduce`: the same bytes, or the name of what is another and exit code 6.
TEST_F(WholeWay, ReproducesOrNamesWhatDiffers) {
  const std::string made = in("made"), again = in("again"), model = in("model");
  fs::copy(model_, model, fs::copy_options::recursive);
  (void)result_of({"quantize", model, "--group_size", "32", "--iters", "2", "--dataset", text_, "--nsamples", "4",
                   "--seqlen", "8", "--output_dir", made});
  const Outcome same = run_arkit({"reproduce", made, "--output_dir", again});
  EXPECT_EQ(same.exit_code, 0) << same.err << same.out;
  EXPECT_TRUE(cli_test::contains(same.out, "versions, plugins, model and data are as recorded\nall "));
  EXPECT_TRUE(cli_test::contains(same.out, " files are the same: " + again + "\n")) << same.out;
  EXPECT_EQ(run_arkit({"reproduce", made, "--dry-run"}).exit_code, 0);
  EXPECT_EQ(run_arkit({"reproduce", made, "--output_dir", again}).exit_code, 3);  // it is there; --force replaces it
  EXPECT_EQ(run_arkit({"reproduce", made, "--output_dir", again, "--force"}).exit_code, 0);

  std::ofstream(text_) << "Now the text of the calibration is another one, and long enough for all of the samples.\n"
                          "A second document has more words than a sample has tokens, and so has this one, too.\n"
                          "The third document is about the weather, which was better when we were younger.\n"
                          "The fourth document says nothing at all, but it says it with a good many words.\n";
  const Outcome changed = run_arkit({"reproduce", made, "--output_dir", in("other")});
  EXPECT_EQ(changed.exit_code, 6) << changed.err;
  EXPECT_TRUE(cli_test::contains(changed.out, "--dataset: '" + text_ + "' has other contents")) << changed.out;
  EXPECT_TRUE(cli_test::contains(changed.out, "nothing was run; --allow_changed runs it")) << changed.out;
  EXPECT_FALSE(fs::exists(in("other")));
  const Outcome allowed = run_arkit({"reproduce", made, "--output_dir", in("other"), "--allow_changed"});
  EXPECT_EQ(allowed.exit_code, 6) << allowed.err;
  EXPECT_TRUE(cli_test::contains(allowed.out, "arkit-run.json' is not the same in 'blocks', 'calibration', 'inputs'"))
      << allowed.out;

  fs::rename(model, in("elsewhere"));
  const Outcome gone = run_arkit({"reproduce", made, "--dry-run"});
  EXPECT_EQ(gone.exit_code, 6) << gone.err;
  EXPECT_TRUE(cli_test::contains(gone.out, "model: '" + model + "' is missing")) << gone.out;
  EXPECT_EQ(run_arkit({"reproduce", in("nowhere")}).exit_code, 3);
}
