// Which backend runs a layer, which names lead to it, and what would be better; two backends in one model.
#include "inference/backend_choice.h"

#include <algorithm>
#include <map>
#include <memory>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/engine/jobs.h>
#include <arkit/engine/open_source.h>
#include <arkit/engine/session.h>
#include <arkit/error.h>
#include <arkit/sdk/testing.h>

#include "inference/backend_probes.h"
#include "inference/better_backend.h"
#include "inference/engine.h"
#include "inference/generator.h"
#include "inference/support.h"
#include "inference/virtual_registry.h"
#include "jobs/job_testing.h"
#include "process_environment.h"
#include "temporary_folder.h"
#include "util/safetensors_file.h"

namespace arkit {
namespace {

namespace fs = std::filesystem;
using testing::contains;
using testing::Environment;
using testing::refusal;
using testing::TemporaryFolder;

// torch and the virtual device and no other backend, whichever this build has: who is best must be known.
const Registry& both() {
  static const TemporaryFolder kFolder;
  static const Registry kRegistry = [] {
    for (const auto& entry : fs::directory_iterator(ARKIT_PLUGIN_BUILD_DIR)) {
      const std::string name = entry.path().filename().string();
      if (!name.starts_with("libarkit_backend_") || name == "libarkit_backend_torch.so")
        fs::create_symlink(entry.path(), kFolder.path() / name);
    }
    return Registry(PluginSearch{{tests::device_file("virtual_device")}, {kFolder.path()}});
  }();
  return kRegistry;
}

LinearSpec layer(int bits, bool bias = false) {
  return {.name = "l",
          .packing = "any",
          .out_features = 8,
          .in_features = 8,
          .has_bias = bias,
          .quant = {.weight = {.data_type = "int", .bits = bits}}};
}

std::string chosen(const BackendChooser& chooser, const LinearSpec& spec) {
  const BackendChoice choice = chooser.choose(spec);
  return choice.backend == nullptr ? "" : std::string(choice.backend->info().name);
}

std::string why(const Registry& registry, const BackendWish& wish, const std::vector<KnownBackend>& known) {
  return refusal(ErrorCode::unsupported, [&] { const BackendChooser chooser(registry, wish, known); });
}

constexpr const char* kFast = R"(
name = "fast"
title = "fast kernels"
devices = ["example"]
pci = ["abcd:12"]
get = "install fast-arkit"
[[runs]]
data_type = ["int"]
bits = [4]
score = 50
[[stands_in]]
names = ["other:kernel", "shared"]
why = "both are fast"
)";
constexpr const char* kVirtual = R"(
name = "virtual_device"
title = "a device of tests"
devices = ["virtual"]
get = "build the tests"
enable = "plug the virtual driver in"
[[runs]]
bits = [4, 8]
score = 30
[[stands_in]]
names = ["shared"]
why = "both are for tests"
)";

std::vector<KnownBackend> known() {
  return {parse_backend(kFast, "fast"), parse_backend(kVirtual, "virtual")};
}

TEST(BackendChoice, TheBestScoreWinsUnlessABackendIsNamed) {
  const Environment score("ARKIT_TEST_VIRTUAL_SCORE", "50"), bits("ARKIT_TEST_VIRTUAL_BITS", "4");
  for (const char* nothing : {"", "auto"}) {
    const BackendChooser best(both(), {nothing, nothing});
    EXPECT_EQ(chosen(best, layer(4)), "virtual_device");
    EXPECT_EQ(chosen(best, layer(8)), "torch");
    EXPECT_TRUE(best.automatic());
    const BackendChoice choice = best.choose(layer(8));
    ASSERT_EQ(choice.answers.size(), 2U);
    EXPECT_EQ(choice.answers[0].name, "torch");
    EXPECT_TRUE(contains(choice.answers[1].verdict.why_not, "layer 'l' has weights of 8 bits, not 4"));
  }
  EXPECT_EQ(chosen(BackendChooser(both(), {"torch"}), layer(4)), "torch");
  const BackendChooser named(both(), {"virtual_device"});
  EXPECT_EQ(chosen(named, layer(8)), "");
  const std::string no = refusal(ErrorCode::unsupported, [&] { (void)named.choose_or_throw(layer(8)); });
  EXPECT_TRUE(contains(no, "layer 'l' of packing 'any' is not run by backend 'virtual_device'")) << no;
  EXPECT_TRUE(contains(no, "not 4")) << no;
}

