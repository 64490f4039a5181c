// Exports that are damaged in one place each: `verify` finds every one.

#include <algorithm>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/str.h>

#include "verify/verify_testing.h"

namespace arkit::testing {
namespace {

namespace fs = std::filesystem;

struct Damage {
  const char* name;
  const char* exported;  // see recipe_of
  const char* check;     // one of the checks that must fail
  Edit edit;
};

struct Recipe {
  const char* source;
  Tweak tweak;
};

void as_format(QuantizeOptions& options, const char* scheme, const char* format) {
  options.scheme = scheme;
  options.formats = {format};
}

Recipe recipe_of(const std::string& name) {
  if (name == "auto_round")
    return {"source-llama-bf16", [](QuantizeOptions& o) { as_format(o, "W4A16", "auto_round"); }};
  if (name == "two bits") return {"source-llama-bf16", [](QuantizeOptions& o) { as_format(o, "W2A16", "auto_round"); }};
  if (name == "asymmetric")
    return {"source-llama-bf16", [](QuantizeOptions& o) {
              as_format(o, "W4A16", "auto_round");
              o.overrides.sym = false;
            }};
  if (name == "biases") return {"source-llama-fp32", [](QuantizeOptions& o) { as_format(o, "W8A16", "auto_round"); }};
  if (name == "compressed")
    return {"source-qwen3-bf16", [](QuantizeOptions& o) { as_format(o, "W4A16", "llm_compressor"); }};
  if (name == "compressed int8")
    return {"source-llama-bf16", [](QuantizeOptions& o) {
              as_format(o, "INT8_W8A8", "llm_compressor");
              o.overrides.group_size.reset();
            }};
  if (name == "mxfp4")
    return {"source-llama-bf16", [](QuantizeOptions& o) { as_format(o, "MXFP4", "llm_compressor"); }};
  if (name == "awq") return {"source-llama-bf16", [](QuantizeOptions& o) { as_format(o, "W4A16", "auto_awq"); }};
  if (name == "mlx") return {"source-llama-bf16", [](QuantizeOptions& o) { as_format(o, "W4A16", "mlx"); }};
  if (name == "fake") return {"source-llama-fp32", [](QuantizeOptions& o) { as_format(o, "W8A16", "fake"); }};
  throw_input("no export " + name);
}

constexpr const char* kUp = "model.layers.1.mlp.up_proj.";
constexpr const char* kLayers = "layers against the source";
constexpr const char* kAround = "configuration and plain tensors";
constexpr const char* kLists = "layers as the configuration lists them";
constexpr const char* kConfig = "configuration says what the source's says";

at::Tensor& tensor(Folder& folder, const std::string& name) {
  const auto found = folder.tensors.find(name);
  if (found == folder.tensors.end()) throw_input("no tensor " + name);
  return found->second;
}

void swap_layers(Folder& folder, const std::string& a, const std::string& b) {
  for (auto& [name, value] : folder.tensors)
    if (name.starts_with(a + ".")) std::swap(value, tensor(folder, b + name.substr(a.size())));
}

void swap_rows(at::Tensor& matrix, int64_t dim) {
  const at::Tensor row = matrix.select(dim, 3).clone();
  matrix.select(dim, 3).copy_(matrix.select(dim, 5));
  matrix.select(dim, 5).copy_(row);
}

json::Object& quantization(Folder& folder) {
  return folder.config.at("quantization_config").as_object();
}

// clang-format off
const Damage kDamages[] = {
    {"FlippedScale", "auto_round", kLayers, [](Folder& f) { tensor(f, str(kUp, "scales"))[1][7].neg_(); }},
    {"DoubledScale", "auto_round", kLayers, [](Folder& f) { tensor(f, str(kUp, "scales"))[1][7].mul_(2); }},
    {"HalvedScale", "auto_round", kLayers, [](Folder& f) { tensor(f, str(kUp, "scales"))[1][7].mul_(0.5); }},
    {"DoubledScaleOfTwoBits", "two bits", kLayers, [](Folder& f) { tensor(f, str(kUp, "scales"))[1][7].mul_(2); }},
    {"FlippedScaleOfTwoBits", "two bits", kLayers, [](Folder& f) { tensor(f, str(kUp, "scales"))[1][7].neg_(); }},
    {"SwappedBlocks", "auto_round", kLayers, [](Folder& f) { swap_layers(f, "model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"); }},
    {"SwappedLayersOfTwoBits", "two bits", kLayers, [](Folder& f) { swap_layers(f, "model.layers.0.mlp.gate_proj", "model.layers.0.mlp.up_proj"); }},
    {"SwappedKeysAndValues", "mlx", kLayers, [](Folder& f) { swap_layers(f, "model.layers.0.self_attn.k_proj", "model.layers.0.self_attn.v_proj"); }},
    {"PermutedOutputs", "auto_round", kLayers, [](Folder& f) { swap_rows(tensor(f, str(kUp, "qweight")), 1); }},
    {"PermutedRows", "compressed", kLayers, [](Folder& f) { swap_rows(tensor(f, str(kUp, "weight_packed")), 0); }},
    {"PermutedRowsOfFullSize", "fake", kLayers, [](Folder& f) { swap_rows(tensor(f, str(kUp, "weight")), 0); }},
    {"OneCode", "mxfp4", kLayers, [](Folder& f) { tensor(f, str(kUp, "weight_packed"))[9][4].bitwise_xor_(0x77); }},
    {"ExponentOneOff", "mxfp4", kLayers, [](Folder& f) { tensor(f, str(kUp, "weight_scale"))[9][1].add_(1); }},
    {"SmallestExponent", "mxfp4", kLayers, [](Folder& f) { tensor(f, str(kUp, "weight_scale"))[9][1].zero_(); }},
    {"ZeroPointOneOff", "asymmetric", kLayers, [](Folder& f) { tensor(f, str(kUp, "qzeros")).bitwise_xor_(0x11111111); }},
    {"OffsetOneOff", "mlx", kLayers, [](Folder& f) { tensor(f, str(kUp, "biases")).add_(tensor(f, str(kUp, "scales"))); }},
    {"OtherZeroConvention", "auto_round", kLayers, [](Folder& f) { quantization(f)["packing_format"] = "auto_round"; }},
    {"OrderOfNibbles", "awq", kLayers, [](Folder& f) { tensor(f, str(kUp, "qweight")).bitwise_xor_(0x0F0F0F0F); }},
    {"LostBias", "biases", kAround, [](Folder& f) { f.tensors.erase("model.layers.0.self_attn.q_proj.bias"); }},
    {"ZeroBias", "biases", kAround, [](Folder& f) { tensor(f, "model.layers.1.self_attn.v_proj.bias").zero_(); }},
    {"OtherNorm", "auto_round", "copied tensors equal the source", [](Folder& f) { tensor(f, "model.norm.weight")[3].mul_(1.01); }},
    {"LostLayer", "compressed", kAround, [](Folder& f) { std::erase_if(f.tensors, [](const auto& t) { return t.first.starts_with(kUp); }); }},
    {"LostNorm", "mlx", kAround, [](Folder& f) { f.tensors.erase("model.layers.1.input_layernorm.weight"); }},
    {"OtherBits", "auto_round", "opens", [](Folder& f) { quantization(f)["bits"] = 8; }},
    {"OtherGroup", "auto_round", "opens", [](Folder& f) { quantization(f)["group_size"] = 64; }},
    {"NothingIgnored", "compressed int8", kLists, [](Folder& f) { quantization(f)["ignore"] = json::Array{}; }},
    {"NothingLeftOut", "awq", kLists, [](Folder& f) { quantization(f).erase("modules_to_not_convert"); }},
    {"PackedButLeftOut", "auto_round", "opens", [](Folder& f) { quantization(f)["extra_config"] = json::Object{{"model.layers.1.mlp.up_proj", json::Object{{"bits", 16}}}}; }},
    {"TiedByFlag", "auto_round", "head as configured", [](Folder& f) { f.config["tie_word_embeddings"] = true; }},
    {"TiedByDefault", "mlx", "head as configured", [](Folder& f) { f.config.erase("tie_word_embeddings"); }},
    {"UntiedByFlag", "compressed", kAround, [](Folder& f) { f.config["tie_word_embeddings"] = false; }},
    {"OtherEpsilon", "auto_round", kConfig, [](Folder& f) { f.config["rms_norm_eps"] = 1e-3; }},
    {"OtherTheta", "mlx", kAround, [](Folder& f) { f.config["rope_theta"] = 54321.0; }},
    {"RopeScaling", "auto_round", kAround, [](Folder& f) { f.config["rope_scaling"] = json::Object{{"rope_type", "linear"}, {"factor", 4.0}}; }},
    {"OtherActivation", "auto_round", kAround, [](Folder& f) { f.config["hidden_act"] = "gelu"; }},
    {"FewerBlocks", "auto_round", kAround, [](Folder& f) { f.config["num_hidden_layers"] = 1; }},
    {"OtherEndOfText", "compressed", kConfig, [](Folder& f) { f.config["eos_token_id"] = 77; }},
};
// clang-format on

class Damaged : public ::testing::TestWithParam<Damage> {};

TEST_P(Damaged, IsFound) {
  const Damage& damage = GetParam();
  const Recipe recipe = recipe_of(damage.exported);
  const TemporaryFolder folder;
  export_model(tiny_model(recipe.source), folder.path() / "good", recipe.tweak);
  Folder changed(folder.path() / "good");
  damage.edit(changed);
  changed.write(folder.path() / "bad");
  const json::Object report = verified(folder.path() / "bad", tiny_model(recipe.source));
  EXPECT_FALSE(report.at("passed").as_bool());
  EXPECT_NE(failures(report).find(damage.check), std::string::npos) << failures(report);
}

INSTANTIATE_TEST_SUITE_P(Verify, Damaged, ::testing::ValuesIn(kDamages),
                         [](const auto& info) { return std::string(info.param.name); });

// The undamaged ones pass, written again by the same code.
class Undamaged : public ::testing::TestWithParam<const char*> {};

TEST_P(Undamaged, Passes) {
  const Recipe recipe = recipe_of(GetParam());
  const TemporaryFolder folder;
  export_model(tiny_model(recipe.source), folder.path() / "good", recipe.tweak);
  Folder(folder.path() / "good").write(folder.path() / "again");
  EXPECT_EQ(failures(verified(folder.path() / "again", tiny_model(recipe.source))), "");
}

INSTANTIATE_TEST_SUITE_P(Verify, Undamaged,
                         ::testing::Values("auto_round", "two bits", "asymmetric", "biases", "compressed", "mxfp4",
                                           "awq", "mlx", "fake"));

// Without a source to compare with.
TEST(Verify, FindsAMissingTensorByItself) {
  const TemporaryFolder folder;
  export_model(tiny_model("source-llama-bf16"), folder.path() / "good", {});
  Folder exported(folder.path() / "good");
  exported.tensors.erase("model.layers.1.input_layernorm.weight");
  exported.write(folder.path() / "bad");
  fs::remove(folder.path() / "bad/arkit-run.json");
  const json::Object report = verified(folder.path() / "bad");
  EXPECT_FALSE(report.contains("against"));
  EXPECT_NE(failures(report).find("tensors the model needs"), std::string::npos) << failures(report);
}

// The scaling is there, in the place transformers 5 has for it; mlx-lm looks at rope_scaling only.
TEST(Verify, FindsRopeScalingWhereItsTargetDoesNotLook) {
  const TemporaryFolder folder;
  const json::Object scaling{{"rope_type", "llama3"},  {"factor", 8.0},
                             {"low_freq_factor", 1.0}, {"high_freq_factor", 4.0},
                             {"rope_theta", 500000.0}, {"original_max_position_embeddings", 64}};
  Folder model(tiny_model("source-llama-bf16"));
  model.config.erase("rope_parameters");
  model.config["rope_theta"] = 500000.0;
  model.config["rope_scaling"] = scaling;
  model.config["rope_scaling"].as_object().erase("rope_theta");
  model.write(folder.path() / "source");
  const Recipe recipe = recipe_of("mlx");
  export_model(folder.path() / "source", folder.path() / "good", recipe.tweak);
  Folder exported(folder.path() / "good");
  EXPECT_EQ(failures(verified(folder.path() / "good")), "");
  exported.config.erase("rope_scaling");
  exported.config["rope_parameters"] = scaling;
  exported.write(folder.path() / "bad");
  const std::string found = failures(verified(folder.path() / "bad", (folder.path() / "source").string()));
  EXPECT_NE(found.find(kAround), std::string::npos) << found;
}

}  // namespace
}  // namespace arkit::testing
