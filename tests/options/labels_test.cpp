// What the end of a run reads of its source is judged before the start: a run fails before any work, or wholly
// succeeds.
#include <gtest/gtest.h>

#include <arkit/json.h>

#include "options_testing.h"

namespace options_test {
namespace {

namespace fs = std::filesystem;
namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::QuantizeOptions;
using arkit::testing::contains;
using arkit::testing::Recorder;
using arkit::testing::registry;
using arkit::testing::TemporaryFolder;
using arkit::testing::tiny_model;

const std::vector<std::string> kOtherTypes{"null", "true", "5", "1e300", R"("x")", R"(["mit"])", R"({"a": 1})"};

class Labels : public ::testing::Test {
 protected:
  Labels() : model_(folder_.path() / "model") {
    fs::copy(tiny_model("source-llama-bf16"), model_, fs::copy_options::recursive);
  }

  void put(const std::string& file, const std::string& key, const std::string& value) {
    json::Object object = json::read_file(fs::path(tiny_model("source-llama-bf16")) / file).as_object();
    object[key] = json::parse(value, "test");
    write_text(model_ / file, json::dump(object, 2));
  }

  // Empty when the run succeeded wholly, else the message of a failure before any work.
  std::string run(const Words& words) {
    const fs::path out = folder_.path() / "out";
    fs::remove_all(out);
    Recorder recorder;
    try {
      QuantizeOptions options = options_of("quantize", Words{model_.string()} + words);
      options.output_dir = out;
      (void)arkit::quantize(options, registry(), recorder);
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::input || error.code() == ErrorCode::unsupported) << error.what();
      EXPECT_TRUE(recorder.blocks.empty()) << "work was lost: " << error.what();
      EXPECT_TRUE(!fs::exists(out) || fs::is_empty(out)) << error.what();
      return error.what();
    }
    for (const char* name : {"README.md", "model.safetensors"}) EXPECT_TRUE(fs::exists(out / name)) << name;
    for (const char* name : {"arkit-run.json", "config.json"}) EXPECT_TRUE(json::read_file(out / name).is_object());
    warnings_ = recorder.warnings;
    return {};
  }

  TemporaryFolder folder_;
  fs::path model_;
  std::vector<std::string> warnings_;
};

TEST_F(Labels, AnyTypeOfAnyKeyFailsBeforeWorkOrNotAtAll) {
  std::vector<std::string> keys{"license",    "_name_or_path", "torch_dtype",  "rope_scaling",   "rope_theta",
                                "auto_map",   "layer_types",   "text_config",  "sliding_window", "quantization",
                                "_x_private", "head_bias",     "license_name", "base_model"};
  const json::Object config = json::read_file(model_ / "config.json").as_object();
  for (const auto& member : config) keys.emplace_back(member.key());
  for (const std::string& key : keys)
    for (const std::string& value : kOtherTypes)
      for (const char* how : {"--model_free", "--disable_model_free"}) {
        SCOPED_TRACE(key + " = " + value + " " + how);
        put("config.json", key, value);
        const std::string failure = run({"--recipe", "rtn", how});
        if (key.starts_with("license") || key.starts_with("_") || key == "base_model") EXPECT_EQ(failure, "");
      }
}

TEST_F(Labels, EveryFormatWritesThemWhateverTheyAre) {
  for (const char* format : {"auto_gptq", "auto_awq", "llm_compressor", "mlx", "fake"})
    for (const char* key : {"license", "_name_or_path", "architectures", "torch_dtype"}) {
      SCOPED_TRACE(std::string(format) + " " + key);
      put("config.json", key, "5");
      (void)run({"--recipe", "rtn", "--scheme", "W4A16", "--group_size", "32", "--format", format});
    }
}

TEST_F(Labels, OfTheWrongTypeAreWarnedAboutAndLeftOut) {
  put("config.json", "license", R"(["mit"])");
  ASSERT_EQ(run({"--recipe", "rtn"}), "");
  EXPECT_TRUE(std::any_of(warnings_.begin(), warnings_.end(),
                          [](const std::string& w) { return contains(w, "config.json: 'license'"); }));
}

TEST_F(Labels, OfTheTokenizerAndTheGenerationAreJudgedBeforeTuning) {
  const Words tuned{"--iters",   "1",    "--nsamples", "2",     "--seqlen",     "8",
                    "--dataset", "self", "--scheme",   "W4A16", "--group_size", "32"};
  for (const char* file : {"generation_config.json", "tokenizer_config.json"})
    for (const char* key :
         {"bos_token_id", "model_max_length", "do_sample", "chat_template", "pad_token", "tokenizer_class"})
      for (const std::string& value : {"5", "[]", R"("x")", "{}"}) {
        SCOPED_TRACE(std::string(file) + " " + key + " = " + value);
        fs::copy(tiny_model("source-llama-bf16"), model_,
                 fs::copy_options::recursive | fs::copy_options::overwrite_existing);
        put(file, key, value);
        (void)run(tuned);
      }
}

TEST_F(Labels, BrokenTextsThatTravelAreFoundFirst) {
  for (const std::string& broken : {"[]", "{", "5", ""}) {
    write_text(model_ / "generation_config.json", broken);
    EXPECT_TRUE(contains(run({"--recipe", "rtn"}), "generation_config.json")) << broken;
  }
  fs::remove(model_ / "generation_config.json");
  fs::create_directory(model_ / "README.md");
  EXPECT_EQ(run({"--recipe", "rtn"}), "");
}

TEST_F(Labels, APathThatIsNoTextLeavesARecordThatIsJson) {
  const fs::path odd = folder_.path() / "m\xff\xc3odel";
  fs::copy(model_, odd, fs::copy_options::recursive);
  model_ = odd;
  ASSERT_EQ(run({"--recipe", "rtn"}), "");
  const json::Value record = json::read_file(folder_.path() / "out/arkit-run.json");
  EXPECT_TRUE(contains(std::string(record.at("source").at("path").as_string()), R"(m\xff\xc3odel)"));
}

}  // namespace
}  // namespace options_test
