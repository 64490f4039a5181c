// Biases that lie beside layers to which the configuration gives none: the model's family decides, as in Transformers.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include "jobs/job_testing.h"
#include "jobs/tiny_checkpoint.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::Checkpoint;
using testing::registry;
using testing::TemporaryFolder;

constexpr const char* kBias = "model.layers.0.self_attn.q_proj.bias";

class Warnings final : public Reporter {
 public:
  void warn(std::string_view message) override { said.emplace_back(message); }
  std::vector<std::string> said;
  [[nodiscard]] int64_t about_biases() const {
    return std::count_if(said.begin(), said.end(),
                         [](const std::string& text) { return text.find("stored biases") != std::string::npos; });
  }
};

Checkpoint with_denied_biases(double value) {
  Checkpoint model = testing::tiny_checkpoint("source-llama-bf16");
  TensorMap biases;
  for (const auto& [name, tensor] : model.tensors)
    if (name.ends_with("_proj.weight"))
      biases[name.substr(0, name.size() - 6) + "bias"] = at::full({tensor.size(0)}, value).to(at::kBFloat16);
  model.tensors.merge(biases);
  model.tensors["lm_head.bias"] = at::full({512}, value).to(at::kBFloat16);
  return model;
}

at::Tensor logits(const std::string& model, const fs::path& scratch, Reporter& reporter) {
  const fs::path ids = scratch / "ids.safetensors", out = scratch / "logits.safetensors";
  testing::write_tensors(ids, {{"input_ids", at::arange(24, at::kLong).reshape({2, 12}) * 7 % 500}});
  (void)forward({.model = model, .input_ids = ids, .output = out, .dtype = "float32", .backend = {}}, registry(),
                reporter);
  return open_safetensors(out)->load("logits").clone();
}

fs::path exported(const std::string& model, const std::string& format, bool model_free, const fs::path& out,
                  Reporter& reporter) {
  QuantizeOptions options;
  options.model = model;
  options.output_dir = out;
  options.scheme = format == "auto_awq" ? "W4A16" : "W8A16";
  options.overrides.group_size = 32;
  options.formats = {format};
  options.recipe = "rtn";
  options.model_free = model_free;
  options.force = true;
  (void)quantize(options, registry(), reporter);
  return out;
}

TEST(DeniedBiases, AreLeftOutOnEveryRouteWithAWord) {
  const TemporaryFolder folder;
  const std::string plain = testing::tiny_checkpoint("source-llama-bf16").write(folder.path() / "plain");
  const std::string model = with_denied_biases(0.5).write(folder.path() / "model");
  Warnings warnings;
  const at::Tensor wanted = logits(plain, folder.path(), warnings);
  EXPECT_EQ(warnings.about_biases(), 0);
  EXPECT_TRUE(logits(model, folder.path(), warnings).equal(wanted));
  EXPECT_EQ(warnings.about_biases(), 1);
  for (const char* format : {"auto_round", "auto_gptq", "auto_awq", "llm_compressor", "mlx", "fake"})
    for (const bool model_free : {false, true}) {
      Warnings said;
      Reporter silent;
      const fs::path got = exported(model, format, model_free, folder.path() / "got", said);
      const fs::path right = exported(plain, format, model_free, folder.path() / "right", silent);
      EXPECT_EQ(said.about_biases(), 1) << format << model_free;
      EXPECT_EQ(open_safetensors(got)->find(kBias), nullptr) << format << model_free;
      EXPECT_TRUE(logits(got.string(), folder.path(), silent).equal(logits(right.string(), folder.path(), silent)))
          << format << model_free;
      const json::Object report = verify({.directory = got, .against = {}}, registry(), silent);
      EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
    }
}

// In a file of its own, as if a folder had been written in two.
void add_tensor(const fs::path& folder, const std::string& name, const at::Tensor& tensor) {
  json::Object places;
  const auto weights = open_safetensors(folder);
  for (const TensorInfo& info : weights->tensors()) places[info.name] = "model.safetensors";
  places[name] = "model-more.safetensors";
  testing::write_tensors(folder / "model-more.safetensors", {{name, tensor}});
  std::ofstream(folder / "model.safetensors.index.json") << json::dump(json::Object{{"weight_map", places}});
}

// Other tools' packed exports may hold them.
TEST(DeniedBiases, OfPackedLayersAreNotAdded) {
  for (const char* format : {"auto_gptq", "llm_compressor", "mlx"}) {
    const TemporaryFolder folder;
    const std::string plain = testing::tiny_checkpoint("source-llama-bf16").write(folder.path() / "plain");
    Reporter silent;
    const fs::path out = exported(plain, format, false, folder.path() / "out", silent);
    const at::Tensor wanted = logits(out.string(), folder.path(), silent);
    add_tensor(out, kBias, at::full({128}, 0.5));
    Warnings warnings;
    EXPECT_TRUE(logits(out.string(), folder.path(), warnings).equal(wanted)) << format;
    EXPECT_EQ(warnings.about_biases(), 1) << format;
  }
}

TEST(DeniedBiases, OfZerosGoWithoutAWord) {
  const TemporaryFolder folder;
  Warnings warnings;
  (void)logits(with_denied_biases(0.0).write(folder.path() / "model"), folder.path(), warnings);
  EXPECT_EQ(warnings.about_biases(), 0);
}

TEST(DeniedBiases, OfFamiliesWithoutAPluginStay) {
  const TemporaryFolder folder;
  Checkpoint model = with_denied_biases(0.5);
  model.config["model_type"] = "of_tomorrow";
  Warnings warnings;
  const fs::path out =
      exported(model.write(folder.path() / "model"), "auto_round", true, folder.path() / "out", warnings);
  EXPECT_NE(open_safetensors(out)->find(kBias), nullptr);
  EXPECT_EQ(warnings.about_biases(), 0);
}

// The other way round: a packed layer whose bias was lost does not compute without.
TEST(DeniedBiases, AskedForButMissingIsAnError) {
  const TemporaryFolder folder;
  Reporter silent;
  const std::string plain = testing::tiny_checkpoint("source-llama-bf16").write(folder.path() / "plain");
  const fs::path out = exported(plain, "auto_gptq", false, folder.path() / "out", silent);
  json::Object config = testing::config_of(out);
  config["attention_bias"] = true;
  std::ofstream(out / "config.json") << json::dump(config, 2);
  const std::string said =
      testing::refusal(ErrorCode::input, [&] { (void)logits(out.string(), folder.path(), silent); });
  EXPECT_TRUE(testing::contains(said, "self_attn.q_proj.bias' is missing")) << said;
}

}  // namespace
}  // namespace arkit