// Whoever asks for the processor gets it, however good the other device is.
TEST(BackendChoice, StaysOnTheDeviceThatIsAskedFor) {
  const Environment score("ARKIT_TEST_VIRTUAL_SCORE", "50");
  EXPECT_EQ(chosen(BackendChooser(both(), {"", "cpu"}), layer(4)), "torch");
  EXPECT_EQ(chosen(BackendChooser(both(), {"", "cpu:0"}), layer(4)), "torch");
  EXPECT_EQ(chosen(BackendChooser(both(), {"", "virtual"}), layer(4)), "virtual_device");
  EXPECT_EQ(BackendChooser(both(), {"", "virtual:1"}).choose(layer(4, true)).verdict.device, 1U);
  const BackendChooser second(both(), {"", "virtual:1"});
  EXPECT_EQ(chosen(second, layer(4)), "") << "the second device wants a bias";
  const std::string no = refusal(ErrorCode::unsupported, [&] { (void)second.choose_or_throw(layer(4)); });
  EXPECT_TRUE(contains(no, "has no bias")) << no;
  EXPECT_TRUE(contains(no, "torch: has no device 'virtual:1' here")) << no;
  EXPECT_TRUE(contains(why(both(), {"", "cuda"}, known()),
                       "no backend has a device 'cuda' here; there are 'cpu:0', 'virtual:0', 'virtual:1'"));
  EXPECT_TRUE(contains(why(both(), {"torch", "virtual"}, known()), "there are 'cpu:0'"));
}

TEST(BackendChoice, NamesOfOtherProgramsLeadToWhatStandsIn) {
  const BackendChooser shared(both(), {"shared"}, known());
  EXPECT_EQ(shared.stand_in(), "backend 'shared': 'virtual_device' stands in for it: both are for tests");
  EXPECT_EQ(chosen(shared, layer(4)), "virtual_device");
  EXPECT_FALSE(shared.automatic());
  EXPECT_EQ(BackendChooser(both(), {"torch"}, known()).stand_in(), "");
  EXPECT_TRUE(
      contains(why(both(), {"other:kernel"}, known()), "'fast' (fast kernels) is not installed: install fast-arkit"));
  EXPECT_TRUE(contains(why(both(), {"fast"}, known()), "'fast' (fast kernels) is not installed: install fast-arkit"));
  EXPECT_TRUE(contains(why(both(), {"virtual_devise"}, known()), "did you mean 'virtual_device'"));
  EXPECT_TRUE(contains(why(both(), {"other:kernal"}, known()), "did you mean 'other:kernel'"));
}

