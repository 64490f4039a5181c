// Every integer export of the reference, made again by the whole job and compared with it byte for byte.
#include <sstream>

#include "formats/golden_cases.h"
#include "formats/golden_compare.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

class GoldenExport : public ::testing::TestWithParam<test::GoldenCase> {};

std::vector<std::string> split(const std::string& list) {
  std::vector<std::string> parts;
  std::istringstream in(list);
  for (std::string part; std::getline(in, part, ',');) parts.push_back(part);
  return parts;
}

QuantizeOptions options_of(const test::GoldenCase& golden) {
  QuantizeOptions options;
  options.model = testing::tiny_model(golden.source);
  options.scheme = golden.scheme;
  options.formats = {golden.format};
  options.overrides.group_size = golden.group_size;
  if (golden.asym) options.overrides.sym = false;
  options.layer_config = golden.layer_config;
  if (!golden.ignore_layers.empty()) options.ignore_layers = split(golden.ignore_layers);
  options.quant_lm_head = golden.quant_lm_head;
  options.attention.kv_dtype = golden.static_kv_dtype;
  options.max_shard_bytes = golden.max_shard_bytes;
  options.model_free = false;
  options.tuning.iters = golden.iters;
  options.tuning.nsamples = 4;
  options.tuning.seqlen = 32;
  options.tuning.batch_size = 2;
  if (golden.iters == 0) options.tuning.disable_opt_rtn = true;
  // One iteration keeps plain rounding whatever the samples, and calibrated scales are compared in static_golden_test.
  if (golden.iters > 0 || !golden.weight_only_int())
    options.dataset = std::string(ARKIT_TEST_DATA) + "/golden-static/calibration.jsonl";
  return options;
}

bool known_scheme(const std::string& name) {
  const json::Object schemes = list_things("schemes", testing::registry());
  for (const json::Value& row : schemes.at("schemes").as_array())
    if (row.at("name").as_string() == name) return true;
  return false;
}

TEST_P(GoldenExport, EqualsTheReference) {
  if (!known_scheme(GetParam().scheme)) GTEST_SKIP() << "needs a plugin for the scheme " << GetParam().scheme;
  const testing::TemporaryFolder folder;
  QuantizeOptions options = options_of(GetParam());
  options.output_dir = folder.path() / "out";
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
  EXPECT_EQ(
      test::first_difference(options.output_dir, test::golden_root() + "/" + GetParam().name, GetParam().deviation),
      "");
}

std::string name_of(const ::testing::TestParamInfo<test::GoldenCase>& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenExport,
                         ::testing::ValuesIn(test::golden_cases().begin(), test::golden_cases().end()), name_of);

}  // namespace
}  // namespace arkit
