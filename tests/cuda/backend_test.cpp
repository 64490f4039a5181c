// A CUDA backend through its door: on the GPUs of this machine, or on those of fake_driver.cpp, as the test's environment
// says. ARKIT_TEST_BACKEND is its library.
#include <cstdlib>
#include <functional>

#include "door.h"
#include "kernel_testing.h"

namespace arkit::cuda::tests {
namespace {

const char* library() {
  const char* file = std::getenv("ARKIT_TEST_BACKEND");
  if (file == nullptr) throw std::runtime_error("ARKIT_TEST_BACKEND does not name a backend");
  return file;
}
bool fake() {
  return std::getenv("ARKIT_TEST_FAKE_CUDA") != nullptr;
}
bool is(const Door& door, const char* name) {
  return std::string(door.manifest->name) == name;
}

class CudaBackendTest : public testing::Test {
 protected:
  void SetUp() override {
    if (door.count == 0) GTEST_SKIP() << "needs an NVIDIA GPU since Ampere: " << door.why_none;
  }
  Door door{library()};
};

Layer layer_of(const LayerCase& c, const RandomLayer& random) {
  Layer layer;
  layer.outputs = c.outputs;
  layer.inputs = c.inputs;
  layer.group = c.group;
  layer.bits = c.bits;
  layer.sym = !c.zeros;
  const std::vector<int64_t> groups{c.outputs, random.numbers.groups};
  layer.unpacked["codes"] = Tensor(ARKIT_UINT8, {c.outputs, c.inputs}, random.numbers.codes);
  layer.unpacked["scale"] = Tensor(ARKIT_FLOAT32, groups, random.numbers.factors);
  if (c.zeros) {
    std::vector<float> zeros = random.numbers.zeros;
    for (float& zero : zeros) zero += static_cast<float>(1 << (c.bits - 1));
    layer.unpacked["zero_point"] = Tensor(ARKIT_FLOAT32, groups, zeros);
  }
  if (c.act_order) layer.unpacked["group_index"] = Tensor(ARKIT_INT32, {c.inputs}, random.numbers.group_of);
  if (c.bias) layer.bias = Tensor(ARKIT_FLOAT32, {c.outputs}, random.numbers.bias);
  return layer;
}

TEST_F(CudaBackendTest, MultipliesWhatItTakes) {
  const bool all = is(door, "triton_like");
  for (const RowType type : {RowType::float16, RowType::bfloat16, RowType::float32})
    for (const int bits : {2, 3, 4, 5, 6, 7, 8})
      for (const int64_t rows : {1, 5, 40}) {
        if (!all && bits != 4 && bits != 8) continue;
        LayerCase c;
        c.bits = bits;
        c.group = 64;
        c.rows = rows;
        c.inputs = 704;
        c.outputs = 70;
        c.half = type == RowType::float16;
        c.x_type = type;
        c.bias = rows == 5;
        c.act_order = rows == 1;
        c.zeros = all && bits % 2 == 1;
        const RandomLayer random(c);
        const ArkitType door_type =
            type == RowType::float32 ? ARKIT_FLOAT32 : (c.half ? ARKIT_FLOAT16 : ARKIT_BFLOAT16);
        const Layer layer = layer_of(c, random);
        for (const bool streams : {true, false}) {
          try {
            ASSERT_EQ(door.why_not(layer), "");
            expect_product(c, random, door.run(layer, stored(random.x, type), rows, door_type, streams), type);
          } catch (const std::exception& error) {
            ADD_FAILURE() << c.name() << ": " << error.what();
          }
        }
      }
}

TEST_F(CudaBackendTest, SaysWhichLayersItDoesNotTake) {
  Layer layer;
  layer.outputs = layer.inputs = 128;
  layer.group = 128;
  EXPECT_EQ(door.why_not(layer), "");
  const bool all = is(door, "triton_like");
  const auto no = [&](const char* words, const std::function<void(Layer&)>& change) {
    Layer changed = layer;
    change(changed);
    const std::string why = door.why_not(changed);
    EXPECT_NE(why.find(words), std::string::npos) << "'" << why << "'";
    EXPECT_NE(why.find(layer.name), std::string::npos) << "'" << why << "'";
  };
  no("not quantized", [](Layer& l) { l.bits = 16; });
  no("'super'", [](Layer& l) { l.data_type = "super"; });
  if (all) return;
  no("3-bit", [](Layer& l) { l.bits = 3; });
  no("zero points", [](Layer& l) { l.sym = false; });
  no("groups of 48", [](Layer& l) { l.group = 48; });
  no("activations of 8 bits", [](Layer& l) { l.act_bits = 8; });
}

TEST_F(CudaBackendTest, RefusesWeightsThatContradictTheirDescription) {
  LayerCase c;
  c.outputs = 64;
  const RandomLayer random(c);
  const auto x = stored(random.x, RowType::float16);
  const auto fails = [&](const char* words, const std::function<void(Layer&)>& change) {
    Layer layer = layer_of(c, random);
    change(layer);
    try {
      (void)door.run(layer, x, 1, ARKIT_FLOAT16, true);
      ADD_FAILURE() << "it ran: " << words;
    } catch (const std::runtime_error& error) {
      EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
      EXPECT_EQ(error.what()[0], '3') << "not ARKIT_BAD_INPUT: " << error.what();
    }
  };
  fails("codes are no bytes", [](Layer& l) { l.unpacked.erase("codes"); });
  fails("does not fit into 4 bits", [](Layer& l) { l.unpacked["codes"].bytes[7] = std::byte{99}; });
  fails("no scales", [](Layer& l) { l.unpacked.erase("scale"); });
  fails("has 2 scales, expected 64", [](Layer& l) {
    l.unpacked["scale"] = Tensor(ARKIT_FLOAT32, {2}, std::vector<float>{1, 2});
  });
  fails("scale is not finite",
        [](Layer& l) { l.unpacked["scale"] = Tensor(ARKIT_FLOAT32, {1}, std::vector<float>{__builtin_inff()}); });
  fails("in group 9",
        [](Layer& l) { l.unpacked["group_index"] = Tensor(ARKIT_INT32, {128}, std::vector<int32_t>(128, 9)); });
}

TEST_F(CudaBackendTest, KnowsItsDevices) {
  EXPECT_STREQ(door.devices[0]->kind, "cuda");
  EXPECT_EQ(door.devices[0]->capabilities & ARKIT_DEVICE_HOST_MEMORY, 0U);
  EXPECT_GT(door.devices[0]->score, 10);
  if (!fake()) return;
  // The one in the middle is too old.
  ASSERT_EQ(door.count, 2U);
  EXPECT_EQ(door.devices[1]->index, 2);
  LayerCase c;
  const RandomLayer random(c);
  expect_product(c, random,
                 door.run(layer_of(c, random), stored(random.x, RowType::float16), 1, ARKIT_FLOAT16, true, 1),
                 RowType::float16);
}

TEST_F(CudaBackendTest, SaysWhenMemoryEnds) {
  if (!fake()) GTEST_SKIP() << "needs a driver whose memory can be made small";
  ::setenv("ARKIT_TEST_CUDA_MEMORY", "1000", 1);
  LayerCase c;
  const RandomLayer random(c);
  try {
    (void)door.run(layer_of(c, random), stored(random.x, RowType::float16), 1, ARKIT_FLOAT16, true);
    ADD_FAILURE() << "it ran";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("5: cuda:0: there is no memory for", 0), 0U) << error.what();
  }
  ::unsetenv("ARKIT_TEST_CUDA_MEMORY");
}

// Nothing crashes, and words say what to do.
TEST(CudaBackend, SaysWhatIsMissing) {
  if (fake()) {
    ::setenv("ARKIT_TEST_CUDA_VERSION", "11040", 1);
    const Door old(library());
    ::unsetenv("ARKIT_TEST_CUDA_VERSION");
    EXPECT_EQ(old.count, 0U);
    EXPECT_NE(old.why_none.find("the driver knows CUDA 11.4"), std::string::npos) << old.why_none;
    return;
  }
  const Door door(library());
  if (door.count > 0) GTEST_SKIP() << "needs a machine without a GPU";
  EXPECT_NE(door.why_none.find("CUDA"), std::string::npos) << door.why_none;
  EXPECT_NE(door.why_none.find("nvidia-smi"), std::string::npos) << door.why_none;
}

}  // namespace
}  // namespace arkit::cuda::tests
