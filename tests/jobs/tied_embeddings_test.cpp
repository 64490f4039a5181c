// Embeddings and head: one matrix or two is what is stored, in every format and on every route.
#include <gtest/gtest.h>

#include <ATen/ATen.h>

#include <arkit/sdk/tied_embeddings.h>

#include "formats/memory_source.h"
#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::Checkpoint;
using testing::config_of;
using testing::contains;
using testing::registry;
using testing::TemporaryFolder;

constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kFlag = "tie_word_embeddings";

at::Tensor other_matrix() {
  at::manual_seed(3);
  return (at::randn({512, 128}) * 0.05).to(at::kBFloat16);
}

at::Tensor logits(const std::string& model, const fs::path& scratch) {
  const fs::path ids = scratch / "ids.safetensors", out = scratch / "logits.safetensors";
  testing::write_tensors(ids, {{"input_ids", at::arange(24, at::kLong).reshape({2, 12}) * 7 % 500}});
  Reporter silent;
  (void)forward({.model = model, .input_ids = ids, .output = out, .dtype = "float32", .backend = {}}, registry(),
                silent);
  return open_safetensors(out)->load("logits").clone();
}

double distance(const at::Tensor& a, const at::Tensor& b) {
  return ((a - b).norm() / a.norm()).item<double>();
}

struct Route {
  std::string format;
  bool model_free = false;
};

std::vector<Route> routes() {
  std::vector<Route> all;
  for (const char* format : {"auto_round", "auto_gptq", "auto_awq", "llm_compressor", "mlx", "fake"})
    for (const bool model_free : {false, true}) all.push_back({format, model_free});
  return all;
}

fs::path exported(const std::string& model, const Route& route, const fs::path& out) {
  QuantizeOptions options;
  options.model = model;
  options.output_dir = out;
  options.scheme = route.format == "auto_awq" ? "W4A16" : "W8A16";
  options.overrides.group_size = 32;
  options.formats = {route.format};
  options.recipe = "rtn";
  options.model_free = route.model_free;
  options.force = true;
  Reporter silent;
  (void)quantize(options, registry(), silent);
  return out;
}

// The export computes what its source does, says `tied`, and verify finds nothing wrong.
void expect_faithful(const Checkpoint& checkpoint, bool tied) {
  const TemporaryFolder folder;
  const std::string model = checkpoint.write(folder.path() / "model");
  const at::Tensor expected = logits(model, folder.path());
  for (const Route& route : routes()) {
    SCOPED_TRACE(route.format + (route.model_free ? ", model-free" : ""));
    const fs::path out = exported(model, route, folder.path() / "out");
    EXPECT_EQ(config_of(out).at(kFlag).as_bool(), tied);
    const auto weights = open_safetensors(out);
    EXPECT_NE(weights->find(kEmbedding), nullptr) << "where every loader looks for it";
    EXPECT_EQ(weights->find(kHead) != nullptr, !tied);
    EXPECT_LT(distance(expected, logits(out.string(), folder.path())), route.format == "auto_awq" ? 0.3 : 0.05);
    Reporter silent;
    const json::Object report = verify({.directory = out, .against = model}, registry(), silent);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
  }
}

TEST(TiedEmbeddings, StoredAsTheHeadAlone) {
  Checkpoint model = testing::tiny_checkpoint("source-qwen3-bf16");
  model.rename(kEmbedding, kHead);
  expect_faithful(model, true);
}

TEST(TiedEmbeddings, AFlagBesideAHeadOfItsOwnIsWrong) {
  Checkpoint model = testing::tiny_checkpoint("source-qwen3-bf16");
  model.tensors[kHead] = other_matrix();
  expect_faithful(model, false);
}

TEST(TiedEmbeddings, TwoEqualMatricesAreOne) {
  Checkpoint model = testing::tiny_checkpoint("source-qwen3-bf16");
  model.tensors[kHead] = model.tensors.at(kEmbedding).clone();
  expect_faithful(model, true);
}

TEST(TiedEmbeddings, WithoutAFlagTheFilesTell) {
  Checkpoint untied = testing::tiny_checkpoint("source-llama-bf16");
  untied.config.erase(kFlag);
  expect_faithful(untied, false);
  Checkpoint tied = testing::tiny_checkpoint("source-qwen3-bf16");
  tied.config.erase(kFlag);
  expect_faithful(tied, true);
}

// The names of a decoder without its head around it.
TEST(TiedEmbeddings, ABareDecoderGetsTheNamesOfTheWholeModel) {
  Checkpoint model = testing::tiny_checkpoint("source-qwen3-bf16");
  TensorMap bare;
  for (const auto& [name, tensor] : model.tensors) bare[name.substr(name.starts_with("model.") ? 6 : 0)] = tensor;
  model.tensors = std::move(bare);
  expect_faithful(model, true);
}

