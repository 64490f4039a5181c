#include <algorithm>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "io/companion_files.h"
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
  EXPECT_NE(source->tokenizer()->tokenizer_json().find("\"model\""), std::string::npos);
  EXPECT_TRUE(sdk::packed_layers(*source).empty());
  EXPECT_EQ(names_of(source->companions()),
            (std::vector<std::string>{"generation_config.json", "tokenizer.json", "tokenizer_config.json"}));
}

TEST(HfFolder, TakesTheChatTemplateFromItsOwnFile) {
  const TempDir dir;
  dir.write("config.json", "{\"model_type\":\"llama\"}");
  dir.write("model.safetensors", kEmptyWeights);
  EXPECT_EQ(open_hf_folder(dir.path())->tokenizer(), nullptr);
  dir.write("chat_template.json", R"({"chat_template":"from json"})");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "chat_template", "t"),
            "from json");
  dir.write("chat_template.jinja", "{{ messages }}");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "chat_template", "t"),
            "{{ messages }}");
  // transformers: the file of its own wins over tokenizer_config.json, which wins over what processors left.
  dir.write("tokenizer_config.json", R"({"chat_template":"own"})");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "chat_template", "t"),
            "{{ messages }}");
  fs::remove(dir.path() / "chat_template.jinja");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "chat_template", "t"), "own");
  dir.write("chat_template.jinja", "\xEF\xBB\xBF{{ marked }}");
  EXPECT_EQ(json::get_string(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "chat_template", "t"),
            "{{ marked }}");
}

TEST(HfFolder, NamedChatTemplatesTakeThePlaceOfTheOneInTheConfig) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  dir.write("tokenizer_config.json", R"({"chat_template":"own"})");
  dir.write("additional_chat_templates/rag.jinja", "rag");
  dir.write("additional_chat_templates/notes.txt", "no template");
  const auto templates = [&] {
    return json::dump(open_hf_folder(dir.path())->tokenizer()->tokenizer_config().at("chat_template"));
  };
  EXPECT_EQ(templates(), R"([{"name": "rag", "template": "rag"}])");
  dir.write("chat_template.jinja", "default one");
  EXPECT_EQ(templates(), R"([{"name": "default", "template": "default one"}, {"name": "rag", "template": "rag"}])");
}

TEST(HfFolder, CarriesLicencesAndRemoteCode) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  for (const char* name :
       {"modeling_x.py", "LICENSE", "USE_POLICY.md", "Notice.txt", "README.md", "merges.txt", "notes.txt"})
    dir.write(name, "text");
  EXPECT_EQ(
      names_of(open_hf_folder(dir.path())->companions()),
      (std::vector<std::string>{"merges.txt", "LICENSE", "Notice.txt", "USE_POLICY.md", "modeling_x.py", "notes.txt"}));
}

TEST(HfFolder, CarriesWhatIsNoWeightAndNotReplaced) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  const std::vector<std::string> travels = {"tokenizer.json",
                                            "merges.txt",
                                            "1_Pooling/config.json",
                                            "2_Dense/config.json",
                                            "2_Dense/model.safetensors",
                                            "3_Dense/config.json",
                                            "3_Dense/pytorch_model.bin",
                                            "4_Router/query/model-00001-of-00001.safetensors",
                                            "4_Router/query/model.safetensors.index.json",
                                            "additional_chat_templates/rag.jinja",
                                            "modeling/inner/code.py",
                                            "modules.json",
                                            "params.json",
                                            "qwen.tiktoken",
                                            "spiece.model",
                                            "tekken.json",
                                            "vocab.txt"};
  for (const std::string& name : travels) dir.write(name, "{}");
  dir.write("modules.json", R"([{"path": ""}, {"path": "1_Pooling"}, {"path": "2_Dense"}, {"path": "./3_Dense/"},
                               {"path": "4_Router"}])");
  for (const char* name : {"README.md",
                           "adapter_config.json",
                           "adapter_model.safetensors",
                           "arkit-run.json",
                           "quantize_config.json",
                           "hf_quant_config.json",
                           "recipe.yaml",
                           "pytorch_model.bin",
                           "pytorch_model.bin.index.json",
                           "PYTORCH_MODEL-00001-of-00002.BIN",
                           "consolidated.00.pth",
                           "tf_model.h5",
                           "flax_model.msgpack",
                           "model.gguf",
                           "model.onnx",
                           "optimizer.pt",
                           "2_Dense/pytorch_model.bin",
                           "onnx/model.onnx",
                           "onnx/config.json",
                           "original/consolidated.00.pth",
                           "original/params.json",
                           "export/model.safetensors",
                           "export/vocab.txt",
                           ".git/config",
                           ".cache/huggingface/x.json",
                           ".gitattributes",
                           "__pycache__/x.pyc",
                           "out/model.safetensors.part"})
    dir.write(name, "{}");
  EXPECT_EQ(names_of(open_hf_folder(dir.path())->companions()), travels);
  const io::LeftOut out = io::left_out_files(dir.path());
  using List = std::vector<std::string>;
  EXPECT_EQ(out.formats, (List{"onnx/", "original/"}));
  EXPECT_EQ(out.models, (List{"export/"}));
  EXPECT_EQ(out.adapter, (List{"adapter_config.json", "adapter_model.safetensors"}));
  for (const char* name : {"model.gguf", "model.onnx", "pytorch_model.bin", "2_Dense/pytorch_model.bin"})
    EXPECT_EQ(std::count(out.files.begin(), out.files.end(), name), 1) << name;
}