// Those of the user guide and of the reference's registry.
TEST(BackendChoice, EveryNameOfTheReferenceIsKnown) {
  for (const char* name : {"auto_gptq:exllamav2",
                           "gptq",
                           "auto_gptq",
                           "exllamav2",
                           "gptq:exllamav2",
                           "auto_gptq:tritonv2",
                           "auto_gptq:cuda",
                           "auto_round:torch_fp8_static",
                           "auto_round",
                           "torch",
                           "auto_round:torch_mxfp8",
                           "auto_round:torch_mxfp4",
                           "auto_round:torch_mxint4",
                           "auto_round:fake",
                           "auto_round:torch_nvfp4",
                           "auto_round:torch_nvfp4_e5m3",
                           "auto_round:cute_nvfp4_e5m3",
                           "cute_nvfp4_e5m3",
                           "auto_round:tritonv2",
                           "tritonv2",
                           "triton",
                           "auto_round:tritonv2_zp",
                           "tritonv2_zp",
                           "auto_round:torch",
                           "auto_round:torch_zp",
                           "torch_zp",
                           "auto_round:humming",
                           "humming",
                           "auto_round:humming_zp",
                           "humming_zp",
                           "auto_round:humming_awq",
                           "humming_awq",
                           "gptqmodel:marlin",
                           "marlin",
                           "gptqmodel",
                           "gptqmodel:marlin_zp",
                           "gptqmodel:exllamav2",
                           "gptqmodel:awq_exllamav2",
                           "gptqmodel:awq",
                           "gptqmodel:autoawq",
                           "gptqmodel_awq",
                           "gptqmodel:awq_marlin",
                           "gptqmodel:autoawq_marlin",
                           "gptqmodel_awq_marlin",
                           "gptqmodel:awq_gemm",
                           "gptqmodel:autoawq_gemm",
                           "gptqmodel_awq_gemm",
                           "gptqmodel:awq_torch",
                           "gptqmodel:autoawq_torch",
                           "gptqmodel_awq_torch",
                           "auto_awq:gemm",
                           "awq",
                           "awq:gemm",
                           "auto_awq",
                           "auto_round_kernel",
                           "ark",
                           "auto_round_kernel_xpu",
                           "auto_round_kernel_zp",
                           "auto_round_kernel_zp_xpu",
                           "auto_round_kernel_awq",
                           "auto_round_kernel_awq_xpu",
                           "hpu",
                           "hpu_zp",
                           "mlx",
                           "gptq:cuda"}) {
    bool found = find_backend(known_backends(), name) != nullptr;
    for (const KnownBackend& backend : known_backends())
      for (const KnownBackend::StandsIn& one : backend.stands_in)
        found = found || std::find(one.names.begin(), one.names.end(), name) != one.names.end();
    EXPECT_TRUE(found) << name;
  }
  const BackendChooser torch(both(), {"auto_round:torch"});
  EXPECT_TRUE(contains(torch.stand_in(), "'torch' stands in for it: both dequantize weights"));
}

TEST(BackendChoice, BadFilesAreExplained) {
  const auto no = [](const std::string& text) {
    return refusal(ErrorCode::input, [&] { (void)parse_backend(text, "b.toml"); });
  };
  const std::string head = "name = \"b\"\ntitle = \"t\"\ndevices = [\"cpu\"]\nget = \"g\"\n";
  EXPECT_NO_THROW((void)parse_backend(head, "b.toml"));
  EXPECT_TRUE(contains(no("name ="), "b.toml: line 1: not TOML"));
  EXPECT_TRUE(contains(no(head + "ttle = 1"), "did you mean 'title'"));
  EXPECT_TRUE(contains(no("name = \"b\"\ntitle = \"t\"\nget = \"g\""), "'devices' is missing"));
  EXPECT_TRUE(contains(no("name = \"b\"\ntitle = \"t\"\ndevices = [\"cpu\"]"), "expected either 'get'"));
  EXPECT_TRUE(contains(no(head + "missing = \"m\""), "expected either 'get'"));
  EXPECT_TRUE(contains(no(head + "[[runs]]\nbits = [4]"), "[[runs]] number 1: 'score' is 0; expected 1 or more"));
  EXPECT_TRUE(contains(no(head + "[[runs]]\nscore = 5\nbits = [\"4\"]"), "a list of whole numbers is expected"));
  EXPECT_TRUE(contains(no(head + "[[stands_in]]\nwhy = \"w\""), "'names' is missing"));
  EXPECT_TRUE(contains(no(head + "[[stands_in]]\nnames = [\"n\"]"), "'why' is missing"));
  EXPECT_TRUE(contains(no(head + "enable = 3"), "enable"));
}

// A machine with the hardware of `fast`, or without.
class BetterBackend : public ::testing::Test {
 protected:
  fs::path bus(const std::string& vendor) const {
    (void)folder_.write(vendor + "/0000:00:01.0/vendor", "0x8086\n");
    (void)folder_.write(vendor + "/0000:00:01.0/class", "0x060100\n");
    (void)folder_.write(vendor + "/0000:00:02.0/vendor", "0x" + vendor + "\n");
    (void)folder_.write(vendor + "/0000:00:02.0/class", "0x120000\n");
    return folder_.path() / vendor;
  }
  std::string hint(const Registry& registry, const std::string& device, const fs::path& pci, int score = 10) const {
    std::vector<ScoredLayer> layers{{&four_, score}, {&three_, score}, {&four_, score}};
    return better_backend(layers, registry, known(), device, pci);
  }

