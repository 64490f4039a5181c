// Packed exports read back: ours and the reference's, and what damaged ones say.

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>

#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

namespace fs = std::filesystem;

const GoldenCase& golden_named(const std::string& name) {
  for (const GoldenCase& golden : golden_cases())
    if (golden.name == name) return golden;
  throw_input("no golden case " + name);
}

// Reading a reference export gives the codes the formulas of the specification give.
TEST(Reader, DecodesTheReferencesExports) {
  for (const GoldenCase& golden : golden_cases()) {
    if (golden.format == "fake" || !golden.weight_only_int()) continue;
    SCOPED_TRACE(golden.name);
    fs::path folder = fs::path(golden_root()) / golden.name;
    TemporaryFolder ours("read");
    if (!fs::exists(folder / "model.safetensors") && !fs::exists(folder / "model.safetensors.index.json")) {
      if (golden.allow_w8_asym) ::setenv("AR_ALLOW_W8_ASYM", "1", 1);
      export_case(golden, ours.path());  // the same bytes, which the golden tests check
      ::unsetenv("AR_ALLOW_W8_ASYM");
      folder = ours.path();
    }
    const auto source = open_hf_folder(fs::path(golden_root()) / golden.source);
    const QuantPlan plan = plan_of(*source, golden);
    const auto packed = reader_for(folder).open(folder);
    int64_t quantized = 0;
    for (const LayerPlan& layer : plan.layers) quantized += layer.quantized() ? 1 : 0;
    ASSERT_EQ(static_cast<int64_t>(sdk::packed_layers(*packed).size()), quantized);
    for (const LinearSpec& spec : sdk::packed_layers(*packed)) {
      const LayerPlan& layer = *plan.find(spec.name);
      EXPECT_EQ(spec.quant.weight.bits, layer.quant.weight.bits) << spec.name;
      EXPECT_EQ(spec.quant.weight.group_size, layer.quant.weight.group_size) << spec.name;
      EXPECT_EQ(spec.out_features, layer.out_features);
      EXPECT_EQ(spec.in_features, layer.in_features);
      EXPECT_EQ(spec.has_bias, layer.has_bias);
      const at::Tensor weight = source->weights().load(spec.name + ".weight").to(at::kBFloat16);
      const QuantizedWeight expected = round_to_nearest(weight, layer.quant.weight);
      const QuantizedWeight got = sdk::packed_of(*packed).unpack(spec.name);
      EXPECT_TRUE(got.codes.equal(expected.codes)) << spec.name;
      EXPECT_TRUE(got.scale.equal(expected.scale)) << spec.name;
      EXPECT_EQ(got.zero_point.defined(), expected.zero_point.defined());
      if (expected.zero_point.defined()) EXPECT_TRUE(got.zero_point.equal(expected.zero_point)) << spec.name;
    }
  }
}

// Schemes the reference cannot write, symmetric 5 to 7 bits, come back from our own files.
TEST(Reader, ReadsSymmetricOddBits) {
  for (const char* scheme : {"W5A16", "W6A16", "W7A16"}) {
    GoldenCase golden = golden_named("auto_round-W4A16");
    golden.scheme = scheme;
    TemporaryFolder folder(scheme);
    export_case(golden, folder.path());
    const auto packed = reader_for(folder.path()).open(folder.path());
    EXPECT_EQ(packed->kind(), "auto_round:auto_gptq");
    const LinearSpec& spec = sdk::packed_layers(*packed).front();
    const auto source = open_hf_folder(fs::path(golden_root()) / golden.source);
    const QuantizedWeight expected = round_to_nearest(source->weights().load(spec.name + ".weight"), spec.quant.weight);
    EXPECT_TRUE(sdk::packed_of(*packed).unpack(spec.name).codes.equal(expected.codes)) << scheme;
  }
}

TEST(Reader, LeavesPlainFoldersAlone) {
  const json::Value config = json::read_file(fs::path(golden_root()) / "source-llama-bf16" / "config.json");
  for (const std::string& name : format_plugins().names(Kind::reader)) {
    const ModelReader& reader = format_plugins().reader(name);
    EXPECT_FALSE(reader.matches(golden_root(), &config.get_object())) << name;
    EXPECT_FALSE(reader.matches("model.gguf", nullptr)) << name;
  }
}

TEST(Reader, PackedTensorsComeBySuffix) {
  const fs::path folder = fs::path(golden_root()) / "auto_gptq-W3A16G32-asym";
  const auto packed = reader_for(folder).open(folder);
  const TensorMap tensors = sdk::packed_of(*packed).tensors(sdk::packed_layers(*packed).front().name);
  EXPECT_EQ(tensors.size(), 4U);
  EXPECT_TRUE(tensors.contains("g_idx"));
  EXPECT_THROW((void)sdk::packed_of(*packed).tensors("model.layers.9.mlp.up_proj"), Error);
}

