// Every function of an interface passes the guard, and what comes out of a plugin names it.
#include <fstream>
#include <iterator>
#include <limits>
#include <new>
#include <regex>
#include <set>

#include <ATen/ATen.h>

#include <arkit/model_source.h>
#include <arkit/scheme.h>
#include <arkit/str.h>

#include "host_testing.h"
#include "rounding/strip_rounding.h"
#include "util/naming_layer.h"

using namespace host_test;

namespace {

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string plugin_text() {
  return "plugin 'org.example.faulty' (" + fixture("faulty").string() + ")";
}

const arkit::TensorQuant kRow{.data_type = "row", .bits = 4, .group_size = -1};

}  // namespace

TEST(PluginGuard, ForwardsEveryVirtualFunctionOfEveryInterface) {
  std::string guard;
  for (const char* file : {"guard.cpp", "guard_exporter.cpp", "guard_source.cpp"})
    guard += text_of(arkit::str(ARKIT_SOURCE_DIR "/core/src/plugins/", file));
  ASSERT_FALSE(guard.empty());
  const std::regex virtual_function(R"(virtual\s[^;{}()]*?[\s*&](\w+)\()");
  size_t functions = 0;
  for (const auto& [header, interface] :
       std::vector<std::pair<std::string, std::string>>{{"scheme.h", "Scheme"},
                                                        {"scheme.h", "WeightTuner"},
                                                        {"exporter.h", "Exporter"},
                                                        {"exporter.h", "ExportJob"},
                                                        {"model_adapter.h", "ModelAdapter"},
                                                        {"model_adapter.h", "Model"},
                                                        {"model_source.h", "ModelReader"},
                                                        {"model_source.h", "ModelSource"},
                                                        {"model_source.h", "WeightSource"},
                                                        {"model_source.h", "PackedLayers"},
                                                        {"model_source.h", "AttentionScales"},
                                                        {"model_source.h", "Rotations"},
                                                        {"model_source.h", "TokenizerTexts"},
                                                        {"model_source.h", "InputRotation"},
                                                        {"transform.h", "Transform"},
                                                        {"transform.h", "BlockTransform"},
                                                        {"transform.h", "RunTimePart"}}) {
    std::string text = text_of(std::string(ARKIT_SOURCE_DIR "/core/include/arkit/") + header);
    size_t begin = text.find("class ARKIT_EXPORT " + interface + " {");
    ASSERT_NE(begin, std::string::npos) << interface;
    text = text.substr(begin, text.find("\n};", begin) - begin);
    text = std::regex_replace(text, std::regex("//[^\n]*"), "");
    std::smatch class_head;
    ASSERT_TRUE(std::regex_search(guard, class_head, std::regex(": public Guarded(Own)?<" + interface + "[,>]")))
        << interface;
    const auto guarded = static_cast<size_t>(class_head.position());
    const std::string body = guard.substr(guarded, guard.find("\n};", guarded) - guarded);
    for (std::sregex_iterator it(text.begin(), text.end(), virtual_function), end; it != end; ++it) {
      const std::string name = (*it)[1];
      ++functions;
      const std::regex forwarded("\\b" + name + R"(\([^{;]*\boverride\b)");
      EXPECT_TRUE(std::regex_search(body, forwarded)) << interface << "::" << name << " is not forwarded";
    }
  }
  EXPECT_GE(functions, 70U);  // else the expression no longer finds them
}

TEST(PluginGuard, NamesThePluginOfExceptionsOfEveryType) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  const arkit::Scheme& scheme = registry.scheme("throwing");
  const std::string plugin = plugin_text();
  at::Tensor weight = at::ones({4, 8}), out;

  const arkit::Error integer = error_of([&] { (void)scheme.bits_per_weight({}); });
  EXPECT_EQ(integer.code(), arkit::ErrorCode::plugin);
  EXPECT_EQ(integer.what(), plugin + ": bits_per_weight() of its scheme 'throwing' threw an object of type int");

  const arkit::Error standard = error_of([&] { (void)scheme.traits({.weight = kRow}); });
  EXPECT_EQ(standard.what(),
            plugin + ": traits() of its scheme 'throwing' threw std::runtime_error 'traits are\\x1b[2J broken'");

  const arkit::Error torch = error_of([&] { (void)scheme.fake_quant_act(weight, kRow, {}); });
  expect_contains(torch.what(), plugin + ": fake_quant_act() of its scheme 'throwing' threw c10::Error");

  // An error made for users keeps its code and words.
  const arkit::Error own = error_of([&] { (void)scheme.tuner(weight, kRow, {}); });
  EXPECT_EQ(own.code(), arkit::ErrorCode::input);
  EXPECT_EQ(own.what(), "tuner() wants another weight [" + plugin + "]");

  // Nobody's fault.
  const std::unique_ptr<arkit::WeightTuner> row = registry.scheme("row").tuner(weight, kRow, {});
  const arkit::Error interrupted = error_of([&] { row->fake_quant(out); });
  EXPECT_EQ(interrupted.code(), arkit::ErrorCode::interrupted);
  EXPECT_STREQ(interrupted.what(), "interrupted");
  EXPECT_THROW((void)scheme.global_scale(weight, kRow), std::bad_alloc);
}

