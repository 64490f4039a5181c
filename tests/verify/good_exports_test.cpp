// Correct exports of odd kinds: `verify` calls none of them wrong.

#include <fstream>
#include <string>
#include <string_view>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/str.h>

#include "verify/verify_testing.h"

namespace arkit::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kUp = "model.layers.0.mlp.up_proj.weight";

// Exports `source` after `edit` and gives back what fails.
std::string failures_of(const char* source, const Edit& edit, const Tweak& tweak) {
  const TemporaryFolder folder;
  Folder model(tiny_model(source));
  edit(model);
  model.write(folder.path() / "source");
  export_model(folder.path() / "source", folder.path() / "out", tweak);
  return failures(verified(folder.path() / "out"));
}

void calibrated(QuantizeOptions& options) {
  options.dataset = "self";
  options.tuning.nsamples = 2;
  options.tuning.seqlen = 16;
}

TEST(GoodExport, OfZeroGroupsInEveryScheme) {
  const Edit zero_row = [](Folder& f) { f.tensors.at(kUp)[5].zero_(); };
  for (const char* scheme : {"W4A16", "W2A16", "MXFP4", "MXFP8", "FP8_BLOCK", "INT8_W8A8"})
    EXPECT_EQ(failures_of("source-llama-bf16", zero_row,
                          [&](QuantizeOptions& o) {
                            o.scheme = scheme;
                            o.formats = {"llm_compressor"};
                            if (std::string_view(scheme)[0] != 'W') o.overrides.group_size.reset();
                          }),
              "")
        << scheme;
  EXPECT_EQ(failures_of("source-llama-bf16", zero_row,
                        [](QuantizeOptions& o) {
                          o.scheme = "NVFP4";
                          o.formats = {"llm_compressor"};
                          o.overrides.group_size.reset();
                          calibrated(o);
                        }),
            "");
}

// An asymmetric group without negative weights has an offset of zero.
TEST(GoodExport, OfALayerOfZerosWithOffsets) {
  EXPECT_EQ(failures_of(
                "source-llama-bf16", [](Folder& f) { f.tensors.at(kUp).zero_(); },
                [](QuantizeOptions& o) {
                  o.overrides.sym = false;
                  o.formats = {"mlx"};
                }),
            "");
}

// The scale of such a row is rounded to bf16 when it is written, after the error was recorded.
TEST(GoodExport, OfEightBitFloatsWithAnOutlier) {
  EXPECT_EQ(failures_of(
                "source-llama-bf16", [](Folder& f) { f.tensors.at(kUp)[0][0] = 300.0; },
                [](QuantizeOptions& o) {
                  o.scheme = "FP8_DYNAMIC";
                  o.formats = {"llm_compressor"};
                  o.overrides.group_size.reset();
                }),
            "");
}

// Weights of more digits are rounded to bf16 first, which costs as much as 8 bits in small groups do; and integers of 8
// bits are rounded plainly, also where a search is asked for.
TEST(GoodExport, OfEightBitsFromMoreDigits) {
  const Edit digits = [](Folder& f) {
    at::manual_seed(3);
    for (auto& [name, tensor] : f.tensors) {
      const at::Tensor whole = tensor.to(at::kFloat);
      tensor = whole * (1.0 + 0.01 * at::randn_like(whole));
    }
  };
  for (const char* recipe : {"rtn", "opt-rtn"})
    for (const bool sym : {true, false})
      for (const int64_t group : {8, 32, -1})
        for (const Edit& edit : {digits, Edit([](Folder&) {})})
          EXPECT_EQ(failures_of("source-llama-bf16", edit,
                                [&](QuantizeOptions& o) {
                                  o.recipe = recipe;
                                  o.overrides.bits = 8;
                                  o.overrides.group_size = group;
                                  o.overrides.sym = sym;
                                }),
                    "")
              << recipe << ' ' << group << ' ' << sym;
}