// Opens `folder` after replacing `from` by `to` in one of its files.
void expect_refused(const fs::path& folder, const std::string& from, const std::string& to, ErrorCode code,
                    const std::string& says, const char* file) {
  std::ifstream in(folder / file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  in.close();
  const size_t at = text.find(from);
  ASSERT_NE(at, std::string::npos) << from;
  if (std::string(file) == "model.safetensors") ASSERT_EQ(from.size(), to.size());
  text.replace(at, from.size(), to);
  std::ofstream(folder / file, std::ios::binary) << text;
  try {
    const auto packed = reader_for(folder).open(folder);
    for (const LinearSpec& spec : sdk::packed_layers(*packed)) (void)sdk::packed_of(*packed).unpack(spec.name);
    ADD_FAILURE() << "accepted: " << to;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_NE(std::string(error.what()).find(says), std::string::npos) << error.what();
  }
}

// The same on a copy of a golden export.
void expect_refused(const std::string& name, const std::string& from, const std::string& to, ErrorCode code,
                    const std::string& says, const char* file = "config.json") {
  TemporaryFolder folder("hostile");
  const fs::path golden = fs::path(golden_root()) / name;
  for (const char* copied : {"config.json", "model.safetensors"})
    fs::copy_file(golden / copied, folder.path() / copied);
  expect_refused(folder.path(), from, to, code, says, file);
}

TEST(Reader, RefusesConfigsThatDoNotFitTheTensors) {
  const std::string w4 = "auto_round-W4A16";
  expect_refused(w4, R"("bits": 4)", R"("bits": 3)", ErrorCode::input, "3-bit codes");
  expect_refused(w4, R"("bits": 4)", R"("bits": 8)", ErrorCode::input, "qzeros");
  expect_refused(w4, R"("bits": 4)", R"("bits": 99)", ErrorCode::input, "99");
  expect_refused(w4, R"("bits": 4)", R"("bits": 16)", ErrorCode::input, "16 bits");
  expect_refused(w4, R"("bits": 4)", R"("bits": "four")", ErrorCode::input, "bits");
  expect_refused(w4, R"("group_size": 128)", R"("group_size": 32)", ErrorCode::input, "qzeros");
  expect_refused(w4, R"("group_size": 128)", R"("group_size": 0)", ErrorCode::input, "group_size");
  expect_refused(w4, "auto_round:auto_gptq", "auto_round:fp8", ErrorCode::unsupported, "auto_round:fp8");
  expect_refused("auto_awq-W4A16G32-asym", R"("version": "gemm")", R"("version": "gemv")", ErrorCode::unsupported,
                 "gemv");
  expect_refused("mixed-auto_gptq-W4A16", R"("-:.*k_proj.*")", R"("-:.*(k_proj.*")", ErrorCode::input, "k_proj");
}

// A case exported by us with `from` replaced by `to` in one of its files.
void expect_export_refused(const std::string& name, const std::string& from, const std::string& to, ErrorCode code,
                           const std::string& says, const char* file = "config.json") {
  TemporaryFolder folder("damaged");
  export_case(golden_named(name), folder.path());
  expect_refused(folder.path(), from, to, code, says, file);
}

TEST(Reader, RefusesDamagedCompressedTensors) {
  const std::string w4 = "llm_compressor-W4A16G32-asym";
  const auto refused = [&](const std::string& from, const std::string& to, ErrorCode code, const std::string& says,
                           const char* file = "config.json") { expect_export_refused(w4, from, to, code, says, file); };
  refused(R"("num_bits": 4)", R"("num_bits": 3)", ErrorCode::input, "weight_packed");
  refused(R"("num_bits": 4)", R"("num_bits": 99)", ErrorCode::input, "99");
  refused(R"("group_size": 32)", R"("group_size": 64)", ErrorCode::input, "weight_scale");
  refused(R"("group_size": 32)", R"("group_size": 0)", ErrorCode::input, "group_size");
  refused(R"("strategy": "group")", R"("strategy": "rings")", ErrorCode::unsupported, "rings");
  refused(R"("format": "pack-quantized")", R"("format": "marlin-24")", ErrorCode::unsupported, "marlin-24");
  refused(R"("Linear")", R"("re:(")", ErrorCode::input, "config group");
  refused(R"("Linear")", R"("re:^nothing")", ErrorCode::input, "no config group");
  refused("down_proj.weight_shape", "down_proj.weight_shapx", ErrorCode::input, "weight_shape", "model.safetensors");
  refused("down_proj.weight_zero_point", "down_proj.weight_zero_poinx", ErrorCode::input, "weight_zero_point",
          "model.safetensors");
}

TEST(Reader, RefusesTensorsOfAnotherShape) {
  const std::string w4 = "auto_round-W4A16";
  expect_refused(w4, R"(.qzeros":{"dtype":"I32","shape":[2,16])", R"(.qzeros":{"dtype":"I32","shape":[16,2])",
                 ErrorCode::input, "qzeros", "model.safetensors");
  expect_refused(w4, R"(.qweight":{"dtype":"I32","shape":[32,128])", R"(.qweight":{"dtype":"U32","shape":[32,128])",
                 ErrorCode::input, "qweight", "model.safetensors");
  expect_refused(w4, "down_proj.qzeros", "down_proj.qxxxxx", ErrorCode::input, "qzeros", "model.safetensors");
}

// The index of act order says which group an input belongs to; one that names no group is no index.
TEST(Reader, RefusesGroupsThatDoNotExist) {
  TemporaryFolder folder("gidx");
  const fs::path golden = fs::path(golden_root()) / "auto_gptq-W3A16G32-asym";
  for (const char* copied : {"config.json", "model.safetensors"})
    fs::copy_file(golden / copied, folder.path() / copied);
  int64_t offset = 0;
  {
    const auto weights = open_safetensors(folder.path());
    ASSERT_TRUE(weights->tensors().front().name.ends_with("g_idx")) << "the first tensor of the file";
    std::ifstream in(folder.path() / "model.safetensors", std::ios::binary);
    in.read(reinterpret_cast<char*>(&offset), 8);
    offset += 8;
  }
  std::fstream file(folder.path() / "model.safetensors", std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(offset);
  const int32_t none = 8;  // of 256 inputs in groups of 32
  file.write(reinterpret_cast<const char*>(&none), 4);
  file.close();
  try {
    (void)reader_for(folder.path()).open(folder.path());
    ADD_FAILURE() << "accepted";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input) << error.what();
  }
}

}  // namespace
}  // namespace arkit::test
