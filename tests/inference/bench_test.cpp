// `arkit bench`: which rows there are, what they are measured by, and what it refuses. How fast anything is, no test knows.
#include <fstream>
#include <iterator>
#include <set>
#include <string>

#include <gtest/gtest.h>

#include <arkit/engine/bench.h>
#include <arkit/error.h>

#include "inference/support.h"

namespace arkit {
namespace {

const std::string kModel = ARKIT_TEST_DATA "/golden/auto_round-W4A16";

TEST(Bench, MeasuresAModelBesideItsLimits) {
  const tests::ScratchFolder folder;
  const std::filesystem::path svg = folder.path() / "bench.svg";
  const json::Object made = bench({.model = kModel,
                                   .only = {"load", "prefill", "decode", "batch"},
                                   .threads = 1,
                                   .seconds = 0.01,
                                   .prompt_tokens = 32,
                                   .new_tokens = 4,
                                   .svg = svg},
                                  tests::registry(), tests::silent());
  const json::Value& machine = made.at("machine").at(0);
  EXPECT_GT(machine.at("bandwidth_gb_per_second").as_double(), 0.0);
  EXPECT_GT(machine.at("dot_gop_per_second").as_double(), 0.0);
  std::multiset<std::string> groups;
  for (const json::Value& row : made.at("rows").as_array()) {
    const std::string group(row.at("group").as_string());
    groups.insert(group);
    EXPECT_GE(row.at("value").as_double(), 0.0) << json::dump(row);
    if (row.at("unit") != "tokens/s") continue;
    EXPECT_GT(row.at("value").as_double(), 0.0);
    EXPECT_NEAR(row.at("share").as_double(), row.at("value").as_double() / row.at("roofline").as_double(), 1e-9);
  }
  EXPECT_EQ(groups, (std::multiset<std::string>{"batch", "batch", "decode", "load", "load", "load", "prefill"}));
  std::ifstream file(svg);
  const std::string picture(std::istreambuf_iterator<char>(file), {});
  size_t bars = 0;
  for (size_t at = picture.find("fill=\"#2f5fb3\""); at != std::string::npos;
       at = picture.find("fill=\"#2f5fb3\"", at + 1))
    ++bars;
  EXPECT_EQ(bars, 3U) << "prefill, decode and batch have a roofline";
}

// Through the door of backends, so that any of them can be measured.
TEST(Bench, MeasuresTheKernelsOfTheBackendThatIsNamed) {
  const json::Object made = bench({.backend = "torch", .only = {"kernels"}, .threads = 1, .seconds = 0.001},
                                  tests::registry(), tests::silent());
  EXPECT_EQ(made.at("backend"), "torch");
  EXPECT_EQ(made.at("rows").as_array().size(), 3U);
}

TEST(Bench, RefusesWhatCannotBe) {
  const auto refused = [](const BenchOptions& options) {
    try {
      (void)bench(options, tests::registry(), tests::silent());
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
      return std::string(error.what());
    }
    ADD_FAILURE() << "taken";
    return std::string();
  };
  EXPECT_NE(refused({.only = {"decode"}}).find("name one"), std::string::npos);
  EXPECT_NE(refused({.only = {"kernel"}}).find("did you mean 'kernels'"), std::string::npos);
  EXPECT_NE(refused({.seconds = 0}).find("seconds 0"), std::string::npos);
  EXPECT_NE(refused({.threads = -1}).find("threads -1"), std::string::npos);
  EXPECT_NE(refused({.svg = "x.svg"}).find("--svg"), std::string::npos);
  EXPECT_NE(refused({.model = kModel, .new_tokens = 1}).find("new_tokens 1"), std::string::npos);
}

}  // namespace
}  // namespace arkit
