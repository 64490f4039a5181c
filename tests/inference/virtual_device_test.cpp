// Inference where the host cannot read the memory and kernels run only at synchronisation, by two compilers; and on a
// backend written in C.
#include <algorithm>
#include <cctype>
#include <filesystem>
#include <map>
#include <memory>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/testing.h>

#include "conformance/backend_suite.h"
#include "inference/backend_choice.h"
#include "inference/engine.h"
#include "inference/generator.h"
#include "inference/support.h"
#include "inference/virtual_registry.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;

using tests::device_file;
using tests::registry_with;

InferenceBackend& virtual_device() {
  return registry_with(device_file("virtual_device")).backend("virtual_device");
}
InferenceBackend& one_loop() {
  return registry_with(fs::path(ARKIT_FIXTURES) / "door_plain/libarkit_backend_door.so").backend("door");
}

}  // namespace

namespace conformance {

INSTANTIATE_TEST_SUITE_P(VirtualDevice, BackendSuite,
                         testing::Values(random_layer(virtual_device, "plain", 48, 32, false),
                                         random_layer(virtual_device, "bias", 24, 64, true),
                                         random_layer(virtual_device, "odd", 7, 33, true)),
                         backend_case_name);
INSTANTIATE_TEST_SUITE_P(WrittenInC, BackendSuite,
                         testing::Values(random_layer(one_loop, "plain", 48, 32, false),
                                         random_layer(one_loop, "odd", 7, 33, true)),
                         backend_case_name);

}  // namespace conformance

