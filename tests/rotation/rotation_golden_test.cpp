// Rotated checkpoints written by AutoRound (tests/data/rotation/README.md) against the logits of its own loader.
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/json.h>

#include "jobs/job_testing.h"
#include "rotation/rotation_testing.h"

namespace arkit::rotation {
namespace {

namespace fs = std::filesystem;

const fs::path kData = ARKIT_TEST_DATA "/rotation";

double distance(const fs::path& folder) {
  testing::TemporaryFolder out;
  testing::Recorder recorder;
  ForwardOptions options;
  options.model = folder.string();
  options.input_ids = kData / "autoround-hadamard" / "expected.safetensors";
  options.output = out.path() / "logits.safetensors";
  (void)forward(options, registry(), recorder);
  const at::Tensor got = open_safetensors(options.output)->load("logits").clone();
  const at::Tensor expected = open_safetensors(folder / "expected.safetensors")->load("logits").clone();
  return ((got - expected).norm() / expected.norm()).item<double>();
}

TEST(RotationGolden, AutoRoundsCheckpointsGiveItsLogits) {
  for (const char* name : {"autoround-hadamard", "autoround-quarot"}) EXPECT_LT(distance(kData / name), 1e-5) << name;
}

// The logits above depend on the rotations: without their configuration the same files compute something else.
TEST(RotationGolden, RotationsMatter) {
  for (const auto& [name, member] :
       {std::pair{"autoround-hadamard", "rotation_config"}, std::pair{"autoround-quarot", "spinquant_config"}}) {
    testing::TemporaryFolder copy;
    fs::copy(kData / name, copy.path(), fs::copy_options::recursive);
    json::Value config = json::read_file(copy.path() / "config.json");
    EXPECT_TRUE(config.at("quantization_config").as_object().erase(member)) << name;
    std::ofstream(copy.path() / "config.json") << json::dump(config, 2);
    EXPECT_GT(distance(copy.path()), 0.3) << name;
  }
}

TEST(RotationGolden, AutoRoundsRecordsAreRead) {
  const auto layers = open_source((kData / "autoround-hadamard").string(), registry());
  const auto model = open_source((kData / "autoround-quarot").string(), registry());
  EXPECT_GT(std::get<LayerRotations>(layers->rotations()->record()).block_size, 1);
  const auto record = std::get<ModelRotations>(model->rotations()->record());
  EXPECT_TRUE(record.r1 && record.r2 && record.r3 && record.r4 && record.online_r1);
  EXPECT_TRUE(record.random_r1 && !record.random_r2 && record.random_r4);
  EXPECT_EQ(record.rotation_size, 64);
  const auto stored = model->rotations()->stored("model.layers.0.self_attn.q_proj");
  ASSERT_TRUE(stored);
  EXPECT_EQ(stored->place, StoredRotation::Place::r1);
  EXPECT_EQ(stored->matrix.scalar_type(), at::kChar);
  EXPECT_EQ(stored->matrix.sizes(), (std::vector<int64_t>{64, 64}));
}

TEST(RotationGolden, VerifyTurnsTheSourceTheSameWay) {
  testing::Recorder recorder;
  const json::Object report =
      verify({.directory = kData / "autoround-hadamard", .against = testing::tiny_model("source-llama-bf16")},
             registry(), recorder);
  EXPECT_TRUE(report.at("passed").as_bool()) << json::dump(report, 1);
}

}  // namespace
}  // namespace arkit::rotation
