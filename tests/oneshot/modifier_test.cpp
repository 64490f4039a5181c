#include "oneshot/modifier.h"

#include <gtest/gtest.h>

#include <arkit/error.h>

namespace arkit::oneshot {
namespace {

Recipe read(const std::string& text, const std::string& name = "recipe.yaml") {
  return resolve_recipe(read_document(parse_recipe_text(text, name, "recipe"), "recipe"));
}

std::string in_stage(const std::string& modifier) {
  return "default_stage:\n  default_modifiers:\n    " + modifier + "\n";
}

std::string refusal(const std::string& text, ErrorCode code = ErrorCode::input) {
  try {
    (void)read(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused: " << text;
  return {};
}

bool has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST(Modifier, ReadsTheDocumentedRecipe) {
  const Recipe recipe =
      read(in_stage("AutoRoundModifier: {targets: Linear, ignore: [lm_head], scheme: nvfp4, iters: 20}"));
  const Modifier& m = recipe.modifier;
  EXPECT_TRUE(m.tunes);
  EXPECT_EQ(m.iters, 20);
  EXPECT_EQ(m.batch_size, 8);
  ASSERT_EQ(m.schemes.size(), 1U);
  EXPECT_EQ(m.schemes[0].targets, std::vector<std::string>{"Linear"});
  EXPECT_EQ(m.schemes[0].weights->strategy, "tensor_group");
  EXPECT_TRUE(recipe.warnings.empty());
  EXPECT_EQ(json::dump(m.fields),
            R"({"targets": ["Linear"], "ignore": ["lm_head"], "scheme": "nvfp4", "bypass_divisibility_checks": false, )"
            R"("requires_calibration_data": true, "iters": 20, "enable_torch_compile": true, "batch_size": 8, )"
            R"("disable_opt_rtn": false})");
}

TEST(Modifier, JsonAndMarkdownAreRecipesToo) {
  const char* json = R"({"q_stage": {"q_modifiers": {"QuantizationModifier": {"scheme": "W8A8"}}}})";
  EXPECT_EQ(read(json, "r.json").modifier.stage, "q_stage");
  EXPECT_EQ(read(json, "r.txt").modifier.group, "q_modifiers");
  EXPECT_EQ(
      read("# Model\n---\n" + in_stage("QuantizationModifier: {scheme: W8A8}") + "---\ntext\n", "r.md").modifier.type,
      "QuantizationModifier");
  EXPECT_THROW((void)read("no fence", "r.md"), Error);
}

TEST(Modifier, WhatThePeerIgnoresIsReadWithAWarning) {
  const std::string body = "QuantizationModifier: {scheme: W4A16}";
  for (const std::string& text : {"default_stage:\n  modifiers:\n    " + body + "\n",
                                  "default_stage:\n  default_modifiers:\n    - " + body + "\n", "- " + body + "\n",
                                  body + "\n", "modifiers:\n  " + body + "\n", "default_stage:\n  " + body + "\n"}) {
    const Recipe recipe = read(text);
    EXPECT_EQ(recipe.modifier.schemes.size(), 1U) << text;
    EXPECT_FALSE(recipe.warnings.empty()) << text;
    EXPECT_EQ(recipe.modifier.group, "default_modifiers") << text;
  }
}

TEST(Modifier, NothingToQuantizeIsAnError) {
  EXPECT_TRUE(has(refusal("default_stage:\n  default_modifiers: {}\n"), "no modifier"));
  EXPECT_TRUE(has(refusal("quantization: {QuantizationModifier: {scheme: W4A16}}\n"), "no modifier"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier:")), "nothing to quantize"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {targets: Linear}")), "nothing to quantize"));
}

TEST(Modifier, UnknownThingsAreErrorsThatHelp) {
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {schema: W4A16}")), "'scheme'"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {scheme: W4A16, iters: 3}")), "iters"));
  EXPECT_TRUE(has(refusal(in_stage("AutoRoundModifier: {scheme: W4A16, seqlen: 3}")), "--seqlen"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {scheme: W4A16, ignore: lm_head}")), "list"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {scheme: W4A17}"), ErrorCode::unsupported), "W4A16"));
  EXPECT_TRUE(has(refusal(in_stage("GPTQModifier: {scheme: W4A16}"), ErrorCode::unsupported), "AutoRoundModifier"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizatonModifier: {}"), ErrorCode::unsupported), "'QuantizationModifier'"));
  EXPECT_TRUE(has(
      refusal(in_stage("SmoothQuantModifier: {}\n    QuantizationModifier: {scheme: W8A8}"), ErrorCode::unsupported),
      "SmoothQuantModifier"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {scheme: W8A8}\n    AutoRoundModifier: {scheme: W8A8}"),
                          ErrorCode::unsupported),
                  "2 modifiers"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {scheme: W4A16, config_groups: {}}")), "twice"));
  EXPECT_TRUE(has(refusal(in_stage("QuantizationModifier: {config_groups: {g: {targets: [Linear], wieghts: {}}}}")),
                  "'weights'"));
}

TEST(Modifier, ObserversAreResolved) {
  const auto weights_observer = [](const std::string& fields) {
    return read(in_stage("QuantizationModifier: {" + fields + "}")).modifier.schemes.at(0).weights->observer;
  };
  EXPECT_EQ(weights_observer("scheme: W4A16"), "memoryless_minmax");
  EXPECT_EQ(weights_observer("scheme: W4A16, weight_observer: memoryless_mse"), "memoryless_mse");
  EXPECT_EQ(weights_observer("scheme: W4A16, observer: {weights: mse}"), "mse");
  EXPECT_TRUE(has(
      refusal(in_stage("QuantizationModifier: {scheme: W4A16, weight_observer: imatrix_mse}"), ErrorCode::unsupported),
      "imatrix_mse"));
  EXPECT_TRUE(
      has(refusal(in_stage("QuantizationModifier: {scheme: NVFP4, weight_observer: mse}"), ErrorCode::unsupported),
          "weights other than NVFP4"));
  EXPECT_EQ(weights_observer("scheme: FP8_DYNAMIC, weight_observer: mse"), "mse");
  EXPECT_TRUE(
      has(refusal(in_stage("QuantizationModifier: {scheme: W4A16, weight_observer: mse, observer: {weights: mse}}")),
          "twice"));
  const Recipe fp8 = read(in_stage("QuantizationModifier: {scheme: FP8}"));
  EXPECT_EQ(fp8.modifier.schemes[0].input_activations->observer, "static_minmax");
  const Recipe dynamic = read(in_stage("QuantizationModifier: {scheme: FP8_DYNAMIC}"));
  EXPECT_FALSE(dynamic.modifier.schemes[0].input_activations->observer);
}

TEST(Modifier, WhatHasNoMeaningHereIsNoted) {
  const Recipe recipe =
      read(in_stage("AutoRoundModifier: {scheme: W4A16, enable_torch_compile: true, device_ids: '0,1', lr: 1e-3}"));
  EXPECT_EQ(recipe.notes.size(), 2U);
  EXPECT_EQ(recipe.modifier.lr, 1e-3);
}

TEST(Modifier, SchemeMapsGiveOneSchemeEach) {
  const Recipe recipe =
      read(in_stage("QuantizationModifier: {scheme: {NVFP4A16: 're:.*mlp.*', FP8_DYNAMIC: ['re:.*attn.*']}}"));
  ASSERT_EQ(recipe.modifier.schemes.size(), 2U);
  EXPECT_EQ(recipe.modifier.schemes[1].targets, std::vector<std::string>{"re:.*attn.*"});
  EXPECT_EQ(json::dump(recipe.modifier.fields.at("scheme")),
            R"({"NVFP4A16": ["re:.*mlp.*"], "FP8_DYNAMIC": ["re:.*attn.*"]})");
}

TEST(Modifier, OptionsOfTuningWinAndSchemesContradict) {
  Recipe recipe = read(in_stage("AutoRoundModifier: {scheme: W4A16, iters: 100, lr: 0.01}"));
  QuantizeOptions given;
  given.tuning.iters = 7;
  const QuantizeOptions options = apply_recipe(recipe, given);
  EXPECT_EQ(options.tuning.iters, 7);
  EXPECT_EQ(options.tuning.lr, 0.01);
  EXPECT_EQ(options.tuning.batch_size, 8);
  EXPECT_EQ(recipe.modifier.fields.at("iters"), 7);
  for (const auto& change :
       {+[](QuantizeOptions& o) { o.overrides.bits = 3; }, +[](QuantizeOptions& o) { o.scheme = "W8A16"; },
        +[](QuantizeOptions& o) { o.ignore_layers = {"lm_head"}; }, +[](QuantizeOptions& o) { o.recipe = "best"; }}) {
    QuantizeOptions contradicts;
    change(contradicts);
    EXPECT_THROW((void)apply_recipe(recipe, contradicts), Error);
  }
  Recipe rounding = read(in_stage("QuantizationModifier: {scheme: W4A16}"));
  EXPECT_THROW((void)apply_recipe(rounding, given), Error);
  given.tuning.iters.reset();
  EXPECT_EQ(apply_recipe(rounding, given).tuning.iters, 0);
}

}  // namespace
}  // namespace arkit::oneshot
