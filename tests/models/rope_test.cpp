#include <arkit/sdk/rope.h>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/sdk/testing.h>

namespace arkit::sdk {
namespace {

const std::filesystem::path kData = ARKIT_TEST_DATA "/models";
// The reference computes in f32; the last bit may differ between vector widths of pow().
constexpr double kRelative = 3e-7;

void expect_reference(const char* file) {
  const json::Value vectors = json::read_file(kData / file);
  for (const auto& [name, entry] : vectors.as_object()) {
    const json::Object& rope = entry.at("rope_parameters").as_object();
    const int64_t head_dim = entry.at("head_dim").as_int64(), max = entry.at("max_position_embeddings").as_int64();
    const int64_t length = entry.at("seq_len").is_null() ? 1 : entry.at("seq_len").as_int64();
    const RopeFrequencies got = rope_frequencies(read_rope(rope, head_dim, max, true, "vector"), length);
    std::vector<double> wanted;
    for (const json::Value& f : entry.at("inv_freq").as_array()) wanted.push_back(f.to_number<double>());
    EXPECT_TRUE(close(got.inv_freq, at::tensor(wanted, at::kDouble), 0.0, kRelative)) << std::string(name);
    EXPECT_NEAR(got.attention_factor, entry.at("attention_factor").to_number<double>(), 1e-12) << std::string(name);
  }
}

TEST(Rope, FrequenciesEqualTheReference) {
  expect_reference("rope_vectors.json");
}

// Every parameter of every type, nulls and zeros included, as transformers 5.23 computes them.
TEST(Rope, EveryParameterIsReadAsTheReferenceReadsIt) {
  expect_reference("rope_parameters.json");
}

TEST(Rope, OfTwoPlacesTheReferencesCounts) {
  const json::Value vectors = json::read_file(kData / "rope_two_places.json");
  for (const json::Value& entry : vectors.as_array()) {
    const json::Object got = normalise_rope(entry.at("input").as_object(), 1e4, "vector");
    for (const auto& [key, value] : entry.at("rope_parameters").as_object()) {
      const json::Value* mine = json::find(got, key);
      ASSERT_NE(mine, nullptr) << std::string(key) << " of " << json::dump(entry.at("input"));
      EXPECT_TRUE(value.is_number() ? mine->to_number<double>() == value.to_number<double>() : *mine == value)
          << std::string(key) << " of " << json::dump(entry.at("input"));
    }
  }
}

TEST(Rope, AFactorThatNothingImpliesMustBeGiven) {
  for (const char* type : {"linear", "dynamic", "yarn", "llama3"})
    EXPECT_THROW((void)read_rope({{"rope_type", type}, {"rope_theta", 1e4}}, 32, 256, false, "test"), Error) << type;
  EXPECT_THROW((void)read_rope({{"rope_type", "linear"}, {"factor", nullptr}}, 32, 256, false, "test"), Error);
}

TEST(Rope, ConfigurationIsNormalisedLikeTheReference) {
  const json::Value vectors = json::read_file(kData / "rope_config_normalisation.json");
  int checked = 0;
  for (const json::Value& entry : vectors.as_array()) {
    const std::string type(entry.at("model_type").as_string());
    const json::Object& input = entry.at("input").as_object();
    // gemma3 keeps one dict per layer type and qwen3_vl nests its text configuration: their adapters pick first.
    if (type == "gemma3_text" || type == "qwen3_vl") continue;
    const double theta = type == "mixtral" || type == "qwen2_5_vl" ? 1e6 : 1e4;
    const json::Object got = normalise_rope(input, theta, "vector");
    const json::Object& wanted = entry.at("rope_parameters").as_object();
    EXPECT_EQ(got.size(), wanted.size()) << type;
    for (const auto& [key, value] : wanted) {
      const json::Value* mine = json::find(got, key);
      ASSERT_NE(mine, nullptr) << type << ": " << std::string(key);
      if (value.is_number())
        EXPECT_EQ(mine->to_number<double>(), value.to_number<double>()) << type << ": " << std::string(key);
      else
        EXPECT_EQ(*mine, value) << type << ": " << std::string(key);
    }
    ++checked;
  }
  EXPECT_EQ(checked, 17);
}

TEST(Rope, ProportionalStopsAfterItsShare) {
  const json::Value rope = json::parse(
      R"({"rope_type": "proportional", "rope_theta": 100.0, "partial_rotary_factor": 0.5, "factor": 2.0})", "test");
  const RopeFrequencies f = rope_frequencies(read_rope(rope.as_object(), 8, 64, false, "test"), 1);
  // Pairs 0 and 1 of 4 rotate at 100^(-2i/8) / 2.
  EXPECT_TRUE(close(f.inv_freq, at::tensor({0.5, 0.5 * std::pow(100.0, -0.25), 0.0, 0.0}, at::kDouble), 1e-7));
}

TEST(Rope, RefusesWhatMakesNoSense) {
  const auto read = [](const std::string& text) {
    const json::Value rope = json::parse(text, "test");
    return read_rope(rope.as_object(), 8, 64, false, "test");
  };
  EXPECT_THROW((void)read(R"({"rope_type": "yarm"})"), Error);
  EXPECT_THROW((void)read(R"({"rope_theta": 0})"), Error);
  EXPECT_THROW((void)read(R"({"rope_theta": -10000.0})"), Error);
  EXPECT_THROW((void)read(R"({"rope_type": "linear", "factor": 0})"), Error);
  EXPECT_THROW((void)read(R"({"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4})"),
               Error);
  EXPECT_THROW((void)read(R"({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [1, 1, 1, 1]})"), Error);
  EXPECT_THROW((void)read(R"({"rope_type": "longrope", "short_factor": "x", "long_factor": [1, 1, 1, 1]})"), Error);
}

}  // namespace
}  // namespace arkit::sdk
