#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/model_source.h>

#include "io_testing.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::safetensors_bytes;
using testing::TempDir;

const std::string kEmptyWeights = safetensors_bytes("{}");

std::vector<std::string> names_of(const std::vector<CompanionFile>& files) {
  std::vector<std::string> names;
  for (const CompanionFile& file : files) names.push_back(file.name);
  return names;
}

TEST(HfFolder, OpensGoldenSource) {
  const auto source = open_hf_folder(fs::path(ARKIT_TEST_DATA) / "golden/source-qwen3-bf16");
  EXPECT_EQ(source->kind(), "safetensors");
  EXPECT_EQ(json::get_string(source->config(), "model_type", "config"), "qwen3");
  EXPECT_NE(source->weights().find("model.embed_tokens.weight"), nullptr);
  EXPECT_NE(source->tokenizer_json().find("\"model\""), std::string::npos);
  EXPECT_TRUE(source->packed_layers().empty());
  EXPECT_EQ(names_of(source->companions()),
            (std::vector<std::string>{"generation_config.json", "tokenizer.json", "tokenizer_config.json"}));
}

TEST(HfFolder, TakesTheChatTemplateFromItsOwnFile) {
  const TempDir dir;
  dir.write("config.json", "{\"model_type\":\"llama\"}");
  dir.write("model.safetensors", kEmptyWeights);
  EXPECT_TRUE(open_hf_folder(dir.path())->tokenizer_config().empty());
  EXPECT_EQ(open_hf_folder(dir.path())->tokenizer_json(), "");
  dir.write("chat_template.json", R"({"chat_template":"from json"})");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer_config(), "chat_template", "t"), "from json");
  dir.write("chat_template.jinja", "{{ messages }}");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer_config(), "chat_template", "t"), "{{ messages }}");
  dir.write("tokenizer_config.json", R"({"chat_template":"own"})");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer_config(), "chat_template", "t"), "own");
}

TEST(HfFolder, CarriesLicencesAndRemoteCode) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  for (const char* name :
       {"modeling_x.py", "LICENSE", "USE_POLICY.md", "Notice.txt", "README.md", "merges.txt", "notes.txt"})
    dir.write(name, "text");
  EXPECT_EQ(names_of(open_hf_folder(dir.path())->companions()),
            (std::vector<std::string>{"merges.txt", "LICENSE", "Notice.txt", "USE_POLICY.md", "modeling_x.py"}));
}

TEST(HfFolder, RefusesBadFolders) {
  const TempDir dir;
  EXPECT_ERROR(open_hf_folder(dir.path() / "absent"), "input", "is not a folder");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "no config.json");
  dir.write("model.safetensors", kEmptyWeights);
  for (const char* text : {"", "{", "[]", "3", "{\"a\":1}x", "{\"a\":1,\"a\":2}", "{\"a\":\"\xff\"}"}) {
    dir.write("config.json", text);
    EXPECT_ERROR(open_hf_folder(dir.path()), "input", "config.json");
  }
  dir.write("config.json", "{\"a\": -Infinity, \"b\": NaN}");  // old files have them
  EXPECT_TRUE(open_hf_folder(dir.path())->weights().tensors().empty());
}

TEST(HfFolder, DoesNotFollowLinksOutOfTheFolder) {
  const TempDir dir;
  dir.write("secret", "{\"a\":\"secret\"}");
  dir.write("model/model.safetensors", kEmptyWeights);
  fs::create_symlink(dir.path() / "secret", dir.path() / "model/config.json");
  EXPECT_ERROR(open_hf_folder(dir.path() / "model"), "input", "outside the model folder");
  fs::remove(dir.path() / "model/config.json");
  dir.write("model/config.json", "{}");
  fs::create_symlink(dir.path() / "secret", dir.path() / "model/tokenizer.json");
  EXPECT_ERROR(open_hf_folder(dir.path() / "model")->tokenizer_json(), "input", "outside the model folder");
  EXPECT_ERROR(open_hf_folder(dir.path() / "model")->companions(), "input", "outside the model folder");
}

}  // namespace
}  // namespace arkit