TEST(HfFolder, ModulesLieInsideTheFolder) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  for (const char* path : {"../elsewhere", "/etc", "a/../../b"}) {
    dir.write("modules.json", str(R"([{"path": ")", path, R"("}])"));
    EXPECT_ERROR(open_hf_folder(dir.path())->companions(), "input", "modules.json");
  }
}

TEST(HfFolder, AnAdapterIsNoModel) {
  const TempDir dir;
  dir.write("adapter_config.json", "{}");
  dir.write("adapter_model.safetensors", kEmptyWeights);
  dir.write("training_args.bin", "{}");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "holds an adapter");
  dir.write("config.json", "{}");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "weights of an adapter");
}

TEST(HfFolder, RefusesWhatShouldTravelAndCannot) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", kEmptyWeights);
  const auto source = open_hf_folder(dir.path());
  fs::create_symlink(dir.path() / "gone", dir.path() / "tokenizer_config.json");
  EXPECT_ERROR(source->companions(), "input", "is a link to");
  EXPECT_ERROR(open_hf_folder(dir.path())->tokenizer()->tokenizer_config(), "input", "is a link to");
  fs::remove(dir.path() / "tokenizer_config.json");
  ASSERT_EQ(::mkfifo((dir.path() / "tokenizer.model").c_str(), 0600), 0);
  EXPECT_ERROR(source->companions(), "input", "not a regular file");
  fs::remove(dir.path() / "tokenizer.model");
  dir.write("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_ERROR(source->companions(), "input", "Git LFS pointer");
  EXPECT_ERROR(open_hf_folder(dir.path())->tokenizer()->tokenizer_json(), "input", "git lfs pull");
  fs::remove(dir.path() / "tokenizer.json");
  // What does not travel need not be readable; links in circles lead nowhere.
  fs::create_symlink(dir.path() / "gone", dir.path() / "pytorch_model.bin");
  fs::create_directory(dir.path() / "code");
  fs::create_directory_symlink(dir.path(), dir.path() / "code/back");
  fs::create_directory_symlink(dir.path() / "code", dir.path() / "again");
  EXPECT_TRUE(source->companions().empty());
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

// Links in a folder that the user named are the user's own.
TEST(HfFolder, FollowsTheUsersLinks) {
  const TempDir dir;
  dir.write("elsewhere/config.json", "{\"a\":\"b\"}");
  dir.write("elsewhere/weights", kEmptyWeights);
  dir.write("elsewhere/tokenizer", "text");
  fs::create_directory(dir.path() / "model");
  fs::create_symlink("../elsewhere/config.json", dir.path() / "model/config.json");
  fs::create_symlink(dir.path() / "elsewhere/weights", dir.path() / "model/model.safetensors");
  fs::create_symlink(dir.path() / "elsewhere/tokenizer", dir.path() / "model/tokenizer.json");
  fs::create_directory_symlink(dir.path() / "model", dir.path() / "link");
  for (const char* name : {"model", "link"}) {
    const auto source = open_hf_folder(dir.path() / name);
    EXPECT_EQ(json::get_string(source->config(), "a", "config"), "b");
    EXPECT_EQ(source->tokenizer()->tokenizer_json(), "text");
    EXPECT_EQ(names_of(source->companions()), (std::vector<std::string>{"tokenizer.json"}));
  }
}

TEST(HfFolder, SaysThatAFileStartsWithAByteOrderMark) {
  const TempDir dir;
  dir.write("model.safetensors", kEmptyWeights);
  dir.write("config.json", "\xEF\xBB\xBF{}");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "byte order mark");
}

TEST(HfFolder, SaysThatTheWeightsWereNotFetched) {
  const TempDir dir;
  dir.write("config.json", "{}");
  dir.write("model.safetensors", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "git lfs pull");
  dir.write("config.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n");
  EXPECT_ERROR(open_hf_folder(dir.path()), "input", "Git LFS pointer");
}

}  // namespace
}  // namespace arkit
