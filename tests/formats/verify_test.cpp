// `verify` passes what is right and names what is wrong.

#include <cstring>
#include <fstream>
#include <functional>
#include <iterator>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/error.h>

#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

namespace fs = std::filesystem;

const Registry& all_plugins() {
  static const Registry kRegistry = [] {
    PluginSearch search;
    search.folders.emplace_back(ARKIT_PLUGIN_BUILD_DIR);
    return Registry(search);
  }();
  return kRegistry;
}

const GoldenCase& golden_named(const std::string& name) {
  for (const GoldenCase& golden : golden_cases())
    if (golden.name == name) return golden;
  throw_input("no golden case " + name);
}

json::Object verified(const fs::path& folder, const std::string& source) {
  Reporter silent;
  VerifyOptions options{.directory = folder};
  if (!source.empty()) options.against = (fs::path(golden_root()) / source).string();
  return verify(options, all_plugins(), silent);
}

const json::Object& check_named(const json::Object& result, const std::string& name) {
  for (const json::Value& check : result.at("checks").get_array())
    if (check.at("name").get_string() == name) return check.get_object();
  throw_input("no check " + name);
}

std::string whole_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Where a tensor's bytes lie in model.safetensors.
size_t offset_of(const std::string& file, const std::string& tensor) {
  uint64_t length = 0;
  std::memcpy(&length, file.data(), 8);
  const json::Value header = json::parse(std::string_view(file).substr(8, length), "header");
  return 8 + length + static_cast<size_t>(header.at(tensor).at("data_offsets").at(0).as_int64());
}

// Exports a case, changes the bytes of one tensor, and gives back what verify says.
json::Object verified_after(const std::string& golden_name, const std::string& tensor,
                            const std::function<void(char*)>& change) {
  const GoldenCase& golden = golden_named(golden_name);
  TemporaryFolder folder("verify");
  export_case(golden, folder.path());
  std::string file = whole_file(folder.path() / "model.safetensors");
  change(file.data() + offset_of(file, tensor));
  std::ofstream(folder.path() / "model.safetensors", std::ios::binary) << file;
  return verified(folder.path(), golden.source);
}

class VerifyGood : public testing::TestWithParam<const char*> {};

TEST_P(VerifyGood, PassesAgainstItsSource) {
  const GoldenCase& golden = golden_named(GetParam());
  TemporaryFolder folder("good");
  export_case(golden, folder.path());
  const json::Object result = verified(folder.path(), golden.source);
  EXPECT_TRUE(result.at("passed").as_bool()) << json::dump(result, 2);
  EXPECT_EQ(result.at("counts").at("unaccounted").to_number<int64_t>(), 0);
  EXPECT_EQ(result.at("counts").at("quantized").to_number<int64_t>(),
            result.at("counts").at("packed_layers").to_number<int64_t>());
}

INSTANTIATE_TEST_SUITE_P(All, VerifyGood,
                         testing::Values("auto_round-W4A16", "auto_round-W2A16-asym", "auto_round-W4A16-asym",
                                         "auto_gptq-W3A16G32-asym", "auto_awq-W4A16G32-asym", "mixed-auto_round-W4A16",
                                         "mixed-auto_gptq-W4A16", "lmhead-auto_round-W4A16",
                                         "qwen3tied-auto_round-W4A16", "auto_round-W4A16G32-bias-fp32",
                                         "shard200KB-auto_round-W4A16", "llm_compressor-W5A16",
                                         "llm_compressor-W3A16G32-asym", "mixed-llm_compressor-W4A16", "mlx-W5A16G32",
                                         "mlx-W4A16G32-asym", "mixed-mlx-W4A16G32"));

TEST(Verify, AZeroPointOffByOneIsABias) {
  const json::Object result =
      verified_after("auto_awq-W4A16G32-asym", "model.layers.0.self_attn.q_proj.qzeros", [](char* bytes) {
        for (int i = 0; i < 16; ++i) bytes[i] = static_cast<char>(bytes[i] ^ 1);  // every second zero point by one
      });
  EXPECT_FALSE(result.at("passed").as_bool());
  const json::Object& check = check_named(result, "layers against the source");
  EXPECT_NE(std::string(check.at("detail").get_string()).find("q_proj"), std::string::npos);
  EXPECT_TRUE(check_named(result, "packed values").at("passed").as_bool()) << "by itself nothing looks wrong";
}

