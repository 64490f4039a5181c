#include "transform/algs.h"

#include <gtest/gtest.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

using testing::contains;
using testing::refusal;
using testing::registry;

Algs parsed(const std::string& text) {
  return parse_algs(text, registry());
}

TEST(Algs, NamesInOrderAndWhatRounds) {
  EXPECT_FALSE(parsed("").tunes.has_value());
  EXPECT_EQ(parsed("signround").tunes, true);
  EXPECT_EQ(parsed("RTN").tunes, false);
  const Algs alone = parsed("awq");
  ASSERT_EQ(alone.transforms.size(), 1u);
  EXPECT_EQ(alone.transforms[0].name, "awq");
  EXPECT_EQ(alone.tunes, false);  // the rest is rounded
  EXPECT_EQ(parsed(" awq , signround ").tunes, true);
}

TEST(Algs, SettingsAreFilledIn) {
  const Algs algs = parsed(R"(awq{"n_grid": 7, "duo_scaling": "both"},rtn)");
  const json::Object& settings = algs.transforms.at(0).settings;
  EXPECT_EQ(settings.at("n_grid").as_int64(), 7);
  EXPECT_EQ(settings.at("duo_scaling").as_string(), "both");
  EXPECT_EQ(settings.at("nsamples").as_int64(), 8);
}

TEST(Algs, ARotationIsOneOfThem) {
  EXPECT_EQ(parsed("hadamard,awq").rotation, "hadamard");
  const Algs algs = parsed(R"(hadamard{"hadamard_type": "inplace_hadamard"})");
  EXPECT_TRUE(contains(algs.rotation, "inplace_hadamard"));
  QuantizeOptions options;
  apply_algs(algs, options);
  EXPECT_EQ(options.rotation, algs.rotation);
  const std::string both = refusal(ErrorCode::usage, [&] { apply_algs(algs, options); });
  EXPECT_TRUE(contains(both, "both"));
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [] { (void)parsed("awq,hadamard"); }), "comes first"));
}

TEST(Algs, RefusesWhatMakesNoSense) {
  const auto usage = [](const std::string& text) { return refusal(ErrorCode::usage, [&] { (void)parsed(text); }); };
  EXPECT_TRUE(contains(usage("rtn,awq"), "'rtn' ends the list"));
  EXPECT_TRUE(contains(usage("awq,,rtn"), "empty name"));
  EXPECT_TRUE(contains(usage("awq,awq"), "twice"));
  EXPECT_TRUE(contains(usage("awq{"), "awq"));
  EXPECT_TRUE(contains(usage(R"(awq{"grid": 3})"), "grid"));
  EXPECT_TRUE(contains(usage(R"(awq{"n_grid": 2})"), "from 3 to 1000"));
  EXPECT_TRUE(contains(usage(R"(awq{"n_grid": 2.5})"), "2.5"));
  EXPECT_TRUE(contains(usage(R"(awq{"duo_scaling": "maybe"})"), "maybe"));
  EXPECT_TRUE(contains(usage(R"(signround{"iters": 3})"), "options of tuning"));
  const std::string unknown = refusal(ErrorCode::unsupported, [] { (void)parsed("awk,rtn"); });
  EXPECT_TRUE(contains(unknown, "awq"));
}

TEST(Algs, DecideWhetherAnythingIsTuned) {
  QuantizeOptions options;
  apply_algs(parsed("awq"), options);
  EXPECT_EQ(options.tuning.iters, 0);
  options.tuning.iters = 50;
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { apply_algs(parsed("awq"), options); }), "iters is 50"));
  apply_algs(parsed("awq,signround"), options);
  EXPECT_EQ(options.tuning.iters, 50);
  options.tuning.iters = 0;
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { apply_algs(parsed("signround"), options); }), "iters is 0"));
  options.tuning.iters.reset();
  options.recipe = "rtn";
  EXPECT_TRUE(contains(refusal(ErrorCode::usage, [&] { apply_algs(parsed("signround"), options); }), "recipe"));
}

}  // namespace
}  // namespace arkit
