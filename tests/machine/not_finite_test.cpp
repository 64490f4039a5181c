// A weight matrix of huge values: whatever the method, the run ends with the layer's name instead of an export.
#include <cstring>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "process.h"

namespace machine_test {
namespace {

namespace fs = std::filesystem;
using cli_test::contains;

// Sets every element of a bf16 tensor to +-value by its position, given as bf16 bits.
void overwrite(const fs::path& file, const std::string& tensor, uint16_t bits) {
  std::fstream stream(file, std::ios::binary | std::ios::in | std::ios::out);
  uint64_t length = 0;
  stream.read(reinterpret_cast<char*>(&length), sizeof length);
  std::string header(length, '\0');
  stream.read(header.data(), static_cast<std::streamsize>(length));
  const arkit::json::Value parsed = arkit::json::parse(header, "header");
  const auto& offsets = parsed.as_object().at(tensor).as_object().at("data_offsets").as_array();
  const auto begin = offsets[0].to_number<uint64_t>(), end = offsets[1].to_number<uint64_t>();
  std::string data(end - begin, '\0');
  for (size_t i = 0; i < data.size(); i += 2) {
    const uint16_t element = i % 6 == 0 ? static_cast<uint16_t>(bits | 0x8000U) : bits;
    std::memcpy(data.data() + i, &element, 2);
  }
  stream.seekp(static_cast<std::streamoff>(8 + length + begin));
  stream.write(data.data(), static_cast<std::streamsize>(data.size()));
}

class HugeWeights : public ::testing::TestWithParam<const char*> {
 protected:
  HugeWeights() {
    fs::copy(source(), model_, fs::copy_options::recursive);
    fs::permissions(model_ / "model.safetensors", fs::perms::owner_write, fs::perm_options::add);
    overwrite(model_ / "model.safetensors", "model.layers.1.mlp.up_proj.weight", 0x7E00);  // 4.3e37
  }

  void expect_refusal(const Words& words) {
    Words command{model_.string(), "--dataset", calibration_texts(), "--amp_dtype", GetParam()};
    command.insert(command.end(), words.begin(), words.end());
    const auto run = quantize(folder_, command, {});
    EXPECT_TRUE(run.exit_code == 3 || run.exit_code == 4) << run.exit_code << ": " << run.err;
    EXPECT_TRUE(contains(run.err, "model.layers.1")) << run.err;
    EXPECT_TRUE(contains(run.err, "finite")) << run.err;
    EXPECT_FALSE(fs::exists(folder_ / "out" / "model.safetensors"));
  }

  Folder folder_;
  fs::path model_ = folder_ / "model";
};

TEST_P(HugeWeights, EndTuning) {
  expect_refusal({"--iters", "2"});
}
TEST_P(HugeWeights, EndSearchedScales) {
  expect_refusal({"--recipe", "opt-rtn"});
}
TEST_P(HugeWeights, EndCalibration) {
  expect_refusal({"--scheme", "FP8_STATIC", "--recipe", "rtn", "--model_free=false"});
}

INSTANTIATE_TEST_SUITE_P(Dtypes, HugeWeights, ::testing::Values("float32", "bfloat16"));

}  // namespace
}  // namespace machine_test