  TemporaryFolder folder_;
  LayerQuant four_{.weight = {.data_type = "int", .bits = 4}, .act = {.data_type = "float"}, .rotation = {}};
  LayerQuant three_{.weight = {.data_type = "int", .bits = 3}, .act = {.data_type = "float"}, .rotation = {}};
};

TEST_F(BetterBackend, IsNamedWithTheStepThatGetsIt) {
  const fs::path there = bus("abcd"), absent = bus("1234");
  EXPECT_EQ(hint(tests::registry(), "", there),
            "a better backend exists: 'fast' (fast kernels) would run 2 of 3 packed layers; it is not installed: "
            "install fast-arkit");
  EXPECT_EQ(hint(tests::registry(), "example:1", there), hint(tests::registry(), "", there));
  // Hardware that is not there is nothing the user can do something about; what has no condition stays.
  EXPECT_TRUE(contains(hint(tests::registry(), "", absent), "'virtual_device' (a device of tests) would run 2 of 3"));
  EXPECT_EQ(hint(tests::registry(), "cpu", there), "");
  EXPECT_EQ(hint(tests::registry(), "", there, 50), "") << "as good is not better";
}

TEST_F(BetterBackend, IsInstalledAndHasNoDriver) {
  const fs::path absent = bus("1234");
  EXPECT_EQ(hint(both(), "", absent), "") << "it has devices and was asked";
  const Environment fails("ARKIT_TEST_VIRTUAL_FAILS", "devices");
  const Registry without(PluginSearch{{tests::device_file("virtual_device")}, {ARKIT_PLUGIN_BUILD_DIR}});
  EXPECT_EQ(hint(without, "", absent),
            "a better backend exists: 'virtual_device' (a device of tests) would run 2 of 3 packed layers; it finds no "
            "device (needs a virtual driver): plug the virtual driver in");
  const BackendChooser named(without, {"virtual_device"}, known());
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)named.choose_or_throw(layer(4)); }),
                       "virtual_device: needs a virtual driver"));
}

// Layers of 2, 4 and 8 bits; the device runs those of 4 bits and torch the others.
class TwoBackends : public ::testing::Test {
 protected:
  static constexpr const char* kModel = ARKIT_TEST_DATA "/golden/mixed-auto_round-W4A16";
  at::Tensor logits(const BackendWish& wish) {
    const auto source = open_source(kModel, both());
    Engine engine(*source, both(), at::kFloat, wish, reporter_);
    engine.load_all();
    layers_ = engine.layers_by_backend();
    return engine.forward(at::arange(10, 26, at::kLong).reshape({1, 16}), {}, {}, false);
  }

  Environment score_{"ARKIT_TEST_VIRTUAL_SCORE", "50"}, bits_{"ARKIT_TEST_VIRTUAL_BITS", "4"};
  testing::Recorder reporter_;
  std::map<std::string, int64_t> layers_;
};

TEST_F(TwoBackends, RunOneModelAtOnce) {
  const at::Tensor mixed = logits({});
  EXPECT_EQ(layers_, (std::map<std::string, int64_t>{{"torch", 2}, {"virtual_device", 10}}));
  const at::Tensor expected = logits({"torch"});
  EXPECT_TRUE(sdk::close(mixed, expected, 1e-4, 1e-4));
  EXPECT_FALSE(mixed.equal(expected)) << "the device sums in another order";
  EXPECT_TRUE(logits({"", "cpu"}).equal(expected));
  EXPECT_EQ(layers_.size(), 1U);
}