TEST(Verify, NamesAScaleThatIsNotFinite) {
  const json::Object result = verified_after("auto_round-W4A16", "model.layers.1.mlp.up_proj.scales", [](char* bytes) {
    const uint16_t infinity = 0x7C00;
    std::memcpy(bytes, &infinity, 2);
  });
  EXPECT_FALSE(result.at("passed").as_bool());
  EXPECT_FALSE(check_named(result, "packed values").at("passed").as_bool());
}

TEST(Verify, NamesAPlainTensorThatDiffers) {
  const json::Object result =
      verified_after("auto_round-W4A16", "model.norm.weight", [](char* bytes) { bytes[0] ^= 1; });
  EXPECT_FALSE(result.at("passed").as_bool());
  const json::Object& check = check_named(result, "copied tensors equal the source");
  EXPECT_NE(std::string(check.at("detail").get_string()).find("model.norm.weight"), std::string::npos);
}

TEST(Verify, NamesATensorThatIsMissing) {
  const GoldenCase& golden = golden_named("auto_round-W4A16");
  TemporaryFolder folder("missing");
  export_case(golden, folder.path());
  std::string file = whole_file(folder.path() / "model.safetensors");
  const std::string name = "model.norm.weight";
  file.replace(file.find(name), name.size(), "model.norm.weighs");
  std::ofstream(folder.path() / "model.safetensors", std::ios::binary) << file;
  const json::Object result = verified(folder.path(), golden.source);
  const json::Object& check = check_named(result, "every source tensor accounted for");
  EXPECT_FALSE(check.at("passed").as_bool());
  EXPECT_NE(std::string(check.at("detail").get_string()).find("model.norm.weighs"), std::string::npos)
      << "what is there without an origin is named too";
}

TEST(Verify, ATruncatedFileDoesNotOpen) {
  TemporaryFolder folder("truncated");
  export_case(golden_named("auto_round-W4A16"), folder.path());
  fs::resize_file(folder.path() / "model.safetensors", 100000);
  const json::Object result = verified(folder.path(), "");
  EXPECT_FALSE(result.at("passed").as_bool());
  EXPECT_FALSE(check_named(result, "opens").at("passed").as_bool());
}

TEST(Verify, SaysWhenThereIsNoSourceToCompareWith) {
  TemporaryFolder folder("alone");
  export_case(golden_named("auto_gptq-W4A16"), folder.path());
  const json::Object result = verified(folder.path(), "");
  EXPECT_TRUE(result.at("passed").as_bool());
  EXPECT_TRUE(check_named(result, "comparison with the source").at("skipped").as_bool());
  EXPECT_THROW((void)verified(folder.path() / "nowhere", ""), Error);
}

// The wrong source: every layer is sound by itself and none is the source's.
TEST(Verify, AnotherModelsWeightsFail) {
  TemporaryFolder folder("other");
  export_case(golden_named("auto_round-W4A16"), folder.path());
  EXPECT_FALSE(verified(folder.path(), "source-qwen3-bf16").at("passed").as_bool());
}

// The global scale of activations lies beside a weight of full size, and the source has none.
TEST(Verify, AcceptsTheScalesOfAFullSizeExport) {
  const TemporaryFolder folder("full_size");
  QuantizeOptions options;
  options.model = (fs::path(golden_root()) / "source-llama-bf16").string();
  options.recipe = "rtn";
  options.scheme = "NVFP4";
  options.output_dir = folder.path() / "out";
  options.formats = {"fake"};
  options.dataset = "self";
  options.tuning.nsamples = 2;
  options.tuning.seqlen = 8;
  Reporter silent;
  (void)quantize(options, all_plugins(), silent);
  const json::Object report = verify({.directory = options.output_dir, .against = {}}, all_plugins(), silent);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report.at("checks"), 2);
}

}  // namespace
}  // namespace arkit::test
