// Descriptions of data sets as files, and which data set a model gets that names none.

#include "calibration/dataset_registry.h"

#include <string>
#include <vector>

#include <arkit/error.h>
#include <gtest/gtest.h>

#include "calibration/calibration_testing.h"
#include "calibration/dataset_default.h"

namespace {

namespace json = arkit::json;
using arkit::Error;
using arkit::ErrorCode;
using arkit::calibration::default_dataset;
using arkit::calibration::find_dataset;
using arkit::calibration::KnownDataset;
using arkit::calibration::model_names;
using arkit::calibration::parse_dataset_file;
using arkit::calibration::Shuffle;
using Names = std::vector<std::string>;

std::string refusal(const std::string& text) {
  try {
    (void)parse_dataset_file(text, "/nowhere/x.toml");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "accepted";
}

// The table of docs/spec/calibration.md 2.
TEST(DatasetRegistry, HoldsTheGuidesDataSets) {
  struct Row {
    const char *name, *source, *split, *field;
    Shuffle shuffle;
    int64_t take;
  };
  for (const Row& row :
       {Row{"NeelNanda/pile-10k", "NeelNanda/pile-10k", "train", "text", Shuffle::whole, 0},
        Row{"pile-10k", "NeelNanda/pile-10k", "train", "text", Shuffle::whole, 0},
        Row{"swift/pile-val-backup", "mit-han-lab/pile-val-backup", "validation", "text", Shuffle::stream, 10000},
        Row{"fineweb-edu", "HuggingFaceFW/fineweb-edu", "train", "text", Shuffle::stream, 10000},
        Row{"BAAI/CCI3-HQ", "BAAI/CCI3-HQ", "train", "text", Shuffle::stream, 10000},
        Row{"codeparrot/github-code-clean", "codeparrot/github-code-clean", "train", "code", Shuffle::stream, 10000},
        Row{"HuggingFaceH4/ultrachat_200k", "HuggingFaceH4/ultrachat_200k", "train_sft", "messages", Shuffle::stream,
            20000},
        Row{"openbmb/Ultra-FineWeb", "openbmb/Ultra-FineWeb", "en", "content", Shuffle::stream, 20000},
        Row{"madao33/new-title-chinese", "madao33/new-title-chinese", "train", "content", Shuffle::whole, 0}}) {
    const KnownDataset* known = find_dataset(row.name);
    ASSERT_NE(known, nullptr) << row.name;
    EXPECT_EQ(known->source, row.source);
    EXPECT_EQ(known->splits, Names{row.split}) << row.name;
    EXPECT_EQ(known->text.fields, Names{row.field}) << row.name;
    EXPECT_EQ(known->shuffle, std::vector<Shuffle>{row.shuffle}) << row.name;
    EXPECT_EQ(known->take, row.take) << row.name;
  }
  const KnownDataset* programs = find_dataset("mbpp");
  ASSERT_NE(programs, nullptr);
  EXPECT_EQ(programs->splits, (Names{"train", "validation", "test"}));
  EXPECT_EQ(programs->text.fields, (Names{"text", "code"}));
  EXPECT_EQ(programs->text.joint, "");
  EXPECT_EQ(programs->shuffle, std::vector<Shuffle>{Shuffle::list});
  const KnownDataset* instruct = find_dataset("opencode-instruct");
  ASSERT_NE(instruct, nullptr);
  EXPECT_TRUE(instruct->concat);
  EXPECT_EQ(instruct->text.joint, "\n\n");
  EXPECT_EQ(instruct->shuffle, (std::vector<Shuffle>{Shuffle::stream, Shuffle::list}));
  EXPECT_EQ(find_dataset("fineweb-edu")->config, "sample-10BT");
  EXPECT_EQ(find_dataset("pile-val-backup")->modelscope, "swift/pile-val-backup");
}

TEST(DatasetRegistry, AFileDescribesADataSet) {
  const KnownDataset dataset = parse_dataset_file(R"(
name = "mine"
also = ["my-notes"]
source = "someone/notes@v2"
config = "small"
split = ["train", "dev"]
template = "{q} {a}"
filter = { language = "Python", license = ["mit", "bsd"], score = { min = 3 } }
shuffle = "stream"
take = 50
)",
                                                  "/nowhere/mine.toml");
  EXPECT_EQ(dataset.names, (Names{"mine", "my-notes"}));
  EXPECT_EQ(dataset.source, "someone/notes@v2");
  EXPECT_EQ(dataset.text.pattern, "{q} {a}");
  ASSERT_EQ(dataset.filters.size(), 3U);
  EXPECT_EQ(dataset.filters[1].values.size(), 2U);
  EXPECT_EQ(dataset.filters[2].min, 3.0);
  EXPECT_EQ(dataset.take, 50);
  EXPECT_EQ(dataset.file, "/nowhere/mine.toml");
}

TEST(DatasetRegistry, MistakesInAFileAreExplained) {
  const std::string start = "name = \"x\"\nsource = \"a/b\"\n";
  EXPECT_EQ(refusal(start), "accepted");
  for (const auto& [text, part] : std::vector<std::pair<std::string, std::string>>{
           {"source = \"a/b\"", "'name' is missing"},
           {"name = \"x\"", "'source' is missing"},
           {"name = ", "line 1: not TOML"},
           {start + "spilt = \"train\"", "did you mean 'split'"},
           {"name = \"x\"\nsource = \"./gone.jsonl\"", "is no file or folder ('/nowhere/./gone.jsonl')"},
           {"name = \"x\"\nsource = \"a b/c d\"", "neither a file or folder there nor a hub id"},
           {start + "shuffle = \"random\"", "expected one of 'whole', 'list', 'stream', 'none'"},
           {start + "field = \"a\"\ntemplate = \"{b}\"", "more than one of 'field', 'template' and 'turns'"},
           {start + "turns = { user = \"a\" }", "'assistant' is missing"},
           {start + "filter = { a = {} }", "says nothing"},
           {start + "filter = { a = { least = 1 } }", "key 'least' is unknown"},
           {start + "field = []", "is an empty list"},
           {start + "take = -1", "take is -1"}})
    EXPECT_NE(refusal(text).find(part), std::string::npos) << refusal(text);
}

TEST(DatasetDefault, ModelsOfCodeGetCode) {
  const auto taken = [](const std::string& path, const std::string& config, int64_t nsamples = 128) {
    const json::Object object = json::parse(config, "config").get_object();
    return default_dataset(model_names(path, object), arkit::calibration::model_tasks(object), nsamples).argument;
  };
  const std::string usual = "NeelNanda/pile-10k";
  const std::string code = "opencode-instruct:num=64,github-code-clean:num=64";
  for (const char* path :
       {"/m/Qwen2.5-Coder-7B", "/m/StarCoder2", "/m/starcoder2-3b", "/m/CodeLlama-7b/", "/m/devstral",
        "/hub/models--acme--big-coder/snapshots/0123456789abcdef", "/m/deepseek-coder-1b", "/m/MyCode.gguf"})
    EXPECT_EQ(taken(path, "{}"), code) << path;
  for (const char* path :
       {"/m/Qwen3-0.6B", "/m/decoder", "/m/encoder-small", "/m/Unicode-7B", "/coder/llama", "/m/starcoderish"})
    EXPECT_EQ(taken(path, "{}"), usual) << path;
  EXPECT_EQ(taken("/m/x", R"({"architectures":["AcmeCodeForCausalLM"]})"), code);
  EXPECT_EQ(taken("/m/x", R"({"_name_or_path":"acme/coding-1b"})"), code);
  EXPECT_EQ(taken("/m/x", R"({"task_specific_params":{"Code_Generation":{}}})"), code);
  EXPECT_EQ(taken("/m/x", R"({"pipeline_tag":"text-to-code"})"), code);
  EXPECT_EQ(taken("/m/x", R"({"model_type":"llama","architectures":["LlamaForCausalLM"]})"), usual);
  EXPECT_EQ(taken("/m/a-coder", "{}", 5), "opencode-instruct:num=3,github-code-clean:num=2");
  EXPECT_EQ(taken("/m/a-coder", "{}", 1), "opencode-instruct:num=1");
}

}  // namespace
