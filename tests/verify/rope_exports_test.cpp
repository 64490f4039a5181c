// Rotary embeddings said in one program's words and read in another's: right exports pass, wrong ones are found.

#include <cmath>
#include <string>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "verify/rope_meaning.h"
#include "verify/verify_testing.h"

namespace arkit::testing {
namespace {

namespace fs = std::filesystem;

constexpr const char* kAround = "configuration and plain tensors";
constexpr const char* kConfig = "configuration says what the source's says";

json::Object object(std::string_view text) {
  return json::parse(text, "test").as_object();
}

// A list of as many numbers as a head of the tiny model has pairs.
std::string factors(double first, double step) {
  std::string text = "[";
  for (int i = 0; i < 16; ++i) text += str(i == 0 ? "" : ", ", first + step * i);
  return text + "]";
}

void set_rope(Folder& folder, const json::Object& settings) {
  folder.config.erase("rope_parameters");
  for (const auto& setting : settings) folder.config[setting.key()] = setting.value();
}

struct Exported {
  TemporaryFolder folder;
  std::string source = (folder.path() / "source").string();

  Exported(const json::Object& settings, const char* format) {
    Folder model(tiny_model("source-llama-bf16"));
    set_rope(model, settings);
    model.write(source);
    export_model(source, folder.path() / "out", [&](QuantizeOptions& o) {
      o.scheme = "W8A16";
      o.formats = {format};
    });
  }
  [[nodiscard]] std::string failed() const { return failures(verified(folder.path() / "out")); }
  [[nodiscard]] std::string failed_after(const Edit& edit) const {
    Folder damaged(folder.path() / "out");
    edit(damaged);
    damaged.write(folder.path() / "bad");
    return failures(verified(folder.path() / "bad", source));
  }
};

std::string yarn(const char* more) {
  return str(R"({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": 4.0,
                 "original_max_position_embeddings": 64, )",
             more, "}}");
}

TEST(RopeExport, OfEveryParameterIsRight) {
  const std::string longrope =
      str(R"({"rope_parameters": {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": )", factors(1.0, 0.2),
          R"(, "long_factor": )", factors(1.0, 0.2));
  const std::string settings[] = {
      yarn(R"("attention_factor": 0.7)"),
      yarn(R"("attention_factor": 1.25, "mscale": 1.4, "mscale_all_dim": 0.7)"),
      yarn(R"("mscale": 0.7)"),
      yarn(R"("mscale_all_dim": 0.7)"),
      yarn(R"("mscale": 1.4, "mscale_all_dim": 0.7)"),
      yarn(R"("beta_fast": 8, "beta_slow": 2, "truncate": true)"),
      yarn(R"("beta_fast": 0, "mscale": null)"),
      R"({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4, "factor": null,
          "original_max_position_embeddings": 64}})",
      R"({"rope_theta": 5e5, "rope_scaling": {"type": "yarn", "factor": 8.0}, "original_max_position_embeddings": 32})",
      R"({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 3.0, "low_freq_factor": 0.5,
          "high_freq_factor": 8.0, "original_max_position_embeddings": 128}})",
      R"({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 3.0}})",
      R"({"rope_scaling": {"type": "linear", "factor": 2.5, "attention_factor": 0.5}})",
      longrope + R"(, "original_max_position_embeddings": 64}})",
      str(R"({"original_max_position_embeddings": 512, "rope_scaling": {"type": "longrope", "short_factor": )",
          factors(1.0, 0.2), R"(, "long_factor": )", factors(4.0, 1.0), "}}")};
  for (const std::string& text : settings)
    for (const char* format : {"mlx", "auto_round"})
      EXPECT_EQ(Exported(object(text), format).failed(), "") << format << text;
}

// Transformers 5 takes what is inside; mlx-lm and older readers look beside it.
TEST(RopeExport, OfAModelThatSaysItsBaseTwice) {
  const char* const settings[] = {
      R"({"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 2e4}})",
      R"({"rope_theta": 5e5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}})",
      R"({"rope_theta": 5e5, "rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 2e4}})",
      R"({"rope_scaling": {"rope_type": "linear", "factor": 2.0}, "rope_parameters": {"rope_type": "default", "rope_theta": 2e4}})",
      R"({"rope_theta": 5e5, "rope_scaling": {}, "rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 2e4}})"};
  for (const char* text : settings)
    for (const char* format : {"mlx", "auto_round", "llm_compressor"}) {
      const Exported exported(object(text), format);
      EXPECT_EQ(exported.failed(), "") << format << text;
      const json::Object before = rope_meaning(object(text));
      const json::Value* theta = json::find(before, "rope_theta");
      const double wanted = theta == nullptr ? 1e4 : theta->to_number<double>();
      const json::Object after = json::read_file(exported.folder.path() / "out/config.json").as_object();
      const json::Value* beside = json::find(after, "rope_theta");
      EXPECT_EQ(beside == nullptr ? 1e4 : beside->to_number<double>(), wanted) << format << text;
    }
}

TEST(RopeExport, WithAnotherParameterIsFound) {
  const Exported attention(object(yarn(R"("attention_factor": 0.7)")), "mlx");
  const auto scaling = [](Folder& f) -> json::Object& { return f.config.at("rope_scaling").as_object(); };
  for (const Edit& edit :
       {Edit([&](Folder& f) { scaling(f)["mscale"] = 1.0; }), Edit([&](Folder& f) { scaling(f).erase("mscale"); }),
        Edit([&](Folder& f) { scaling(f)["mscale_all_dim"] = 1.0; }),
        Edit([&](Folder& f) { scaling(f)["beta_fast"] = 4.0; }), Edit([&](Folder& f) { scaling(f)["factor"] = 8.0; }),
        Edit([&](Folder& f) { f.config["rope_theta"] = 2e4; })})
    EXPECT_NE(attention.failed_after(edit).find(kAround), std::string::npos);
  // No word of it at all: nothing but the configuration is needed to see it.
  EXPECT_NE(attention.failed_after([](Folder& f) { f.config.erase("rope_scaling"); }).find(kConfig), std::string::npos);
}

TEST(RopeMeaning, IsOneForWhatTransformersTakesForTheSame) {
  const auto same = [](const char* a, const char* b) {
    EXPECT_EQ(json::dump(rope_meaning(object(a))), json::dump(rope_meaning(object(b))));
  };
  same(R"({"rope_theta": 1.0, "rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5.0}})",
       R"({"rope_theta": 5.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5.0}})");
  const json::Object meaning = rope_meaning(object(R"({"max_position_embeddings": 256, "rope_scaling": {"type": "yarn",
      "factor": null, "original_max_position_embeddings": 64, "mscale": 2.0, "mscale_all_dim": 1.0, "beta_slow": 0}})"));
  EXPECT_EQ(meaning.at("factor"), 4.0);
  EXPECT_NEAR(meaning.at("attention_factor").as_double(), (0.2 * std::log(4.0) + 1) / (0.1 * std::log(4.0) + 1), 1e-15);
  EXPECT_FALSE(meaning.contains("mscale") || meaning.contains("beta_slow"));
  EXPECT_EQ(meaning.at("rope_type"), "yarn");
}

}  // namespace
}  // namespace arkit::testing
