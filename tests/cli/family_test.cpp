// Models whose family is a file: drafted, given by --family, found in the user's folder, refused with file and key.
#include <filesystem>
#include <fstream>
#include <sstream>

#include <stdlib.h>

#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/model_source.h>

#include "jobs/tiny_checkpoint.h"
#include "run_program.h"

namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using cli_test::contains;
using cli_test::Outcome;
using cli_test::run_arkit;

const fs::path kModels = ARKIT_TEST_DATA "/families", kShipped = ARKIT_TEST_DATA "/../../share/families";

std::string text_of(const fs::path& file) {
  std::ostringstream text;
  text << std::ifstream(file).rdbuf();
  return text.str();
}

// A tiny model of a family under a name that nobody knows, and a user's data folder with nothing in it.
class Family : public testing::Test {
 protected:
  Family() {
    char name[] = "/tmp/arkit_family_XXXXXX";
    folder_ = ::mkdtemp(name);
    fs::create_directories(folder_ / "data/arkit/families");
  }
  ~Family() override { fs::remove_all(folder_); }

  fs::path model_of(const std::string& family) const {
    const fs::path model = folder_ / (family + "-unknown");
    fs::create_directories(model);
    fs::copy_file(kModels / family / "model.safetensors", model / "model.safetensors");
    json::Value config = json::read_file(kModels / family / "config.json");
    config.as_object()["model_type"] = family + "_unknown";
    std::ofstream(model / "config.json") << json::dump(config, 2);
    return model;
  }
  // The shipped file under the unknown name.
  fs::path file_of(const std::string& family) const {
    std::string text = text_of(kShipped / (family + ".toml"));
    const std::string types = "model_types = [\"" + family;
    text.replace(text.find(types), types.size(), types + "_unknown");
    const fs::path file = folder_ / (family + ".toml");
    std::ofstream(file) << text;
    return file;
  }
  std::string ids_of(const std::string& family) const {
    const auto expected = arkit::open_safetensors(kModels / family / "expected.safetensors");
    const fs::path file = folder_ / "ids.safetensors";
    arkit::testing::write_tensors(file, {{"input_ids", expected->load("a.input_ids").clone()}});
    return file.string();
  }
  Outcome run(std::vector<std::string> arguments) const {
    return run_arkit(arguments, {"XDG_DATA_HOME=" + (folder_ / "data").string()});
  }
  json::Object result_of(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    const Outcome done = run(arguments);
    EXPECT_EQ(done.exit_code, 0) << arguments.front() << ": " << done.err << done.out;
    return done.exit_code == 0 ? json::parse(done.out, "stdout").as_object() : json::Object();
  }

  fs::path folder_;
};

}  // namespace

TEST_F(Family, QuantizesVerifiesAndEvaluatesAModelOfAFileAlone) {
  for (const std::string family : {"olmo2", "granite"}) {
    const std::string model = model_of(family).string(), file = file_of(family).string(), ids = ids_of(family);
    const Outcome unknown = run({"eval", "ppl", model, "--ids", ids, "--seqlen", "16"});
    EXPECT_EQ(unknown.exit_code, 4);
    EXPECT_TRUE(contains(unknown.err, "'" + family + "_unknown'")) << unknown.err;

    const std::string out = (folder_ / (family + "-w4")).string();
    const json::Object made =
        result_of({"quantize", model, "--family", file, "--scheme", "W4A16", "--group_size", "32", "--iters", "3",
                   "--dataset", ids, "--nsamples", "2", "--seqlen", "16", "--output_dir", out});
    ASSERT_FALSE(made.empty());
    EXPECT_EQ(made.at("method").as_string(), "SignRound");
    EXPECT_EQ(made.at("quantized_layers").to_number<int64_t>(), 14);
    EXPECT_TRUE(result_of({"verify", out, "--against", model, "--family", file}).at("passed").as_bool());
    const auto perplexity = [&](const std::string& of) {
      return result_of({"eval", "ppl", of, "--ids", ids, "--seqlen", "16", "--family", file})
          .at("perplexity")
          .as_double();
    };
    const double source = perplexity(model), quantized = perplexity(out);
    EXPECT_NE(quantized, source);
    EXPECT_NEAR(quantized / source, 1.0, 0.3) << family;
  }
}

