// `arkit diff`: figures of differences made by hand.
#include <cmath>

#include <ATen/ATen.h>

#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "convert/config_difference.h"
#include "convert/convert_testing.h"
#include "convert/weight_difference.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::compared;
using testing::contains;
using testing::converted;
using testing::refusal;
using testing::rewrite;
using testing::TemporaryFolder;

const std::string kGolden = testing::tiny_model("auto_round-W4A16");

TEST(WeightDifference, IsTheNormOfTheDifference) {
  const at::Tensor a = at::tensor({3.0, 4.0, 0.0}, at::kFloat);  // norm 5
  const WeightDifference d = weight_difference(a, at::tensor({3.0, 4.0, -0.5}, at::kFloat));
  EXPECT_DOUBLE_EQ(d.relative, 0.1);
  EXPECT_DOUBLE_EQ(d.max, 0.5);
  EXPECT_EQ(d.differing, 1);
  EXPECT_EQ(weight_difference(a, a.to(at::kBFloat16)).differing, 0) << "the same numbers in another type";
  EXPECT_DOUBLE_EQ(weight_difference(at::zeros({3}), a).relative, 1.0);
  EXPECT_FALSE(weight_difference(a, at::tensor({3.0F, NAN, 0.0F})).finite);
}

TEST(ConfigDifference, LeavesOutHowWeightsAreStored) {
  const json::Object a{{"hidden_size", 64},
                       {"rope_parameters", {{"rope_theta", 10000.0}, {"rope_type", "default"}}},
                       {"dtype", "bfloat16"},
                       {"quantization_config", {{"bits", 4}}},
                       {"text_config", {{"num_hidden_layers", 2}}},
                       {"pad_token_id", nullptr}};
  json::Object b{{"hidden_size", 64},
                 {"rope_theta", 10000},
                 {"torch_dtype", "float16"},
                 {"text_config", {{"num_hidden_layers", 2}}}};
  EXPECT_TRUE(config_difference(a, b).empty()) << json::dump(config_difference(a, b));
  b["text_config"].as_object()["num_hidden_layers"] = 3;
  b["eos_token_id"] = 2;
  const json::Array rows = config_difference(a, b);
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[0].at("key").as_string(), "eos_token_id");
  EXPECT_TRUE(rows[0].at("a").is_null());
  EXPECT_EQ(rows[1].at("key").as_string(), "text_config.num_hidden_layers");
}

TEST(Diff, AnExportEqualsItsConversion) {
  const TemporaryFolder folder;
  converted(kGolden, folder.path() / "out", {"llm_compressor"});
  const json::Object report = compared(kGolden, folder.path() / "out");
  EXPECT_TRUE(report.at("equal").as_bool()) << json::dump(report, 2);
  EXPECT_EQ(report.at("layers_compared").to_number<int64_t>(), 14);
  EXPECT_EQ(report.at("a").at("kind").as_string(), "auto_round:auto_gptq");
  EXPECT_EQ(report.at("b").at("kind").as_string(), "compressed-tensors:pack-quantized");
}

TEST(Diff, NamesTheWorstLayerFirst) {
  const TemporaryFolder folder;
  const std::string twice = "model.layers.1.mlp.up_proj", slightly = "model.layers.0.self_attn.q_proj";
  rewrite(kGolden, folder.path() / "b", [&](TensorMap& tensors) {
    tensors.at(twice + ".scales").mul_(2);
    tensors.at(slightly + ".scales").mul_(1.25);  // exact in float16 for all but the smallest bits
    tensors.at("model.norm.weight").add_(0.5);
  });
  const json::Object report = compared(kGolden, folder.path() / "b");
  EXPECT_FALSE(report.at("equal").as_bool());
  EXPECT_EQ(report.at("layers_differing").to_number<int64_t>(), 2);
  const json::Array& layers = report.at("layers").as_array();
  ASSERT_EQ(layers.size(), 14U);
  EXPECT_EQ(layers[0].at("layer").as_string(), twice);
  EXPECT_DOUBLE_EQ(layers[0].at("relative").as_double(), 1.0) << "every weight is twice what it was";
  const auto source = open_source(kGolden, testing::registry());
  const at::Tensor weight = testing::registry().scheme_for("int").dequantize(
      sdk::packed_of(*source).unpack(twice), sdk::packed_layers(*source).front().quant.weight, at::kFloat);
  EXPECT_DOUBLE_EQ(layers[0].at("max").as_double(), weight.abs().max().item<double>());
  EXPECT_EQ(layers[1].at("layer").as_string(), slightly);
  EXPECT_NEAR(layers[1].at("relative").as_double(), 0.25, 5e-4);
  EXPECT_EQ(layers[2].at("relative").as_double(), 0.0);
  const json::Array& tensors = report.at("tensors").as_array();
  ASSERT_EQ(tensors.size(), 1U);
  EXPECT_EQ(tensors[0].at("tensor").as_string(), "model.norm.weight");
  EXPECT_NEAR(tensors[0].at("max").as_double(), 0.5, 0.01);
}