// Which is no excuse for another error than the recorded one.
TEST(GoodExport, HasTheErrorOfItsRecord) {
  const TemporaryFolder folder;
  Folder model(tiny_model("source-llama-bf16"));
  at::manual_seed(3);
  model.tensors.at(kUp) = model.tensors.at(kUp).to(at::kFloat) * (1.0 + 0.01 * at::randn({256, 128}));
  model.write(folder.path() / "source");
  export_model(folder.path() / "source", folder.path() / "out", [](QuantizeOptions& o) {
    o.overrides.bits = 8;
    o.overrides.group_size = 8;
  });
  const fs::path file = folder.path() / "out/arkit-run.json";
  for (const double factor : {0.9, 1.3}) {
    json::Value record = json::read_file(file);
    for (json::Value& layer : record.at("plan").at("layers").as_array())
      if (str(std::string_view(layer.at("name").as_string()), ".weight") == kUp)
        layer.as_object()["relative_error"] = layer.at("relative_error").as_double() * factor;
    const json::Value before = json::read_file(file);
    std::ofstream(file) << json::dump(record);
    EXPECT_TRUE(contains(failures(verified(folder.path() / "out")), "the run recorded")) << factor;
    std::ofstream(file) << json::dump(before);
  }
}

TEST(GoodExport, WithFilesInFolders) {
  const TemporaryFolder folder;
  Folder(tiny_model("source-llama-bf16")).write(folder.path() / "source");
  fs::create_directories(folder.path() / "source" / "1_Pooling");
  fs::copy_file(folder.path() / "source" / "config.json", folder.path() / "source" / "1_Pooling" / "config.json");
  export_model(folder.path() / "source", folder.path() / "out", {});
  EXPECT_EQ(failures(verified(folder.path() / "out")), "");
  fs::remove(folder.path() / "out" / "1_Pooling" / "config.json");
  EXPECT_NE(failures(verified(folder.path() / "out")).find("'1_Pooling/config.json' is missing"), std::string::npos);
}

TEST(GoodExport, OfAClassifier) {
  EXPECT_EQ(failures_of("source-llama-bf16",
                        [](Folder& f) {
                          f.tensors.erase("lm_head.weight");
                          f.tensors["score.weight"] = at::ones({2, 128}, at::kBFloat16);
                          f.config["architectures"] = json::Array{"LlamaForSequenceClassification"};
                        },
                        {}),
            "");
}

TEST(GoodExport, WithoutTheScalesOfKeysAndValuesOfItsSource) {
  EXPECT_EQ(failures_of(
                "source-llama-bf16",
                [](Folder& f) {
                  for (const char* state : {"k_scale", "v_scale"})
                    f.tensors[str("model.layers.0.self_attn.", state)] = at::ones({1}, at::kFloat);
                },
                [](QuantizeOptions& o) { o.model_free = true; }),
            "");
}

TEST(GoodExport, WithTunedNormsAndBiases) {
  EXPECT_EQ(failures_of(
                "source-llama-fp32", [](Folder&) {},
                [](QuantizeOptions& o) {
                  o.recipe = "default";
                  o.tuning.iters = 3;
                  o.tuning.enable_norm_bias_tuning = true;
                  calibrated(o);
                }),
            "");
}

// Tuning moves floats in units of their scale, which are many places of the grid next to zero.
TEST(GoodExport, OfTunedWeightsInEveryKindOfGrid) {
  for (const char* scheme : {"W4A16", "W2A16", "MXFP4", "MXFP8", "NVFP4", "FP8_STATIC"})
    for (const double lr : {0.0, 0.3})
      EXPECT_EQ(failures_of(
                    "source-llama-bf16", [](Folder&) {},
                    [&](QuantizeOptions& o) {
                      o.scheme = scheme;
                      o.recipe = "default";
                      o.formats = {"llm_compressor"};
                      if (std::string_view(scheme)[0] != 'W') o.overrides.group_size.reset();
                      calibrated(o);
                      o.tuning.iters = 4;
                      o.tuning.not_use_best_mse = true;
                      if (lr > 0.0) o.tuning.lr = lr;
                    }),
                "")
          << scheme << " at rate " << lr;
}

TEST(GoodExport, OfFullSizeInEightBitsOfAFloat32Model) {
  EXPECT_EQ(failures_of(
                "source-llama-fp32", [](Folder&) {},
                [](QuantizeOptions& o) {
                  o.scheme = "W8A16";
                  o.formats = {"fake"};
                }),
            "");
}

