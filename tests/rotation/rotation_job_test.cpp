// Rotated models through the jobs: quantize, read back, compute, verify; and what each format says to them.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"
#include "rotation/rotation_testing.h"
#include "rotations.h"

namespace arkit::rotation {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Recorder;
using testing::refusal;

class RotationJob : public ::testing::Test {
 protected:
  RotationJob() {
    at::set_num_threads(1);
    use_model("llama");
    options_.scheme = "W8A16";
    options_.overrides.group_size = 32;
    options_.recipe = "rtn";
    options_.output_dir = folder_.path() / "out";
    options_.force = true;
  }
  void use_model(const std::string& name) {
    model_ = name;
    options_.model = (kModels / name).string();
  }
  json::Object run(const std::string& rotation) {
    options_.rotation = rotation;
    return quantize(options_, registry(), recorder_);
  }

  fs::path ids_file() {
    const at::Tensor ids = some_ids().contiguous();
    const std::string header = R"({"input_ids":{"dtype":"I64","shape":[2,24],"data_offsets":[0,384]}})";
    const uint64_t length = header.size();
    const fs::path path = folder_.path() / "ids.safetensors";
    std::ofstream out(path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(&length), sizeof length);
    out << header;
    out.write(static_cast<const char*>(ids.const_data_ptr()), static_cast<std::streamsize>(ids.nbytes()));
    return path;
  }

  // Logits of any model or export on the same tokens.
  at::Tensor logits(const fs::path& model) {
    ForwardOptions forward_options;
    forward_options.model = model.string();
    forward_options.input_ids = ids_file();
    forward_options.output = folder_.path() / "logits.safetensors";
    (void)forward(forward_options, registry(), recorder_);
    return open_safetensors(forward_options.output)->load("logits").clone();
  }
  double distance(const fs::path& model) {
    const at::Tensor expected = logits(kModels / model_);
    return ((logits(model) - expected).norm() / expected.norm()).item<double>();
  }
  void expect_verified() {
    const json::Object report = verify({.directory = options_.output_dir}, registry(), recorder_);
    EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 1);
  }
  json::Object quantization_config() {
    const json::Value config = json::read_file(options_.output_dir / "config.json");
    return config.as_object().at("quantization_config").as_object();
  }

  // What the reader makes of the export is what the exporter made it from.
  void expect_written_again() {
    const auto exported = open_source(options_.output_dir.string(), registry());
    json::Object again, written = quantization_config();
    auto_round::write_rotations(*exported, again);
    EXPECT_EQ(again.empty(), exported->rotations() == nullptr);
    for (const auto& member : again) EXPECT_EQ(json::dump(member.value()), json::dump(written.at(member.key())));
    for (const LinearSpec& layer : sdk::packed_layers(*exported)) {
      const TensorMap tensors = auto_round::rotation_tensors(*exported, layer.name);
      for (const auto& [suffix, tensor] : tensors)
        EXPECT_TRUE(tensor.equal(exported->weights().load(str(layer.name, ".", suffix)))) << layer.name << suffix;
      for (const auto& [suffix, tensor] : exported->packed()->tensors(layer.name)) {
        const bool of_rotation = suffix.starts_with("hadamard") || suffix.starts_with("spinquant");
        EXPECT_EQ(tensors.contains(suffix), of_rotation) << layer.name << suffix;
      }
    }
  }

  testing::TemporaryFolder folder_;
  std::string model_;
  QuantizeOptions options_;
  Recorder recorder_;
};

// 8 bits and bf16 weights cost about 1 %; a rotation that is missed or applied twice costs all of it.
constexpr double kEightBits = 0.04;

const std::vector<std::string>& exported_kinds() {
  static const std::vector<std::string> kKinds = {
      "default",
      "random_hadamard",
      "quarot",
      "inplace_hadamard",
      "inplace_random",
      R"({"algorithm": "quarot", "r3": true, "r4": true, "random_r1": true, "random_r4": true})",
      R"({"algorithm": "quarot", "r4": true, "rotation_size": 32, "online_r1_rotation": false})"};
  return kKinds;
}

TEST_F(RotationJob, ExportsComputeWhatTheModelDoes) {
  for (const char* model : {"llama", "qwen2", "qwen3"}) {
    use_model(model);
    for (const std::string& kind : exported_kinds()) {
      SCOPED_TRACE(std::string(model) + " " + kind);
      (void)run(kind);
      EXPECT_LT(distance(options_.output_dir), kEightBits);
      expect_written_again();
    }
  }
}

// With 4 bits: verify measures against the float32 weights, and their cast to bf16 is nothing beside these.
TEST_F(RotationJob, ExportsPassVerification) {
  options_.scheme = "W4A16";
  for (const std::string& kind : exported_kinds()) {
    SCOPED_TRACE(kind);
    (void)run(kind);
    expect_verified();
  }
}

TEST_F(RotationJob, FloatingPointFormatsDoToo) {
  options_.overrides = {};
  for (const char* scheme : {"MXFP8", "MXFP4"}) {
    options_.scheme = scheme;
    options_.ignore_layers = {"layers.1.mlp.gate_proj"};
    (void)run("");
    const double unrotated = distance(options_.output_dir);
    for (const std::string& kind : {"default", "random_hadamard", "quarot"}) {
      SCOPED_TRACE(std::string(scheme) + " " + kind);
      (void)run(kind);
      // A rotation changes what the bits cost by some percent; one that is missed or applied twice costs all of it.
      EXPECT_NEAR(distance(options_.output_dir) / unrotated, 1.0, 0.25);
      expect_verified();
    }
  }
}