namespace {

// An export of the reference: where its model lies, and which device it is run on.
struct WholeModel {
  std::string device, model;
};
std::string name_of(const testing::TestParamInfo<WholeModel>& info) {
  std::string name = info.param.device + "_" + info.param.model;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

class VirtualDeviceModel : public testing::TestWithParam<WholeModel> {
 protected:
  void SetUp() override {
    if (!fs::exists(device_file(GetParam().device)))
      GTEST_SKIP() << "needs clang++ when arkit is configured (apt-get install clang-14), which was not found";
    source_ = open_source(ARKIT_TEST_DATA "/golden/" + GetParam().model, registry());
  }
  const Registry& registry() const { return registry_with(device_file(GetParam().device)); }
  Engine engine(const std::string& backend) const { return Engine(*source_, registry(), at::kFloat, backend); }
  std::unique_ptr<ModelSource> source_;
};

TEST_P(VirtualDeviceModel, GivesTheLogitsAndTokensOfTorch) {
  Engine torch = engine("torch"), there = engine("virtual_device");
  torch.load_all();
  there.load_all();
  EXPECT_GT(there.layers_by_backend().at("virtual_device"), 0);
  EXPECT_EQ(there.layers_by_backend().size(), 1U);
  at::manual_seed(11);
  const at::Tensor ids = at::randint(0, torch.model().vocab_size(), {2, 9}, at::kLong);
  const at::Tensor expected = torch.forward(ids, {}, {}, false);
  EXPECT_GT(expected.abs().max().item<float>(), 0.01F);
  EXPECT_TRUE(sdk::close(there.forward(ids, {}, {}, false), expected, 1e-4, 1e-4));
  const GenerationRequest request{.prompts = {{1, 2, 3, 4, 5}, {9, 8, 7}}, .max_new_tokens = 8};
  EXPECT_EQ(generate_tokens(there, request, tests::silent()).tokens,
            generate_tokens(torch, request, tests::silent()).tokens);
  // q/k/v and gate/up are one call each; nothing was made ready a second time on the way.
  for (const Engine* one : {&torch, &there}) EXPECT_EQ(one->prepared(), 4 * one->model().num_blocks());
}

// Every packed layer of every golden export, whatever its format, through the one form of codes: the device's own
// arithmetic and torch's dense weights agree.
TEST(VirtualDevice, AgreesWithTorchOnEveryGoldenLayer) {
  const Registry& registry = registry_with(device_file("virtual_device"));
  const InferenceBackend &torch = registry.backend("torch"), &device = registry.backend("virtual_device");
  std::map<std::string, int64_t> packings;
  at::manual_seed(3);
  for (const char* set : {ARKIT_TEST_DATA "/golden", ARKIT_TEST_DATA "/golden-llmc", ARKIT_SHARED_DIR "/golden",
                          ARKIT_SHARED_DIR "/golden-llmc"}) {
    std::error_code absent;  // the last two are in no clone
    for (const fs::directory_entry& entry : fs::directory_iterator(set, absent)) {
      if (!fs::exists(entry.path() / "config.json") || !fs::exists(entry.path() / "model.safetensors")) continue;
      const auto source = open_source(entry.path().string(), registry);
      for (const LinearSpec& spec : sdk::packed_layers(*source)) {
        SCOPED_TRACE(entry.path().string() + " " + spec.name);
        const auto codes = [&] { return source->packed()->unpack(spec.name); };
        const LayerWeights weights{
            spec, source->packed()->tensors(spec.name), codes, [&](at::ScalarType type) {
              return registry.scheme_for(spec.quant.weight.data_type).dequantize(codes(), spec.quant.weight, type);
            }};
        const at::Tensor x = at::randn({2, spec.in_features});
        const at::Tensor expected = torch.make_linear(weights, 0, at::kFloat)->forward(x);
        EXPECT_GT(expected.abs().max().item<float>(), 1e-4F);
        EXPECT_TRUE(sdk::close(device.make_linear(weights, 0, at::kFloat)->forward(x), expected, 1e-4, 1e-4));
        ++packings[spec.packing];
      }
    }
  }
  EXPECT_GE(packings.size(), 8U);
  for (const char* packing : {"auto_round", "auto_round:auto_gptq", "gptq", "awq", "mlx"})
    EXPECT_GT(packings[packing], 0) << packing;
}

INSTANTIATE_TEST_SUITE_P(Golden, VirtualDeviceModel,
                         testing::Values(WholeModel{"virtual_device", "auto_round-W4A16"},
                                         WholeModel{"virtual_device", "auto_round-W4A16G32-bias-fp32"},
                                         WholeModel{"virtual_device", "auto_awq-W4A16G32-asym"},
                                         WholeModel{"virtual_device", "auto_gptq-W3A16G32-asym"},
                                         WholeModel{"virtual_device", "qwen3tied-auto_round-W4A16"},
                                         WholeModel{"virtual_device_clang", "auto_round-W4A16"},
                                         WholeModel{"virtual_device_clang", "qwen3tied-auto_round-W4A16"}),
                         name_of);

// A checkpoint one of whose layers is packed, and takes activations in 8 bits if `act` says so.
class OnePackedLayer final : public sdk::ForwardingSource, private PackedLayers {
 public:
  OnePackedLayer(const Registry& registry, TensorQuant act)
      : ForwardingSource(open_hf_folder(tests::model_folder("llama"))) {
    const at::Tensor weight = weights().load(std::string(kLayer) + ".weight").to(at::kFloat);
    spec_ = {.name = kLayer,
             .packing = "test",
             .out_features = weight.size(0),
             .in_features = weight.size(1),
             .quant = {.weight = {.data_type = "int", .bits = 4, .group_size = 32}, .act = std::move(act)}};
    codes_ = registry.scheme("int").quantize_rtn(weight, spec_.quant.weight, RtnMode::plain, {}, 0, {});
  }
  const PackedLayers* packed() const override { return this; }

 private:
  std::span<const LinearSpec> layers() const override { return {&spec_, 1}; }
  TensorMap tensors(std::string_view) const override { return {}; }
  QuantizedWeight unpack(std::string_view) const override { return codes_; }

  static constexpr const char* kLayer = "model.layers.1.mlp.down_proj";
  LinearSpec spec_;
  QuantizedWeight codes_;
};

// The virtual device rounds integer activations itself, which is to say not at all; torch is given rounded ones.
TEST(VirtualDevice, IsGivenActivationsAsTheyAreWhereItTakesThemSo) {
  const Registry& registry = registry_with(device_file("virtual_device"));
  const OnePackedLayer plain(registry, {.data_type = "float"});
  const OnePackedLayer rounded(registry, {.data_type = "int", .bits = 4, .group_size = -1});
  const at::Tensor ids = at::arange(12, at::kLong).reshape({1, 12});
  const auto logits = [&](const ModelSource& source, const std::string& backend) {
    Engine engine(source, registry, at::kFloat, backend);
    engine.load_all();
    return engine.forward(ids, {}, {}, false);
  };
  const at::Tensor exact = logits(plain, "virtual_device");
  EXPECT_TRUE(sdk::close(exact, logits(plain, "torch"), 1e-5, 1e-5));
  EXPECT_TRUE(exact.equal(logits(rounded, "virtual_device")));
  EXPECT_FALSE(sdk::close(exact, logits(rounded, "torch"), 1e-4));
}

TEST(VirtualDevice, IsChosenByScoreOrByName) {
  const Registry& registry = registry_with(device_file("virtual_device"));
  LinearSpec spec{.name = "l", .packing = "any", .out_features = 8, .in_features = 8, .has_bias = true};
  EXPECT_EQ(BackendChooser(registry, {}).choose(spec).backend->info().name, "torch");  // 10 against 6
  EXPECT_EQ(BackendChooser(registry, {"virtual_device"}).choose(spec).verdict.device, 1U);
  EXPECT_EQ(BackendChooser(registry, {"virtual_device", "virtual:0"}).choose(spec).verdict.device, 0U);
}

}  // namespace
}  // namespace arkit
