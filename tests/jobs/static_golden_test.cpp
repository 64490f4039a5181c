// Calibrated scales of activations, keys and values: those of the reference from the same texts, in both compute types
// on every CPU.
#include <cmath>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/model_source.h>
#include <arkit/sdk/safetensors_layout.h>
#include <arkit/str.h>

#include "jobs/job_testing.h"

namespace arkit {
namespace {

std::string folder() {
  return std::string(ARKIT_TEST_DATA) + "/golden-static";
}

const json::Object& expected_cases() {
  static const json::Value file = json::read_file(folder() + "/expected.json");
  return file.get_object();
}

struct StaticCase {
  std::string name, amp_dtype;

  // The reference computes in bfloat16; float32 differs by what that rounds off. In bfloat16 a maximum beside a
  // rounding boundary may take the next step (2^-7, and the scale rounds once more) when a CPU sums in another order,
  // the reference on it as well. With keys and values in fp8 such a step may move one of them by a step of that, 1/16.
  [[nodiscard]] double tolerance() const {
    if (name.ends_with("-kvfp8")) return 0.05;
    return amp_dtype == "bfloat16" ? 0.0083 : 0.02;
  }
  [[nodiscard]] const json::Object& expected() const { return expected_cases().at(name).as_object(); }
  [[nodiscard]] QuantizeOptions options() const {
    const size_t first = name.find('/'), second = name.find('/', first + 1), last = name.find("-kvfp8");
    QuantizeOptions options;
    options.model = testing::tiny_model(name.substr(0, first));
    options.formats = {name.substr(first + 1, second - first - 1)};
    options.scheme = name.substr(second + 1, last == std::string::npos ? last : last - second - 1);
    if (last != std::string::npos) options.attention.kv_dtype = "fp8";
    options.dataset = folder() + "/calibration.jsonl";
    options.model_free = false;
    options.tuning.amp_dtype = amp_dtype;
    options.tuning.iters = 0;
    options.tuning.disable_opt_rtn = true;
    options.tuning.nsamples = 4;
    options.tuning.seqlen = 32;
    options.tuning.batch_size = 2;
    return options;
  }
};

std::vector<StaticCase> static_cases() {
  std::vector<StaticCase> cases;
  for (const auto& member : expected_cases())
    for (const char* amp_dtype : {"bfloat16", "float32"}) cases.push_back({std::string(member.key()), amp_dtype});
  return cases;
}

bool is_calibrated(const std::string& name) {
  return name.ends_with(".input_scale") || name.ends_with(".input_global_scale") || name.ends_with(".k_scale") ||
         name.ends_with(".v_scale");
}

// Adds to `equal` the scales that are the same bit for bit.
void expect_scale(const WeightSource& weights, const std::string& name, const json::Object& expected, double tolerance,
                  int& equal) {
  const TensorInfo* info = weights.find(name);
  ASSERT_NE(info, nullptr) << name;
  const std::string dtype = expected.at("dtype").as_string() == "torch.bfloat16" ? "BF16" : "F32";
  EXPECT_EQ(sdk::safetensors_dtype(info->dtype), dtype) << name;
  const json::Array& values = expected.at("values").as_array();
  const at::Tensor got = weights.load(name).flatten();
  ASSERT_EQ(got.numel(), static_cast<int64_t>(values.size())) << name;
  for (size_t i = 0; i < values.size(); ++i) {
    const double value = got[static_cast<int64_t>(i)].item<double>(), wanted = values[i].to_number<double>();
    equal += value == wanted ? 1 : 0;
    EXPECT_LE(std::abs(value - wanted), tolerance * wanted)
        << name << ": " << value << ", the reference has " << wanted;
  }
}

class StaticGolden : public ::testing::TestWithParam<StaticCase> {};

bool of_attention(const std::string& name) {
  return name.ends_with(".k_scale") || name.ends_with(".v_scale");
}

TEST_P(StaticGolden, ScalesAreTheReferences) {
  const testing::TemporaryFolder folder;
  QuantizeOptions options = GetParam().options();
  options.output_dir = folder.path() / "out";
  Reporter silent;
  (void)quantize(options, testing::registry(), silent);
  const auto weights = open_safetensors(options.output_dir);
  const json::Object& expected = GetParam().expected();
  int compared = 0, equal = 0;
  for (const auto& member : expected) {
    if (of_attention(std::string(member.key()))) {
      // The reference keeps the range of the last batch (docs/DEFECTS.md); ours is that of all and never less.
      const at::Tensor got = weights->load(std::string(member.key()));
      EXPECT_GE(got.item<double>(), (1.0 - GetParam().tolerance() - 0.01) *
                                        member.value().as_object().at("values").as_array()[0].to_number<double>());
      continue;
    }
    expect_scale(*weights, std::string(member.key()), member.value().as_object(), GetParam().tolerance(), equal);
    ++compared;
  }
  EXPECT_EQ(compared, 14);
  if (GetParam().amp_dtype == "bfloat16") EXPECT_GE(equal, 9) << "of 14 scales";
  for (const TensorInfo& info : weights->tensors())
    EXPECT_TRUE(!is_calibrated(info.name) || expected.contains(info.name)) << info.name << " is not in the reference";
}

std::string name_of(const ::testing::TestParamInfo<StaticCase>& info) {
  std::string name = info.param.name + "_" + info.param.amp_dtype;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
}

INSTANTIATE_TEST_SUITE_P(All, StaticGolden, ::testing::ValuesIn(static_cases()), name_of);

}  // namespace
}  // namespace arkit
