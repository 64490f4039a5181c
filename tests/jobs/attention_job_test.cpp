// Static scales of keys, values and queries: calibrated as the reference does, written, read again, applied.
#include <fstream>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/model_source.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/paged_hook.h>

#include "inference/engine.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::refusal;
using testing::registry;

class StaticAttention : public ::testing::Test {
 protected:
  StaticAttention() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.scheme = "FP8_STATIC";
    options_.formats = {"llm_compressor"};
    options_.output_dir = folder_.path() / "out";
    options_.dataset = "self";
    options_.recipe = "rtn";
    options_.model_free = false;
    options_.tuning.nsamples = 4;
    options_.tuning.seqlen = 32;
    options_.tuning.batch_size = 4;
    options_.attention.kv_dtype = "fp8";
  }

  std::unique_ptr<ModelSource> run() {
    options_.force = true;
    (void)quantize(options_, registry(), recorder_);
    return open_source(options_.output_dir.string(), registry());
  }

  json::Object quantization_config() const {
    const json::Value config = json::read_file(options_.output_dir / "config.json");
    return config.as_object().at("quantization_config").as_object();
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  testing::Recorder recorder_;
};

void expect_near(const ModelSource& source, const std::string& name, const json::Array& expected, bool broadcast) {
  const TensorInfo* info = source.weights().find(name);
  ASSERT_NE(info, nullptr) << name;
  EXPECT_EQ(info->stored_type, "F32") << name;
  at::Tensor got = source.weights().load(name);
  EXPECT_EQ(got.dim(), broadcast ? 3 : 1) << name;
  got = got.flatten();
  ASSERT_EQ(got.numel(), static_cast<int64_t>(expected.size())) << name;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double wanted = expected[i].to_number<double>();
    EXPECT_NEAR(got[static_cast<int64_t>(i)].item<double>(), wanted, 0.05 * wanted) << name;
  }
}

// The reference's own run on the same texts: tensor by tensor, within the 5 % its bf16 forward leaves.
TEST_F(StaticAttention, ScalesAreTheReferences) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/calibration/static_attention.json");
  options_.dataset = (folder_.path() / "texts.json").string();
  std::ofstream(options_.dataset) << json::dump(file.at("texts"));
  for (const json::Value& value : file.at("cases").as_array()) {
    const json::Object& reference = value.as_object();
    const auto text = [&](const char* key) { return std::string(reference.at(key).as_string()); };
    SCOPED_TRACE(text("name"));
    options_.scheme = text("scheme");
    options_.formats = {text("format")};
    options_.attention = {.kv_dtype = text("static_kv_dtype"),
                          .attention_dtype = text("static_attention_dtype"),
                          .kv_granularity = text("granularity"),
                          .attention_granularity = text("granularity")};
    const std::unique_ptr<ModelSource> source = run();
    for (const auto& scale : reference.at("scales").as_object())
      expect_near(*source, std::string(scale.key()), scale.value().as_array(),
                  text("granularity") == "head" && text("format") == "llm_compressor");
    const json::Object config = quantization_config();
    for (const auto& member : reference.at("config").as_object())
      EXPECT_EQ(config.at(member.key()), member.value()) << std::string(member.key());
  }
}

TEST_F(StaticAttention, AreReadAppliedVerifiedAndShown) {
  for (const char* granularity : {"tensor", "head"}) {
    options_.attention.kv_granularity = granularity;
    for (const char* format : {"llm_compressor", "auto_round"}) {
      SCOPED_TRACE(std::string(format) + " " + granularity);
      options_.formats = {format};
      const std::unique_ptr<ModelSource> source = run();
      ASSERT_EQ(sdk::attention_modules(*source).size(), 2U);
      EXPECT_EQ(sdk::attention_modules(*source)[0].quant.kv_per_head, std::string(granularity) == "head");

      const at::Tensor ids = at::arange(24, at::kLong).mul(31).remainder(512).unsqueeze(0);
      Engine engine(*source, registry(), at::kFloat, "");
      engine.load_all();
      const at::Tensor with = engine.forward(ids, {}, {}, false);
      // The cache holds what attention saw: one token at a time gives the same.
      sdk::SequenceCache cache(8, 3);
      sdk::PagedHook paged(engine.layers(), cache);
      QuantizedAttention hook(paged, engine.attention());
      const int64_t sequence = cache.add();
      ASSERT_TRUE(cache.reserve(sequence, 24));
      at::Tensor last;
      for (int64_t i = 0; i < 24; ++i) {
        const sdk::NewTokens next{sequence, {ids.const_data_ptr<int64_t>() + i, 1}};
        last = engine.logits(sdk::feed(engine.model(), hook, cache, {&next, 1}, true));
      }
      EXPECT_LT((last - with.narrow(1, 23, 1)).norm().item<double>(), 1e-3 * last.norm().item<double>());

      const json::Object verified = verify({.directory = options_.output_dir}, registry(), recorder_);
      EXPECT_TRUE(verified.at("passed").as_bool()) << json::dump(verified, 2);
      const json::Object shown = inspect_model(options_.output_dir.string(), registry());
      EXPECT_TRUE(contains(json::dump(shown.at("attention")), "keys and values fp8 per " + std::string(granularity)));
    }
  }
}

