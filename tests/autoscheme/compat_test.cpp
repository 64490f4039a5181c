// "--score compat" against AutoRound 0.16.1 itself: tests/data/autoscheme/reference_scores.json, written by
// tools/make_reference_scores.py.
#include <fstream>
#include <sstream>

#include <gtest/gtest.h>

#include <arkit/json.h>

#include "autoscheme/score.h"
#include "score_testing.h"

namespace arkit::auto_scheme {
namespace {

json::Object reference() {
  std::ifstream in(std::string(ARKIT_TEST_DATA) + "/autoscheme/reference_scores.json");
  std::ostringstream text;
  text << in.rdbuf();
  return json::parse(text.str(), "reference_scores.json").as_object();
}

TEST(CompatScore, EqualsTheReferenceToFourDigits) {
  const json::Object data = reference();
  ASSERT_FALSE(data.at("cases").as_array().empty());
  for (const json::Value& value : data.at("cases").as_array()) {
    const json::Object& entry = value.as_object();
    const std::string name(entry.at("model").as_string()), scheme(entry.at("option").as_string());
    testing::ScoredModel model(name, {testing::option(scheme)});
    const ScoreTable table =
        model.score({.mode = ScoreMode::compat, .batch_size = entry.at("batch_size").to_number<int64_t>()});
    const json::Object& wanted = entry.at("scores").as_object();
    ASSERT_EQ(table.layers.size(), wanted.size());
    for (size_t i = 0; i < table.layers.size(); ++i) {
      const double score = wanted.at(table.layers[i]).to_number<double>();
      EXPECT_NEAR(table.loss[i][0] / score, 1.0, 1e-4) << name << " " << scheme << " " << table.layers[i];
    }
  }
}

}  // namespace
}  // namespace arkit::auto_scheme
