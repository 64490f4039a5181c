// Backends behind the door made of C: what of another age works, what is refused, and what their failures say.
#include <algorithm>
#include <fstream>
#include <iterator>

#include <ATen/ATen.h>

#include <arkit/inference_backend.h>
#include <arkit/kind.h>
#include <arkit/scheme.h>

#include "host_testing.h"

using namespace host_test;

namespace {

fs::path door_file(const std::string& variant) {
  return fixture_folder("door_" + variant) / "libarkit_backend_door.so";
}
fs::path virtual_device() {
  return fixture_folder("virtual_device") / "libarkit_backend_virtual_device.so";
}

// A failure that the virtual device is told to have.
class Failure {
 public:
  explicit Failure(const char* function) { ::setenv("ARKIT_TEST_VIRTUAL_FAILS", function, 1); }
  ~Failure() { ::unsetenv("ARKIT_TEST_VIRTUAL_FAILS"); }
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
};

arkit::LayerWeights two_by_three() {
  return {.spec = {.name = "l", .packing = "any", .out_features = 2, .in_features = 3, .has_bias = true},
          .packed = {{"bias", at::tensor({10.0F, 20.0F})}},
          .codes = nullptr,
          .dequantized = [](at::ScalarType dtype) {
            return at::arange(6, at::kFloat).reshape({2, 3}).to(dtype);
          }};
}

const at::Tensor& input() {
  static const at::Tensor kInput = at::tensor({1.0F, 2.0F, 3.0F}).reshape({1, 3});
  return kInput;
}

// [[0 1 2] [3 4 5]] x + [10 20]
void expect_product(const at::Tensor& y) {
  ASSERT_EQ(y.sizes(), at::IntArrayRef({1, 2}));
  EXPECT_EQ(y[0][0].item<float>(), 18.0F);
  EXPECT_EQ(y[0][1].item<float>(), 46.0F);
}

arkit::Error error_of_opening(const std::string& variant) {
  const arkit::Registry registry({{door_file(variant)}, {}});
  return error_of([&] { (void)registry.backend("door").probe(); });
}

}  // namespace

TEST(BackendDoor, PluginsOfOlderAndNewerMinorVersionsRun) {
  const TemporaryCache cache;
  for (const auto& [variant, door] : std::vector<std::pair<std::string, std::string>>{
           {"plain", "backend door 1.3"}, {"old", "backend door 1.0"}, {"new", "backend door 1.9"}}) {
    const arkit::Registry registry({{}, {fixture_folder("door_" + variant)}});
    ASSERT_EQ(registry.plugins().size(), 1U);
    const arkit::PluginEntry& entry = registry.plugins()[0];
    ASSERT_EQ(entry.state, arkit::PluginState::loaded) << variant << ": " << entry.reason;
    EXPECT_EQ(entry.id, "org.example.door");
    EXPECT_EQ(entry.abi_tag, door);
    ASSERT_EQ(entry.components.size(), 1U);
    EXPECT_EQ(entry.components[0].kind, arkit::Kind::backend);
    EXPECT_EQ(entry.components[0].summary, "one loop");

    const arkit::InferenceBackend& backend = registry.backend("door");
    ASSERT_EQ(backend.devices().size(), 1U) << variant;
    EXPECT_EQ(backend.devices()[0].id(), "cpu:0");
    EXPECT_EQ(backend.probe().score, 3);
    const arkit::BackendVerdict verdict = backend.supports(two_by_three().spec);
    EXPECT_EQ(verdict.score, 3) << verdict.why_not;
    expect_product(backend.make_linear(two_by_three(), verdict.device, at::kFloat)->forward(input()));
  }
}

TEST(BackendDoor, AnotherMajorIsRefusedWithBothSidesNamed) {
  const arkit::PluginEntry entry = [] {
    const arkit::Registry registry({{}, {fixture_folder("door_wrong_major")}});
    return registry.plugins()[0];
  }();
  EXPECT_EQ(entry.state, arkit::PluginState::refused);
  EXPECT_EQ(entry.reason,
            "built for  backend door 2.3\nthis arkit backend door 1.3\nbuild it with the <arkit/backend_c.h> of this "
            "arkit or ask its vendor for that build");
  const arkit::PluginInspection seen = arkit::inspect_plugin(door_file("wrong_major"));
  EXPECT_EQ(seen.entry.reason, entry.reason);
  EXPECT_EQ(seen.entry.abi_tag, "backend door 2.3");
}

TEST(BackendDoor, TooSmallStructsAreRefused) {
  const TemporaryCache cache;
  const arkit::Registry registry({{}, {fixture_folder("door_small_manifest")}});
  expect_contains(registry.plugins()[0].reason, "its backend manifest has 40 bytes, this arkit expects at least 88");
  const arkit::Error table = error_of_opening("small_table");
  EXPECT_EQ(table.code(), arkit::ErrorCode::plugin);
  expect_contains(table.what(), "plugin 'org.example.door'");
  expect_contains(table.what(), "has a table of 112 bytes, this arkit expects at least 120");
  expect_contains(error_of_opening("small_device").what(),
                  "describes a device in 56 bytes, this arkit expects at least 64");
  // Where nobody asked for it, it is left out.
  const arkit::Registry others({{}, {fixture_folder("door_small_table")}});
  EXPECT_EQ(others.plugins()[0].state, arkit::PluginState::refused);
  expect_contains(others.plugins()[0].reason, "has a table of 112 bytes");
}

TEST(BackendDoor, ATableWithoutAFunctionThatIsNeededIsRefused) {
  const TemporaryCache cache;
  expect_contains(error_of_opening("no_run").what(), "has no function run()");
  expect_contains(error_of_opening("no_memory").what(), "cpu:0, whose memory is its own, but not the seven functions");
}

