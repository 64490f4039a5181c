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

// Those of plugins with what they answer, and those that are known by name alone.
TEST(List, ShowsBackendsThatAreHereAndOnesThatAreNot) {
  std::map<std::string, json::Object> rows;
  const json::Object lists = list_things("backends", testing::registry());
  for (const json::Value& row : lists.at("backends").as_array())
    rows.emplace(std::string(row.at("name").as_string()), row.as_object());
  const json::Object& torch = rows.at("torch");
  EXPECT_TRUE(torch.at("installed").as_bool());
  const json::Object& device = torch.at("devices").as_array().at(0).as_object();
  EXPECT_EQ(device.at("device").as_string(), "cpu:0");
  bool integers = false;
  for (const json::Value& value : device.at("runs").as_array()) {
    const json::Object& runs = value.as_object();
    if (runs.at("data_type").as_string() != "int" || runs.at("activations").as_string() != "16-bit") continue;
    integers = true;
    EXPECT_EQ(runs.at("symmetry"), json::Value(json::Array{"sym", "asym"}));
    EXPECT_EQ(runs.at("packings"), json::Value(json::Array{"any"}));
    EXPECT_TRUE(runs.at("every_group_size").as_bool());
  }
  EXPECT_TRUE(integers);
  EXPECT_TRUE(testing::contains(json::dump(torch.at("stands_in_for")), "auto_round:torch"));
  const json::Object& absent = rows.at("mlx");
  EXPECT_FALSE(absent.at("installed").as_bool());
  EXPECT_TRUE(absent.at("devices").as_array().empty());
  EXPECT_TRUE(testing::contains(std::string(absent.at("reason").as_string()), "mlx-lm"));
}

TEST(List, AnUnknownListIsRefusedWithTheNearestName) {
  EXPECT_TRUE(
      testing::contains(testing::refusal(ErrorCode::usage, [] { (void)list_things("shemes", testing::registry()); }),
                        "did you mean 'schemes'"));
}

}  // namespace
}  // namespace arkit
