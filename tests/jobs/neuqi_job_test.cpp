// --enable_neuqi and the data types whose scales follow another rule, from options to files.
#include <gtest/gtest.h>

#include <arkit/json.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::Recorder;
using testing::refusal;
using testing::registry;

class NeuqiJob : public ::testing::Test {
 protected:
  NeuqiJob() {
    options_.model = testing::tiny_model("source-llama-bf16");
    options_.output_dir = folder_.path() / "out";
    options_.dataset = "self";
    options_.overrides.group_size = 32;
    options_.tuning.iters = 0;
    options_.tuning.nsamples = 2;
    options_.tuning.seqlen = 16;
    options_.tuning.enable_neuqi = true;
  }

  // Mean relative error of all layers, as arkit-run.json has it.
  double run() {
    options_.force = true;
    (void)quantize(options_, registry(), recorder_);
    const json::Value file = json::read_file(options_.output_dir / "arkit-run.json");
    record_ = file.as_object();
    double total = 0;
    int seen = 0;
    for (const json::Value& layer : record_.at("plan").as_object().at("layers").as_array())
      if (const json::Value* error = layer.as_object().if_contains("relative_error")) {
        total += error->to_number<double>();
        ++seen;
      }
    EXPECT_EQ(seen, 14);
    return total / seen;
  }

  std::string refused() {
    return refusal(ErrorCode::usage, [&] { (void)quantize(options_, registry(), recorder_); });
  }

  testing::TemporaryFolder folder_;
  QuantizeOptions options_;
  Recorder recorder_;
  json::Object record_;
};

TEST_F(NeuqiJob, SearchesAsymmetricAndSymmetricWeights) {
  for (const bool sym : {false, true}) {
    options_.overrides.sym = sym;
    options_.overrides.bits = 2;
    options_.tuning.enable_neuqi = true;
    options_.tuning.disable_opt_rtn = std::nullopt;
    const double searched = run();
    EXPECT_TRUE(record_.at("options").as_object().at("enable_neuqi").as_bool());
    EXPECT_EQ(record_.at("plan").as_object().at("global").as_string(),
              sym ? "int2 g32 sym neuqi" : "int2 g32 asym neuqi");
    options_.tuning.enable_neuqi = false;
    options_.tuning.disable_opt_rtn = true;
    EXPECT_LT(searched, run() * 0.95) << sym;
  }
}

TEST_F(NeuqiJob, TunesOnAFrozenGrid) {
  options_.tuning.iters = 20;
  options_.tuning.batch_size = 2;  // both samples in every iteration: losses compare
  EXPECT_LT(run(), 0.2);
  ASSERT_EQ(recorder_.blocks.size(), 2U);
  for (const BlockProgress& block : recorder_.blocks) EXPECT_LT(block.loss_after, 0.95 * block.loss_before);
}

TEST_F(NeuqiJob, RefusesWhatItDoesNotApplyTo) {
  options_.tuning.disable_opt_rtn = true;
  EXPECT_TRUE(contains(refused(), "--disable_opt_rtn (or --recipe rtn) asks for rounding without one"));
  options_.tuning.disable_opt_rtn = std::nullopt;
  options_.scheme = "MXFP4";
  EXPECT_TRUE(contains(refused(), "scheme 'MXFP4' has none"));
  options_.scheme = "W8A16";
  EXPECT_TRUE(contains(refused(), "add --enable_opt_rtn"));
  options_.scheme = "W4A16";
  options_.model_free = true;
  EXPECT_TRUE(contains(refused(), "model_free rounds without a search"));
  options_.model_free = std::nullopt;
  options_.tuning.iters = 1;
  options_.tuning.enable_alg_ext = true;
  EXPECT_TRUE(contains(refused(), "--enable_alg_ext"));
}

TEST_F(NeuqiJob, DataTypesOfOtherRulesAreSymmetric) {
  options_.tuning.enable_neuqi = false;
  options_.overrides.sym = false;
  for (const char* name : {"int_sym_gptq", "mx_uint"}) {
    options_.overrides.data_type = name;
    EXPECT_TRUE(contains(refused(), std::string("data_type '") + name + "' is symmetric"));
  }
}

// Grids of other rules are plain integers to every format.
TEST_F(NeuqiJob, DataTypesOfOtherRulesAreIntegersInFiles) {
  options_.tuning.enable_neuqi = false;
  options_.overrides.data_type = "int_sym_gptq";
  EXPECT_LT(run(), 0.15);
  EXPECT_EQ(record_.at("plan").as_object().at("global").as_string(), "int4 g32 sym gptq");
  const json::Value config = json::read_file(options_.output_dir / "config.json");
  const json::Object& quantization = config.as_object().at("quantization_config").as_object();
  EXPECT_EQ(quantization.at("data_type").as_string(), "int");
  EXPECT_TRUE(quantization.at("sym").as_bool());
  options_.overrides.data_type = "mx_uint4";
  EXPECT_LT(run(), 0.2);
  EXPECT_EQ(record_.at("plan").as_object().at("global").as_string(), "int4 g32 sym power_of_two");
}

TEST_F(NeuqiJob, IntegersOfFloatsAreForTheFakeFormatOnly) {
  options_.tuning.enable_neuqi = false;
  options_.overrides.data_type = "fp8_to_int_sym";
  EXPECT_TRUE(contains(refusal(ErrorCode::unsupported, [&] { (void)quantize(options_, registry(), recorder_); }),
                       "fp8_to_int_sym"));
  options_.formats = {"fake"};
  EXPECT_LT(run(), 0.15);
}

}  // namespace
}  // namespace arkit