TEST(TiedEmbeddings, AMissingMatrixIsRefusedOnEveryRoute) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  model.tensors.erase(kHead);
  const std::string path = model.write(folder.path() / "model");
  for (const bool model_free : {false, true})
    EXPECT_TRUE(contains(testing::refusal(ErrorCode::input,
                                          [&] {
                                            (void)exported(path, {"auto_round", model_free}, folder.path() / "out");
                                          }),
                         "lm_head"));
}

TEST(TiedEmbeddings, ConvertKeepsWhatIsStored) {
  const TemporaryFolder folder;
  Checkpoint model = testing::tiny_checkpoint("source-qwen3-bf16");
  model.tensors[kHead] = other_matrix();
  const fs::path first = exported(model.write(folder.path() / "model"), {"auto_round"}, folder.path() / "first");
  // An export made by a tool that trusted the flag.
  json::Object config = config_of(first);
  config[kFlag] = true;
  std::ofstream(first / "config.json") << json::dump(config, 2);
  Reporter silent;
  (void)convert({.model = first.string(), .formats = {"mlx"}, .output_dir = folder.path() / "mlx"}, registry(), silent);
  EXPECT_FALSE(config_of(folder.path() / "mlx").at(kFlag).as_bool());
  EXPECT_NE(open_safetensors(folder.path() / "mlx")->find(kHead), nullptr);
}

// What each combination means, by itself.
struct Case {
  std::string name;
  std::vector<std::string> tensors;  // "=" in front: the same values as the first
  json::Object config;
  HeadStorage storage = HeadStorage::unknown;
  bool tied = false;
  std::string missing = {};
};

TEST(TiedEmbeddings, StorageDecidesAndTheFlagOnlyWhereItCan) {
  const json::Object yes{{kFlag, true}}, no{{kFlag, false}}, silent_config;
  const json::Object nested{{"text_config", json::Object{{kFlag, true}}}};
  const json::Object classifier{{"architectures", json::Array{"LlamaForSequenceClassification"}}};
  const json::Object untied_model{{"architectures", json::Array{"LlamaForCausalLM"}}, {kFlag, false}};
  const std::string e = kEmbedding, h = kHead;
  for (const Case& one : {
           Case{"one, silent", {e}, silent_config, HeadStorage::embedding_only, true},
           Case{"one, yes", {e}, yes, HeadStorage::embedding_only, true},
           Case{"one, no", {e}, no, HeadStorage::embedding_only, false},
           Case{"one, no, and needed", {e}, untied_model, HeadStorage::embedding_only, false, "lm_head"},
           Case{"head, no, and needed",
                {h, "model.layers.0.x.weight"},
                untied_model,
                HeadStorage::head_only,
                false,
                "model.embed_tokens"},
           Case{"head", {h}, silent_config, HeadStorage::head_only, true},
           Case{"equal, silent", {e, "=" + h}, silent_config, HeadStorage::equal, true},
           Case{"equal, no", {e, "=" + h}, no, HeadStorage::both, false},
           Case{"different, yes", {e, h}, yes, HeadStorage::different, false},
           Case{"different, silent", {e, h}, silent_config, HeadStorage::different, false},
           Case{"classifier", {e}, classifier, HeadStorage::embedding_only, false},
           Case{"several senses",
                {"language_model.model.embed_tokens.weight", "=language_model.lm_head.weight"},
                nested,
                HeadStorage::equal,
                true},
           Case{"gpt_neox", {"gpt_neox.embed_in.weight", "embed_out.weight"}, yes, HeadStorage::different, false},
           Case{"multi-token prediction",
                {e, "model.layers.9.embed_tokens.weight"},
                yes,
                HeadStorage::embedding_only,
                true},
           Case{"an unnamed second matrix", {e, "model.readout.weight"}, silent_config, HeadStorage::unknown, false},
       }) {
    test::MemorySource source;
    source.settings = one.config;
    for (size_t i = 0; i < one.tensors.size(); ++i) {
      const bool same = one.tensors[i].starts_with("=");
      source.memory.add(one.tensors[i].substr(same ? 1 : 0), at::full({4, 2}, same ? 0.0 : double(i)), "F32");
    }
    const TiedEmbeddings found = find_tied_embeddings(source);
    EXPECT_EQ(found.storage, one.storage) << one.name;
    EXPECT_EQ(found.tied, one.tied) << one.name;
    EXPECT_EQ(found.missing, one.missing) << one.name;
  }
}

TEST(TiedEmbeddings, AreStatedWhereverLoadersLook) {
  json::Object config{{"text_config", json::Object{{kFlag, true}}}, {"vision_config", json::Object{}}};
  state_tied_embeddings(config, false);
  EXPECT_FALSE(config.at(kFlag).as_bool());
  EXPECT_FALSE(config.at("text_config").at(kFlag).as_bool());
  EXPECT_FALSE(config.at("vision_config").as_object().contains(kFlag));
}

}  // namespace
}  // namespace arkit