TEST_F(Family, ComputesWhatTransformersDoes) {
  const auto expected = arkit::open_safetensors(kModels / "olmo2/expected.safetensors");
  const std::string logits = (folder_ / "logits.safetensors").string();
  (void)result_of({"forward", model_of("olmo2").string(), "--family", file_of("olmo2").string(), "--input_ids",
                   ids_of("olmo2"), "--output", logits});
  const auto computed = arkit::open_safetensors(logits);
  EXPECT_TRUE(computed->load("logits").to(at::kFloat).allclose(expected->load("a.logits"), 0.0, 1e-4));
}

TEST_F(Family, OfTheUsersFolderIsKnown) {
  fs::copy_file(file_of("olmo2"), folder_ / "data/arkit/families/mine.toml");
  bool known = false, shipped = false;
  const json::Object listed = result_of({"list", "models"});
  for (const json::Value& row : listed.at("models").as_array())
    for (const json::Value& type : row.at("model_types").as_array()) {
      known = known || type == json::Value("olmo2_unknown");
      shipped = shipped || type == json::Value("granite");
    }
  EXPECT_TRUE(known);
  EXPECT_TRUE(shipped);
  EXPECT_EQ(result_of({"inspect", model_of("olmo2").string()}).at("runs"), json::Value(true));
}

TEST_F(Family, FaultsAreNamedByFileAndKey) {
  const fs::path bad = folder_ / "bad.toml";
  std::ofstream(bad) << "name = \"x\"\nmodel_types = [\"x\"]\n[attention]\nbais = true\n";
  const Outcome given = run({"inspect", model_of("olmo2").string(), "--family", bad.string()});
  EXPECT_EQ(given.exit_code, 3);
  EXPECT_TRUE(contains(given.err, "bad.toml': [attention] 'bais' is unknown; did you mean 'bias'?")) << given.err;
  fs::copy_file(bad, folder_ / "data/arkit/families/bad.toml");
  EXPECT_EQ(run({"list", "models"}).exit_code, 3);
  const Outcome missing = run({"list", "models", "--family", "/no/such.toml"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_TRUE(contains(missing.err, "--family '/no/such.toml': no such file")) << missing.err;
}

TEST_F(Family, IsDraftedWithWhatIsOpen) {
  const std::string draft = (folder_ / "draft.toml").string(), model = model_of("olmo2").string();
  const json::Object made = result_of({"models", "new", model, "-o", draft});
  ASSERT_FALSE(made.empty());
  EXPECT_TRUE(made.at("from_tensors").as_bool());
  EXPECT_FALSE(made.at("open").as_array().empty());
  const std::string text = text_of(draft);
  EXPECT_TRUE(contains(text, "query_key_norm = \"whole\"") && contains(text, "# open: names do not show")) << text;
  // It is a family file.
  EXPECT_EQ(result_of({"inspect", model, "--family", draft}).at("runs"), json::Value(true));

  const Outcome again = run({"models", "new", model, "-o", draft});
  EXPECT_EQ(again.exit_code, 2) << again.out;  // never overwrites
  EXPECT_EQ(text_of(draft), text);
  const Outcome config = run({"models", "new", (kModels / "granite/config.json").string()});
  EXPECT_EQ(config.exit_code, 0);
  EXPECT_TRUE(contains(config.out, "logits_divisor = \"logits_scaling\"")) << config.out;
  EXPECT_TRUE(contains(config.err, "not inferred: no checkpoint was given")) << config.err;
  EXPECT_EQ(run({"models", "new", "/no/such"}).exit_code, 3);
  EXPECT_EQ(run({"models", "new", model, "--family", draft}).exit_code, 2);  // would do nothing
}