// Rounded keys and values change the result a little, and only where the configuration says so.
TEST_F(StaticAttention, ChangeWhatTheModelComputes) {
  const at::Tensor ids = at::arange(24, at::kLong).mul(31).remainder(512).unsqueeze(0);
  const auto logits = [&] {
    const std::unique_ptr<ModelSource> source = run();
    Engine engine(*source, registry(), at::kFloat, "");
    engine.load_all();
    return engine.forward(ids, {}, {}, false);
  };
  const at::Tensor with = logits();
  options_.attention.attention_dtype = "fp8";
  const at::Tensor queries_too = logits();
  options_.attention = {};
  const at::Tensor without = logits();
  const double norm = without.norm().item<double>();
  const double distance = (with - without).norm().item<double>() / norm;
  EXPECT_GT(distance, 1e-4);
  EXPECT_LT(distance, 0.15);
  EXPECT_GT((queries_too - with).norm().item<double>() / norm, 1e-5);
}

// Ranges follow the chain of quantized blocks while tuning, and other schemes have them too.
TEST_F(StaticAttention, GoWithTuningAndWithIntegers) {
  options_.scheme = "W4A16";
  options_.recipe = "default";
  options_.tuning.iters = 2;
  options_.attention.kv_dtype = "nvfp4";
  const std::unique_ptr<ModelSource> source = run();
  EXPECT_EQ(sdk::attention_modules(*source).size(), 2U);
  EXPECT_NE(source->weights().find("model.layers.1.self_attn.v_global_scale"), nullptr);
  EXPECT_EQ(quantization_config().at("kv_cache_scheme").as_object().at("dynamic").as_string(), "local");
}

TEST_F(StaticAttention, IsRefusedWhereItCannotBe) {
  const auto why = [&](ErrorCode code) { return refusal(code, [&] { (void)run(); }); };
  options_.formats = {"fake"};
  EXPECT_TRUE(contains(why(ErrorCode::unsupported), "'fake' has no place for static scales"));
  options_.formats = {"llm_compressor"};
  options_.attention.kv_dtype = "fp4";
  EXPECT_TRUE(contains(why(ErrorCode::usage), "static_kv_dtype 'fp4' is unknown; expected fp8 or nvfp4"));
  options_.attention = {.attention_dtype = "nvfp4"};
  EXPECT_TRUE(contains(why(ErrorCode::usage), "static_attention_dtype 'nvfp4' is unknown; expected fp8"));
  options_.attention = {.kv_dtype = "nvfp4", .attention_dtype = "fp8"};
  EXPECT_TRUE(contains(why(ErrorCode::usage), "leave static_kv_dtype out"));
  options_.attention = {.kv_dtype = "nvfp4", .kv_granularity = "head"};
  EXPECT_TRUE(contains(why(ErrorCode::unsupported), "one global scale a module"));
  options_.attention = {.kv_dtype = "fp8", .kv_granularity = "row"};
  EXPECT_TRUE(contains(why(ErrorCode::usage), "expected tensor or head"));
  options_.attention = {.kv_dtype = "fp8"};
  options_.scheme = "W4A16";
  options_.model_free = true;
  EXPECT_TRUE(contains(why(ErrorCode::usage), "model_free has no forward pass"));
}

// A damaged export says what is wrong with it.
TEST_F(StaticAttention, MissingOrSenselessScalesAreFound) {
  options_.formats = {"auto_round"};
  (void)run();
  json::Value config = json::read_file(options_.output_dir / "config.json");
  const auto rewrite = [&](const char* key, json::Value value) {
    config.as_object().at("quantization_config").as_object()[key] = std::move(value);
    std::ofstream(options_.output_dir / "config.json") << json::dump(config);
  };
  const auto open = [&] { (void)open_source(options_.output_dir.string(), registry()); };
  rewrite("static_kv_dtype", "nvfp4");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, open), "no tensor ends in '.k_global_scale'"));
  rewrite("static_kv_dtype", "int3");
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, open), "'int3' is not one of fp8 and nvfp4"));
  rewrite("static_kv_dtype", "fp8");
  rewrite("static_attention_dtype", "fp8");
  EXPECT_TRUE(contains(refusal(ErrorCode::input, open), "q_scale' is missing"));
}

}  // namespace
}  // namespace arkit
