// `arkit list` as a function: rows made from what the plugins say of themselves.
#include "jobs/job_testing.h"

#include <map>
#include <string>

#include <arkit/json.h>

namespace arkit {
namespace {

TEST(List, AFormatShowsASchemeTwiceOnlyWhereTheSchemeCanBeAsymmetric) {
  const json::Object lists = list_things("formats", testing::registry());
  ASSERT_FALSE(lists.at("formats").as_array().empty());
  for (const json::Value& format : lists.at("formats").as_array()) {
    const json::Object& schemes = format.at("schemes").as_object();
    EXPECT_TRUE(schemes.contains("W4A16"));
    EXPECT_TRUE(schemes.contains("W4A16 asym"));
    for (const char* name : {"BF16", "INT8", "MXFP4", "NVFP4"}) {
      EXPECT_TRUE(schemes.contains(name)) << name;
      EXPECT_FALSE(schemes.contains(std::string(name) + " asym")) << name;
    }
  }
}

// A family of a file has its own row, with the file; what reads the files is no family.
TEST(List, ShowsTheFamiliesOfFiles) {
  const Registry files(
      PluginSearch{.folders = {ARKIT_PLUGIN_BUILD_DIR}, .families = {ARKIT_TEST_DATA "/../../share/families"}});
  std::map<std::string, json::Object> rows;
  const json::Object lists = list_things("models", files);
  for (const json::Value& row : lists.at("models").as_array())
    rows.emplace(std::string(row.at("name").as_string()), row.as_object());
  EXPECT_FALSE(rows.contains("declared"));
  EXPECT_FALSE(rows.at("llama").contains("file"));
  EXPECT_EQ(rows.at("olmo2").at("model_types"), json::Value(json::Array{"olmo2"}));
  EXPECT_EQ(rows.at("olmo2").at("summary"), "OLMo 2");
  EXPECT_TRUE(std::string(rows.at("olmo2").at("file").as_string()).ends_with("share/families/olmo2.toml"));
}

TEST(List, AnUnknownListIsRefusedWithTheNearestName) {
  EXPECT_TRUE(
      testing::contains(testing::refusal(ErrorCode::usage, [] { (void)list_things("shemes", testing::registry()); }),
                        "did you mean 'schemes'"));
}

}  // namespace
}  // namespace arkit