TEST(Diff, AnExportBesideItsModelShowsWhatRoundingCost) {
  const TemporaryFolder folder;
  testing::make_export(folder.path() / "w4", "source-llama-bf16", 4, true, 32, {"auto_round"});
  const json::Object report = compared(testing::tiny_model("source-llama-bf16"), folder.path() / "w4");
  EXPECT_EQ(report.at("layers_differing").to_number<int64_t>(), 14);
  EXPECT_TRUE(report.at("config").as_array().empty()) << json::dump(report.at("config"));
  const json::Value record = json::read_file(folder.path() / "w4" / "arkit-run.json");
  std::map<std::string, double> recorded;
  for (const json::Value& layer : record.at("plan").at("layers").as_array())
    if (const json::Value* error = layer.as_object().if_contains("relative_error"))
      recorded[std::string(layer.at("name").as_string())] = error->as_double();
  for (const json::Value& layer : report.at("layers").as_array()) {
    const double expected = recorded.at(std::string(layer.at("layer").as_string()));
    EXPECT_NEAR(layer.at("relative").as_double(), expected, 0.02 * expected) << json::dump(layer);
    EXPECT_EQ(layer.at("a").as_string(), "BF16");
  }
}

TEST(Diff, MissingAndReshapedTensorsDiffer) {
  const TemporaryFolder folder;
  rewrite(testing::tiny_model("source-llama-bf16"), folder.path() / "b", [](TensorMap& tensors) {
    tensors.erase("model.layers.1.input_layernorm.weight");
    tensors.at("model.embed_tokens.weight") = tensors.at("model.embed_tokens.weight").narrow(0, 0, 100);
  });
  const json::Object report = compared(testing::tiny_model("source-llama-bf16"), folder.path() / "b");
  ASSERT_EQ(report.at("tensors").as_array().size(), 2U) << json::dump(report.at("tensors"));
  std::string notes;
  for (const json::Value& row : report.at("tensors").as_array()) notes += std::string(row.at("note").as_string()) + ";";
  EXPECT_TRUE(contains(notes, "only in a")) << notes;
  EXPECT_TRUE(contains(notes, "other shape")) << notes;
}

TEST(Diff, ComparesLogits) {
  const TemporaryFolder folder;
  testing::write_safetensors(folder.path() / "ids.safetensors", {{"input_ids", at::arange(96).reshape({1, 96})}});
  const auto logits = [&](const std::string& b) {
    DiffOptions options{.a = kGolden, .b = b, .text_file = {}, .ids_file = folder.path() / "ids.safetensors"};
    options.seqlen = 32;
    Reporter silent;
    return diff(options, testing::registry(), silent).at("logits").as_object();
  };
  converted(kGolden, folder.path() / "same", {"auto_awq"});
  const json::Object same = logits((folder.path() / "same").string());
  EXPECT_EQ(same.at("windows").to_number<int64_t>(), 3);
  EXPECT_EQ(same.at("top1_agreement").as_double(), 1.0);
  EXPECT_NEAR(same.at("mean_kl").as_double(), 0.0, 1e-6);
  const json::Object other = logits(testing::tiny_model("source-llama-bf16"));
  EXPECT_GT(other.at("mean_kl").as_double(), 1e-6);
  EXPECT_LT(other.at("top1_agreement").as_double(), 1.0);
}

TEST(Diff, RefusesWhatItCannotOpen) {
  EXPECT_TRUE(contains(refusal(ErrorCode::input, [] { compared(kGolden, "/no/such"); }), "no such file"));
  Reporter silent;
  DiffOptions both{.a = kGolden, .b = kGolden, .text_file = "a", .ids_file = "b"};
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { (void)diff(both, testing::registry(), silent); }), "--text"));
}

}  // namespace
}  // namespace arkit
