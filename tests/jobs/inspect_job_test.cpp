#include "jobs/job_testing.h"

#include <arkit/str.h>

namespace arkit {
namespace {

using testing::contains;
using testing::refusal;
using testing::registry;

TEST(Inspect, TellsTypesBitsAndWhoRunsIt) {
  const testing::TemporaryFolder folder;
  QuantizeOptions options;
  options.model = testing::tiny_model("source-llama-bf16");
  options.recipe = "rtn";
  options.layer_config = R"({"down_proj": {"bits": 8}})";
  options.output_dir = folder.path() / "out";
  Reporter silent;
  (void)quantize(options, registry(), silent);
  const json::Object report = inspect_model(options.output_dir.string(), registry());
  const json::Array& packed = report.at("packed").as_array();
  ASSERT_EQ(packed.size(), 2U);
  int64_t layers = 0;
  for (const json::Value& row : packed) {
    layers += row.as_object().at("layers").to_number<int64_t>();
    const json::Array& verdicts = row.as_object().at("backends").as_array();
    EXPECT_EQ(verdicts.size(), registry().names(Kind::backend).size());
    std::string asked;
    for (const json::Value& verdict : verdicts) {
      asked += str(asked.empty() ? "" : " ", std::string_view(verdict.at("backend").as_string()));
      EXPECT_EQ(verdict.at("score").as_int64() == 0, verdict.as_object().contains("why_not"));
    }
    EXPECT_TRUE(contains(asked, "torch"));
    // The best is the first of them.
    EXPECT_EQ(row.as_object().at("runs_on").as_string(), verdicts.front().at("backend").as_string());
    const double bits = row.as_object().at("bits_per_weight").to_number<double>();
    const bool eight = row.as_object().at("scheme").as_string() == "int8 g128 sym";
    EXPECT_NEAR(bits, eight ? 8.2 : 4.2, 0.1);  // codes, an f16 scale and a zero point per 128 weights
  }
  EXPECT_EQ(layers, 14);
  EXPECT_TRUE(report.at("runs").as_bool());
}

TEST(Inspect, ReadsAPlainModelAndABareFile) {
  const std::string model = testing::tiny_model("source-llama-bf16");
  const json::Object whole = inspect_model(model, registry());
  EXPECT_EQ(whole.at("model_type").as_string(), "llama");
  EXPECT_TRUE(whole.at("packed").as_array().empty());
  const json::Object file = inspect_model(model + "/model.safetensors", registry());
  EXPECT_EQ(file.at("tensors").as_array().size(), whole.at("tensors").as_array().size());
  (void)refusal(ErrorCode::input, [&] { (void)inspect_model(model + "/absent", registry()); });
}

}  // namespace
}  // namespace arkit