TEST(BackendDoor, AFlagOfTomorrowIsANo) {
  const TemporaryCache cache;
  const arkit::Registry registry({{door_file("flags")}, {}});
  const arkit::BackendVerdict verdict = registry.backend("door").supports(two_by_three().spec);
  EXPECT_FALSE(verdict);
  EXPECT_EQ(verdict.why_not, "wants flags 0x80 that this arkit does not know");
}

TEST(BackendDoor, ABackendThatCannotOpenSaysWhyWithCodeAndPlugin) {
  const TemporaryCache cache;
  const arkit::Error error = error_of_opening("fails_to_open");
  EXPECT_EQ(error.code(), arkit::ErrorCode::resource);
  EXPECT_EQ(error.what(), "the licence server is not there [plugin 'org.example.door' (" +
                              door_file("fails_to_open").string() + ")]");
}

TEST(BackendDoor, BackendsInTheManifestOfCxxPluginsAreRefused) {
  expect_contains(discovered("cxx_backend").reason, "component 'old_way' is a backend; backends come through");
  expect_contains(discovered("two_manifests").reason, "has both `arkit_manifest` and `arkit_backend_manifest`");
  expect_contains(arkit::inspect_plugin(fixture("two_manifests")).entry.reason, "has both `arkit_manifest`");
}

TEST(BackendDoor, InspectDescribesABackendWithoutLoadingIt) {
  const arkit::PluginInspection seen = arkit::inspect_plugin(virtual_device());
  EXPECT_EQ(seen.entry.state, arkit::PluginState::loaded) << seen.entry.reason;
  EXPECT_EQ(seen.entry.id, "org.arkit.test.virtual_device");
  ASSERT_EQ(seen.entry.components.size(), 1U);
  EXPECT_EQ(seen.entry.components[0].name, "virtual_device");
  EXPECT_NE(std::find(seen.symbols.begin(), seen.symbols.end(), "arkit_backend_manifest"), seen.symbols.end());
}

TEST(BackendDoor, ABackendNeedsNoLibraryOfArkitOrLibTorch) {
  for (const char* folder : {"virtual_device", "virtual_device_clang"}) {
    const fs::path file = fixture_folder(folder) / "libarkit_backend_virtual_device.so";
    if (!fs::exists(file)) continue;
    std::ifstream in(file, std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    EXPECT_EQ(bytes.find("libtorch"), std::string::npos) << file;
    EXPECT_EQ(bytes.find("libc10"), std::string::npos) << file;
    EXPECT_EQ(bytes.find("libarkit_core"), std::string::npos) << file;
  }
}

TEST(BackendDoor, FailuresNameFunctionBackendAndPlugin) {
  const TemporaryCache cache;
  const arkit::Registry registry({{virtual_device()}, {}});
  const arkit::InferenceBackend& backend = registry.backend("virtual_device");
  const std::string plugin = "plugin 'org.arkit.test.virtual_device' (" + virtual_device().string() + ")";
  {
    const Failure failure("prepare");
    const arkit::Error error = error_of([&] { (void)backend.make_linear(two_by_three(), 0, at::kFloat); });
    EXPECT_EQ(error.code(), arkit::ErrorCode::plugin);
    EXPECT_EQ(
        error.what(),
        plugin + ": prepare() of its backend 'virtual_device' failed: an exception of an unknown type was thrown");
  }
  {
    const Failure failure("allocate_memory");
    const arkit::Error error = error_of([&] { (void)backend.make_linear(two_by_three(), 0, at::kFloat); });
    EXPECT_EQ(error.code(), arkit::ErrorCode::resource);
    EXPECT_EQ(error.what(), "the virtual device has no memory left [" + plugin + "]");
  }
  const auto linear = backend.make_linear(two_by_three(), 0, at::kFloat);
  {
    const Failure failure("run");
    expect_contains(error_of([&] { (void)linear->forward(input()); }).what(),
                    "run() of its backend 'virtual_device' failed: a kernel cannot be started");
  }
  {  // what was accepted fails when the stream is synchronized
    const Failure failure("kernel");
    expect_contains(error_of([&] { (void)linear->forward(input()); }).what(),
                    "synchronize() of its backend 'virtual_device' failed: a kernel failed");
  }
  expect_product(linear->forward(input()));  // and the next run is none the worse
}

TEST(BackendDoor, WithoutADeviceABackendSaysWhatIsMissing) {
  const TemporaryCache cache;
  const Failure failure("devices");
  const arkit::Registry registry({{virtual_device()}, {}});
  const arkit::InferenceBackend& backend = registry.backend("virtual_device");
  EXPECT_TRUE(backend.devices().empty());
  EXPECT_EQ(backend.probe().score, 0);
  EXPECT_EQ(backend.probe().why_not, "needs a virtual driver");
  EXPECT_EQ(backend.supports(two_by_three().spec).why_not, "needs a virtual driver");
}

TEST(BackendDoor, TheBestDeviceIsChosenAndEachNoIsKept) {
  const TemporaryCache cache;
  const arkit::Registry registry({{virtual_device()}, {}});
  const arkit::InferenceBackend& backend = registry.backend("virtual_device");
  arkit::LinearSpec spec = two_by_three().spec;
  EXPECT_EQ(backend.supports(spec).device, 1U);
  EXPECT_EQ(backend.supports(spec).score, 6);
  spec.has_bias = false;
  EXPECT_EQ(backend.supports(spec).device, 0U);
  spec.quant.rotation = "hadamard";
  const std::string no = "layer 'l' needs the online rotation 'hadamard'";
  EXPECT_EQ(backend.supports(spec).why_not, "virtual:0: " + no + "; virtual:1: " + no);
}
