// The format x scheme matrix: how it is drawn, and that the documentation shows the one this build has.
#include <fstream>
#include <iterator>

#include "jobs/format_matrix.h"
#include "jobs/job_testing.h"

namespace arkit {
namespace {

TEST(FormatMatrix, MergesFormatsAndGroupSizesThatSayTheSame) {
  const json::Value rows = json::parse(R"([
    {"format": "a",   "schemes": {"W4A16": "yes", "W4A16 asym": "no", "W4A16G32": "yes", "W4A16G32 asym": "no", "X": "yes"}},
    {"format": "b",   "schemes": {"W4A16": "yes", "W4A16 asym": "yes", "W4A16G32": "yes", "W4A16G32 asym": "yes", "X": "why"}},
    {"format": "a:2", "schemes": {"W4A16": "yes", "W4A16 asym": "no", "W4A16G32": "yes", "W4A16G32 asym": "no", "X": "yes"}}
  ])",
                                       "rows");
  EXPECT_EQ(format_matrix(rows.as_array()),
            "| scheme | a, a:2 | b         |\n"
            "| --- | --- | --- |\n"
            "| W4A16  | sym    | sym, asym |\n"
            "| X      | yes    | -         |\n");
  EXPECT_EQ(format_matrix({}), "");
}

TEST(FormatMatrix, IsTheOneOfTheDocumentation) {
  const std::string matrix(list_things("formats", testing::registry()).at("matrix").as_string());
  std::ifstream in(std::string(ARKIT_TEST_DATA) + "/../../docs/FORMATS.md");
  const std::string document{std::istreambuf_iterator<char>(in), {}};
  EXPECT_TRUE(testing::contains(document, matrix)) << "docs/FORMATS.md should hold what 'arkit list formats' prints:\n"
                                                   << matrix;
}

}  // namespace
}  // namespace arkit
