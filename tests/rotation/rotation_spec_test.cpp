// What --rotation takes, and what it says to the rest.
#include "rotation_spec.h"

#include <string>

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit::rotation {
namespace {

using Kind = RotationSpec::Kind;

std::string refusal(const std::string& text, ErrorCode code) {
  try {
    (void)parse_rotation(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << text << " was accepted";
  return {};
}

TEST(RotationSpec, TakesEveryName) {
  for (const std::string& name : rotation_names()) EXPECT_EQ(parse_rotation(name).text, name);
  EXPECT_EQ(parse_rotation("default").kind, Kind::per_layer);
  EXPECT_TRUE(parse_rotation("random_hadamard").random_signs);
  EXPECT_TRUE(parse_rotation("quarot").online());
  EXPECT_FALSE(parse_rotation("inplace_hadamard").online());
  EXPECT_TRUE(parse_rotation("inplace_quarot_hadamard").random_r1);
  EXPECT_FALSE(parse_rotation("inplace_quarot_hadamard").random_r2);
}

TEST(RotationSpec, ReadsObjects) {
  const RotationSpec block = parse_rotation(R"({"hadamard_type": "random_hadamard", "block_size": 16, "seed": 3})");
  EXPECT_TRUE(block.random_signs);
  EXPECT_EQ(block.block_size, 16);
  EXPECT_EQ(block.seed, 3u);
  const RotationSpec fused = parse_rotation(R"({"fuse_online_to_weight": true, "hadamard_type": "random_hadamard"})");
  EXPECT_TRUE(fused.fuses_r1());
  EXPECT_TRUE(fused.random_r1);
  const RotationSpec grouped = parse_rotation(R"({"hadamard_type": "inplace_hadamard", "block_size": 64})");
  EXPECT_EQ(grouped.rotation_size, 64);
  const RotationSpec quarot =
      parse_rotation(R"({"algorithm": "spinquant", "r2": false, "r4": true, "rotation_size": 32})");
  EXPECT_TRUE(quarot.r1 && !quarot.r2 && !quarot.r3 && quarot.r4 && quarot.online_r1);
  EXPECT_EQ(quarot.rotation_size, 32);
}

TEST(RotationSpec, NamesWhatItDoesNotKnow) {
  EXPECT_NE(refusal("hadamrd", ErrorCode::usage).find("did you mean 'hadamard'"), std::string::npos);
  EXPECT_NE(refusal(R"({"blocksize": 32})", ErrorCode::usage).find("blocksize"), std::string::npos);
  EXPECT_NE(refusal(R"({"algorithm": "quarot", "block_size": 32})", ErrorCode::usage).find("block_size"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"block_size": 24})", ErrorCode::usage).find("power of two"), std::string::npos);
  EXPECT_NE(refusal(R"({"block_size": "32"})", ErrorCode::usage).find("block_size"), std::string::npos);
  EXPECT_NE(refusal(R"({"block_size": 32)", ErrorCode::usage).find("rotation"), std::string::npos);
  EXPECT_NE(refusal("[{}]", ErrorCode::usage).find("object"), std::string::npos);
}

TEST(RotationSpec, SaysWhatToUseInsteadOfTraining) {
  EXPECT_NE(refusal("spinquant", ErrorCode::unsupported).find("quarot"), std::string::npos);
  EXPECT_NE(refusal(R"({"algorithm": "spinquant", "trainable_rotation": true})", ErrorCode::unsupported).find("quarot"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"algorithm": "quarot", "iters": 10})", ErrorCode::unsupported).find("iters"),
            std::string::npos);
  (void)refusal(R"({"algorithm": "quarot", "random_r3": true})", ErrorCode::unsupported);
  (void)refusal(R"({"algorithm": "quarot", "online_r1_rotation": false, "untie_embeddings": false})",
                ErrorCode::unsupported);
}

TEST(RotationSpec, RefusesWhatWouldDoNothingOrBeWrong) {
  (void)refusal(R"({"algorithm": "quarot", "r1": false, "r2": false})", ErrorCode::usage);
  (void)refusal(R"({"allow_online_rotation": false})", ErrorCode::usage);
}

}  // namespace
}  // namespace arkit::rotation