TEST(PluginGuard, GuardsWhatAComponentMakes) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  const std::string plugin = plugin_text();
  const auto source = registry.reader("faulty").open("/x");
  expect_contains(error_of([&] { (void)source->kind(); }).what(), plugin + ": kind() of its reader 'faulty' threw");
  expect_contains(error_of([&] { (void)source->weights().load("w"); }).what(),
                  plugin + ": load() of its reader 'faulty' threw std::out_of_range 'no tensor w'");
  // Facets are guarded once, and what a source has not is null beside it.
  ASSERT_NE(source->packed(), nullptr);
  EXPECT_EQ(source->packed(), source->packed());
  expect_contains(error_of([&] { (void)source->packed()->unpack("layer"); }).what(),
                  plugin + ": unpack() of its reader 'faulty' threw an object of type int");
  EXPECT_EQ(source->tokenizer(), nullptr);
  EXPECT_EQ(source->rotations(), nullptr);
  EXPECT_EQ(error_of([&] { (void)registry.reader("faulty").open("/null"); }).what(),
            plugin + ": its reader 'faulty' gave nothing back from open()");
}

TEST(PluginGuard, AnExceptionOutOfAFunctionThatPromisedNoneEndsWithThePluginsName) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  arkit::ModelReader& reader = registry.reader("faulty");
  ::setenv("ARKIT_TEST_INFO_THROWS", "1", 1);
  EXPECT_EXIT(
      (void)reader.info(), testing::ExitedWithCode(7),
      "plugin 'org.example.faulty'.*info\\(\\) of its reader 'faulty' threw std::runtime_error 'info is broken'");
  ::unsetenv("ARKIT_TEST_INFO_THROWS");
}

TEST(PluginGuard, ScalesThatAreNoNumbersAreRefusedWithPluginAndLayer) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  const arkit::Scheme& scheme = registry.scheme("nan");
  const at::Tensor weight = at::ones({4, 8});
  const std::string plugin = plugin_text();
  const auto quantize = [&] { (void)scheme.quantize_rtn(weight, kRow, arkit::RtnMode::plain, {}, 0, {}); };
  const arkit::Error error = error_of([&] { arkit::plugins::naming_layer("model.layers.0.mlp.up_proj", quantize); });
  EXPECT_EQ(error.code(), arkit::ErrorCode::plugin);
  EXPECT_EQ(error.what(), "layer 'model.layers.0.mlp.up_proj': " + plugin +
                              ": its scheme 'nan' gave a scale back from quantize_rtn() that is not finite");
  // The same in tuned codes and in dequantized values.
  const std::unique_ptr<arkit::WeightTuner> tuner = scheme.tuner(weight, kRow, {});
  expect_contains(error_of([&] { (void)tuner->finish(); }).what(),
                  "gave a scale back from finish() that is not finite");
  arkit::QuantizedWeight codes;
  codes.codes = at::zeros({4, 8}, at::kByte);
  codes.scale = at::full({4, 1}, std::numeric_limits<float>::infinity());
  expect_contains(error_of([&] { (void)scheme.dequantize(codes, kRow, at::kFloat); }).what(), "not finite");
}

TEST(PluginGuard, RoundingNamesTheLayer) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  arkit::Linear linear{.name = "model.layers.7.mlp.up_proj", .out_features = 4, .in_features = 8};
  linear.weight = at::ones({4, 8});
  arkit::LayerPlan plan{.name = linear.name, .out_features = 4, .in_features = 8};
  plan.quant.weight = kRow;
  arkit::StripRounding rounding({.linear = linear, .plan = plan, .scheme = registry.scheme("nan")});
  expect_contains(error_of([&] { rounding.round(0); }).what(),
                  "layer 'model.layers.7.mlp.up_proj': " + plugin_text() + ": its scheme 'nan' gave a scale back");
}

TEST(PluginGuard, CodesOfAnotherShapeAreRefused) {
  const TemporaryCache cache;
  const arkit::Registry registry({{fixture("faulty")}, {}});
  expect_contains(
      error_of([&] {
        (void)registry.scheme("short").quantize_rtn(at::ones({4, 8}), kRow, arkit::RtnMode::plain, {}, 0, {});
      }).what(),
      "do not have the shape of their weight");
}
