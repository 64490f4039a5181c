#include "oneshot/layer_quant.h"

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit::oneshot {
namespace {

LayerQuant of_preset(const char* name, bool observed = true) {
  QuantScheme scheme = preset_scheme(name).value();
  if (scheme.weights) set_default_observer(*scheme.weights, Role::weights);
  if (scheme.input_activations) set_default_observer(*scheme.input_activations, Role::input);
  return layer_quant(scheme, observed, "bfloat16", "recipe");
}

QuantScheme scheme_of(const char* text) {
  return read_scheme(json::parse(text, "scheme").get_object(), "recipe");
}

std::string refusal(const char* text) {
  try {
    (void)layer_quant(scheme_of(text), true, "bfloat16", "recipe");
  } catch (const Error& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused: " << text;
  return {};
}

TEST(LayerQuant, EveryPresetIsSomethingArkitHas) {
  for (const std::string& name : preset_names()) {
    const LayerQuant quant = of_preset(name.c_str());
    EXPECT_EQ(quant.weight.quantized(), name != "UNQUANTIZED") << name;
    EXPECT_EQ(quant.act.quantized(), name.find("A16") == std::string::npos && name != "UNQUANTIZED") << name;
  }
}

TEST(LayerQuant, PresetsAreWhatTheirNamesSay) {
  const LayerQuant w4 = of_preset("w4a16");
  EXPECT_EQ(w4.weight.data_type, "int");
  EXPECT_EQ(w4.weight.bits, 4);
  EXPECT_EQ(w4.weight.group_size, 128);
  EXPECT_EQ(w4.weight.observer, "minmax");
  EXPECT_EQ(w4.weight.scale_dtype, "bfloat16");
  EXPECT_FALSE(of_preset("W4A16_ASYM").weight.sym);
  EXPECT_EQ(of_preset("INT8").weight.group_size, -1);
  EXPECT_EQ(of_preset("FP8").weight.group_size, 0);
  EXPECT_FALSE(of_preset("FP8").act.dynamic);
  EXPECT_EQ(of_preset("FP8").act.observer, "");  // extremes, not the moving average
  EXPECT_EQ(of_preset("FP8_BLOCK").weight.block_rows, 128);
  EXPECT_EQ(of_preset("NVFP4").act.data_type, "nv_fp4_with_static_gs");
  EXPECT_EQ(of_preset("MXFP8").weight.data_type, "mx_fp");
  EXPECT_EQ(of_preset("W4AFP8").act.data_type, "fp");
}

TEST(LayerQuant, TunedLayersFollowAutoRound) {
  const LayerQuant tuned = of_preset("NVFP4", false);
  EXPECT_EQ(tuned.weight.observer, "");
  EXPECT_EQ(tuned.weight.scale_dtype, "float16");
}

TEST(LayerQuant, StaticInputsOfGroupsAverage) {
  const char* text = R"({"targets": ["Linear"], "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
                         "input_activations": {"num_bits": 8, "type": "float", "strategy": "tensor"}})";
  QuantScheme scheme = scheme_of(text);
  set_default_observer(*scheme.input_activations, Role::input);
  EXPECT_EQ(layer_quant(scheme, true, "bfloat16", "recipe").act.observer, "minmax");
}

TEST(LayerQuant, RefusesWhatHasNoScheme) {
  EXPECT_NE(
      refusal(R"({"targets": ["A"], "input_activations": {"num_bits": 8, "strategy": "tensor"}})").find("attention"),
      std::string::npos);
  EXPECT_NE(refusal(R"({"targets": ["A"], "output_activations": {"num_bits": 8}})").find("output_activations"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"targets": ["A"], "weights": {"num_bits": 4, "strategy": "tensor"}})").find("'channel'"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"targets": ["A"], "weights": {"num_bits": 4, "type": "float", "strategy": "channel"}})")
                .find("NVFP4"),
            std::string::npos);
  EXPECT_NE(refusal(R"({"targets": ["A"], "weights": {"num_bits": 8, "strategy": "channel"},
                        "input_activations": {"num_bits": 8, "strategy": "tensor", "symmetric": false}})")
                .find("asymmetric"),
            std::string::npos);
}

TEST(QuantArgs, StrategyFollowsFromTheGroup) {
  const auto strategy = [](const char* text) {
    return read_args(json::parse(text, "args").get_object(), Role::weights, "recipe").strategy;
  };
  EXPECT_EQ(strategy("{}"), "tensor");
  EXPECT_EQ(strategy(R"({"group_size": 32})"), "group");
  EXPECT_EQ(strategy(R"({"group_size": -1})"), "channel");
  EXPECT_EQ(strategy(R"({"type": "float", "block_structure": "128x128"})"), "block");
}

TEST(QuantArgs, ContradictionsAreErrors) {
  for (const char* text :
       {R"({"group_size": 0})", R"({"group_size": -2})", R"({"group_size": 32, "strategy": "channel"})",
        R"({"strategy": "group"})", R"({"strategy": "token"})", R"({"strategy": "block"})",
        R"({"strategy": "channel", "dynamic": true})", R"({"strategy": "tensor", "dynamic": "local"})",
        R"({"strategy": "row"})", R"({"type": "complex"})", R"({"type": "float", "num_bits": 6})",
        R"({"actorder": "group"})", R"({"block_structure": [0, 1], "strategy": "block"})", R"({"bits": 4})"})
    EXPECT_THROW((void)read_args(json::parse(text, "args").get_object(), Role::weights, "recipe"), Error) << text;
}

}  // namespace
}  // namespace arkit::oneshot