// AutoRound leaves sizes of its rotations beside layers.
TEST(GoodExport, WithWhatARotationLeaves) {
  const TemporaryFolder folder;
  export_model(tiny_model("source-llama-bf16"), folder.path() / "out", {});
  Folder exported(folder.path() / "out");
  exported.tensors["model.layers.0.mlp.down_proj.spinquant_r4_size"] = at::ones({1}, at::kLong);
  exported.tensors["model.norm.spinquant_r1_size"] = at::ones({1}, at::kLong);
  exported.write(folder.path() / "left");
  EXPECT_EQ(failures(verified(folder.path() / "left", tiny_model("source-llama-bf16"))), "");
}

// Attention so sharp that small errors of queries and keys choose other positions: the model makes much of what
// rounding does, and the bounds follow it.
TEST(GoodExport, OfAModelWithSharpAttention) {
  for (const double times : {8.0, 24.0}) {
    const Edit sharpen = [times](Folder& f) {
      for (auto& [name, tensor] : f.tensors)
        if (name.find("q_proj") != std::string::npos || name.find("k_proj") != std::string::npos) tensor.mul_(times);
    };
    for (const char* source : {"source-llama-bf16", "source-llama-fp32"})
      for (const char* scheme : {"W8A16", "INT8_W8A8"})
        EXPECT_EQ(failures_of(source, sharpen,
                              [&](QuantizeOptions& o) {
                                o.scheme = scheme;
                                o.formats = {"llm_compressor"};
                                if (std::string_view(scheme)[0] != 'W') o.overrides.group_size.reset();
                              }),
                  "")
            << source << scheme << times;
  }
}

// The smallest scale of MX types is 2^-127, the byte 0.
TEST(GoodExport, OfWeightsAsSmallAsTheSmallestScale) {
  for (const float size : {1e-36F, 1e-38F})
    for (const char* scheme : {"MXFP4", "MXFP8"}) {
      EXPECT_EQ(failures_of(
                    "source-llama-bf16",
                    [size](Folder& f) {
                      at::Tensor row = f.tensors.at(kUp)[5];
                      row.copy_(row.div(row.abs().max()).mul(size));
                    },
                    [&](QuantizeOptions& o) {
                      o.scheme = scheme;
                      o.formats = {"llm_compressor"};
                      o.overrides.group_size.reset();
                    }),
                "")
          << scheme << size;
    }
}

// Transformers does not load a bias that the configuration denies; neither does verify count it.
TEST(GoodExport, WithABiasThatTheConfigurationDenies) {
  const TemporaryFolder folder;
  export_model(tiny_model("source-llama-bf16"), folder.path() / "out", [](QuantizeOptions& o) { o.scheme = "W8A16"; });
  Folder exported(folder.path() / "out");
  exported.tensors["model.layers.0.self_attn.q_proj.bias"] = at::ones({128}, at::kHalf);
  exported.write(folder.path() / "more");
  EXPECT_EQ(failures(verified(folder.path() / "more", tiny_model("source-llama-bf16"))), "");
}

// Right values of what is computed: a bias that is left out differs by 0.8 here.
TEST(GoodExport, OfEightBitsComputesNearlyTheSame) {
  const TemporaryFolder folder;
  export_model(tiny_model("source-llama-fp32"), folder.path() / "out", [](QuantizeOptions& o) { o.scheme = "W8A16"; });
  const json::Object report = verified(folder.path() / "out");
  for (const json::Value& check : report.at("checks").as_array()) {
    if (check.at("name") != "first block against the source") continue;
    const std::string detail = check.at("detail").as_string().c_str();
    const double differs = std::stod(detail.substr(detail.find("0.")));
    EXPECT_GT(differs, 0.0);
    EXPECT_LT(differs, 0.02) << detail;
    return;
  }
  FAIL() << json::dump(report, 2);
}

TEST(GoodExport, IsTheSameForOneBlockAndAllInMemory) {
  const TemporaryFolder folder;
  export_model(tiny_model("source-llama-bf16"), folder.path() / "out", {});
  Reporter silent;
  const VerifyOptions options{.directory = folder.path() / "out", .against = {}};
  json::Object one = verify(options, "one", registry(), silent), all = verify(options, "all", registry(), silent);
  EXPECT_EQ(one.at("counts").at("resident"), "one");
  EXPECT_EQ(all.at("counts").at("resident"), "all");
  EXPECT_EQ(json::dump(one.at("checks")), json::dump(all.at("checks")));
  EXPECT_THROW((void)verify(options, "some", registry(), silent), Error);
}

}  // namespace
}  // namespace arkit::testing