TEST_F(RotationJob, TuningSeesTheRotatedModel) {
  options_.recipe = "default";
  options_.tuning.iters = 3;
  options_.tuning.nsamples = 2;
  options_.tuning.seqlen = 16;
  options_.tuning.amp_dtype = "float32";
  options_.model = testing::tiny_model("source-llama-bf16");
  options_.dataset = "self";
  options_.rotation = "quarot";
  for (const std::string kind : {"quarot", "default", "inplace_hadamard"}) {
    const json::Object summary = run(kind);
    EXPECT_EQ(summary.at("method").as_string(), "SignRound") << kind;
    expect_verified();
  }
}

TEST_F(RotationJob, LeavesOutWhatIsNotQuantized) {
  options_.ignore_layers = {"layers.0.mlp.up_proj"};
  (void)run("hadamard");
  const json::Object config = quantization_config();
  const json::Array& left = config.at("rotation_config").at("not_rotated").as_array();
  EXPECT_NE(std::find(left.begin(), left.end(), json::Value("model.layers.0.mlp.up_proj")), left.end());
  const auto exported = open_source(options_.output_dir.string(), registry());
  EXPECT_EQ(sdk::input_rotation(*exported, "model.layers.0.mlp.up_proj"), nullptr);
  EXPECT_NE(sdk::input_rotation(*exported, "model.layers.0.mlp.gate_proj"), nullptr);
  const auto& record = std::get<LayerRotations>(exported->rotations()->record());
  EXPECT_EQ(record.left_alone.size(), left.size());
  EXPECT_EQ(exported->rotations()->stored("model.layers.0.mlp.gate_proj")->size, record.block_size);
  EXPECT_LT(distance(options_.output_dir), kEightBits);
}

TEST_F(RotationJob, FusedRotationsFitEveryFormat) {
  for (const char* format : {"llm_compressor", "auto_gptq", "fake", "auto_round:auto_gptq"}) {
    SCOPED_TRACE(format);
    options_.formats = {format};
    (void)run("inplace_hadamard");
    EXPECT_LT(distance(options_.output_dir), kEightBits);
  }
}

TEST_F(RotationJob, OnlineRotationsAreRefusedByOtherFormats) {
  for (const char* format : {"llm_compressor", "auto_gptq", "fake", "auto_round:auto_gptq"}) {
    options_.formats = {format};
    for (const char* kind : {"default", "quarot", R"({"algorithm": "quarot", "r1": false, "r3": true})"}) {
      options_.rotation = kind;
      const std::string message =
          refusal(ErrorCode::unsupported, [&] { (void)quantize(options_, registry(), recorder_); });
      EXPECT_TRUE(contains(message, format) && contains(message, "rotat")) << message;
    }
  }
}

TEST_F(RotationJob, IsPlannedAndRecorded) {
  options_.dry_run = true;
  const json::Object plan = run("quarot");
  EXPECT_EQ(plan.at("rotation").as_string(), "quarot");
  int turned = 0;
  for (const json::Value& layer : plan.at("layers").as_array()) {
    const bool reads = contains(std::string(layer.at("name").as_string()), "up_proj");
    if (reads) EXPECT_EQ(layer.at("rotation").as_string(), "r1 64");
    turned += layer.as_object().contains("rotation") ? 1 : 0;
  }
  EXPECT_EQ(turned, 10);
  EXPECT_FALSE(fs::exists(options_.output_dir));
  options_.dry_run = false;
  (void)run("quarot");
  const json::Value record = json::read_file(options_.output_dir / "arkit-run.json");
  EXPECT_EQ(record.at("options").at("rotation").as_string(), "quarot");
}

TEST_F(RotationJob, SaysBeforehandWhatCannotBe) {
  const auto message = [&](const std::string& kind, ErrorCode code) { return refusal(code, [&] { (void)run(kind); }); };
  EXPECT_TRUE(contains(message(R"({"block_size": 64})", ErrorCode::unsupported), "down_proj"));
  EXPECT_TRUE(contains(message("spinquant", ErrorCode::unsupported), "quarot"));
  EXPECT_TRUE(contains(message("hadamrd", ErrorCode::usage), "hadamard"));
  EXPECT_FALSE(fs::exists(options_.output_dir));
}

TEST_F(RotationJob, RotatedExportsAreNotConvertedOrQuantizedAgain) {
  (void)run("quarot");
  const std::string exported = options_.output_dir.string();
  ConvertOptions conversion;
  conversion.model = exported;
  conversion.formats = {"auto_gptq"};
  conversion.output_dir = folder_.path() / "converted";
  EXPECT_TRUE(
      contains(refusal(ErrorCode::unsupported, [&] { (void)convert(conversion, registry(), recorder_); }), "rotated"));
  options_.model = exported;
  options_.output_dir = folder_.path() / "again";
  options_.model_free = true;
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)run(""); }), "rotated"));
}

}  // namespace
}  // namespace arkit::rotation