TEST_F(TwoBackends, GenerateEvaluateAndGiveLogits) {
  const std::map<std::string, int64_t> expected{{"torch", 2}, {"virtual_device", 10}};
  const auto layers = [](const json::Object& result) {
    std::map<std::string, int64_t> out;
    for (const auto& [name, count] : result.at("backends").as_object()) out[name] = count.to_number<int64_t>();
    return out;
  };
  const TemporaryFolder folder;
  const fs::path ids = folder.path() / "ids.safetensors";
  at::manual_seed(5);
  io::write_safetensors(ids, {{"input_ids", at::randint(0, 512, {1, 64}, at::kLong)}});
  EvalOptions eval{.model = kModel, .seqlen = 16};
  eval.ids_file = ids;
  const json::Object mixed = evaluate_perplexity(eval, both(), reporter_);
  EXPECT_EQ(layers(mixed), expected);
  eval.backend = "torch";
  EXPECT_NEAR(mixed.at("nll").as_double(), evaluate_perplexity(eval, both(), reporter_).at("nll").as_double(), 1e-4);

  ForwardOptions forward_options{.model = kModel, .input_ids = ids, .output = folder.path() / "logits.safetensors"};
  EXPECT_EQ(layers(forward(forward_options, both(), reporter_)), expected);

  const auto source = open_source(kModel, both());
  Engine two(*source, both(), at::kFloat, ""), one(*source, both(), at::kFloat, "torch");
  EXPECT_EQ(two.layers_by_backend(), expected);
  two.load_all();
  one.load_all();
  const GenerationRequest request{.prompts = {{1, 2, 3, 4, 5}, {9, 8, 7}}, .max_new_tokens = 8};
  EXPECT_EQ(generate_tokens(two, request, reporter_).tokens, generate_tokens(one, request, reporter_).tokens);
}

TEST_F(TwoBackends, AreWhatASessionIsTold) {
  const TemporaryFolder folder;
  const fs::path kept = folder.path() / "kept";
  SessionOptions options{.model = kModel, .prepared_cache = kept.string(), .dtype = "float32"};
  { const Session session(options, both()); }
  EXPECT_FALSE(fs::is_empty(kept));
  options.device = "abacus";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { const Session session(options, both()); }), "'abacus'"));
}

// What runs in full size says so where nobody chose it.
TEST_F(TwoBackends, SayWhatRunsInFullSize) {
  struct Told final : Reporter {
    void info(std::string_view message) override { lines.emplace_back(message); }
    std::vector<std::string> lines;
  };
  const auto lines = [](const BackendWish& wish) {
    const auto source = open_source(kModel, both());
    Told told;
    const Engine engine(*source, both(), at::kFloat, wish, told);
    return told.lines;
  };
  const auto automatic = lines({});
  ASSERT_FALSE(automatic.empty());
  EXPECT_EQ(automatic[0], "2 packed layers run dequantized, in full size: backend 'torch' keeps no packed weights");
  EXPECT_TRUE(lines({"torch"}).empty());
  ASSERT_EQ(lines({"auto_round"}).size(), 1U);
  EXPECT_TRUE(contains(lines({"auto_round"})[0], "'torch' stands in for it"));
}

// One that fails is listed with its fault, and the others are.
TEST(Probes, OfABackendThatFailsLeaveTheOthersAlone) {
  const Environment fails("ARKIT_TEST_VIRTUAL_FAILS", "supports");
  std::map<std::string, json::Object> rows;
  const json::Object lists = list_things("backends", both());
  for (const json::Value& row : lists.at("backends").as_array())
    rows.emplace(std::string(row.at("name").as_string()), row.as_object());
  EXPECT_FALSE(rows.at("torch").at("devices").at(0).at("runs").as_array().empty());
  const json::Object& device = rows.at("virtual_device").at("devices").at(0).as_object();
  EXPECT_TRUE(device.at("runs").as_array().empty());
  EXPECT_TRUE(contains(std::string(device.at("fault").as_string()), "it cannot say"));
}

TEST(Probes, ShowWhatABackendAnswers) {
  const Environment bits("ARKIT_TEST_VIRTUAL_BITS", "4");
  const std::vector<BackendRuns> torch = probe_backend(both().backend("torch"), 0, both());
  const auto integers = std::find_if(torch.begin(), torch.end(), [](const BackendRuns& row) {
    return row.data_type == "int" && row.activations == "16-bit";
  });
  ASSERT_NE(integers, torch.end());
  EXPECT_GE(integers->bits.size(), 7U);
  EXPECT_TRUE(integers->every_group_size && integers->sym && integers->asym);
  EXPECT_TRUE(integers->packings.empty());
  EXPECT_EQ(integers->score, 10);
  EXPECT_EQ(integers->out_multiple, 1);
  for (const BackendRuns& row : probe_backend(both().backend("virtual_device"), 0, both()))
    EXPECT_EQ(row.bits, (std::vector<int64_t>{4})) << row.data_type;
}

}  // namespace
}  // namespace arkit
