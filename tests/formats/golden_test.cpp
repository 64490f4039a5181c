// Every integer export of the reference, repeated (tests/data/golden/README.md).

#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>

#include <gtest/gtest.h>

#include "formats/golden_cases.h"
#include "formats/golden_compare.h"
#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

class GoldenExport : public testing::TestWithParam<GoldenCase> {};

TEST_P(GoldenExport, EqualsTheReference) {
  const GoldenCase& golden = GetParam();
  const std::filesystem::path expected = std::filesystem::path(golden_root()) / golden.name;
  ASSERT_TRUE(std::filesystem::exists(expected / "config.json"));
  TemporaryFolder folder(golden.name);
  export_case(golden, folder.path());
  EXPECT_EQ(first_difference(folder.path(), expected, golden.deviation), "");
}

// The file as a whole, not only its tensors: the order of tensors and the header are the reference's too.
TEST(GoldenExportFile, IsTheSameByteForByte) {
  for (const GoldenCase& golden : golden_cases()) {
    const std::filesystem::path expected = std::filesystem::path(golden_root()) / golden.name / "model.safetensors";
    if (!std::filesystem::exists(expected) || !golden.weight_only_int()) continue;
    TemporaryFolder folder(golden.name);
    export_case(golden, folder.path());
    const auto read = [](const std::filesystem::path& path) {
      std::ifstream in(path, std::ios::binary);
      return std::string(std::istreambuf_iterator<char>(in), {});
    };
    EXPECT_TRUE(read(folder.path() / "model.safetensors") == read(expected)) << golden.name;
  }
}

// The comparison itself sees differences: in a tensor, in a config member, in a missing tensor.
TEST(GoldenCompare, SeesDifferences) {
  const std::filesystem::path root = golden_root();
  EXPECT_NE(first_difference(root / "auto_round-W3A16", root / "auto_round-W4A16"), "");
  EXPECT_NE(first_difference(root / "auto_round-W4A16-asym", root / "auto_round_auto_awq-W5A16G32-asym"), "");
  EXPECT_EQ(first_difference(root / "auto_round-W4A16", root / "auto_round-W4A16"), "");
}

std::vector<GoldenCase> integer_cases() {
  std::vector<GoldenCase> cases(golden_cases().begin(), golden_cases().end());
  std::erase_if(cases, [](const GoldenCase& golden) { return !golden.weight_only_int(); });
  return cases;
}

INSTANTIATE_TEST_SUITE_P(All, GoldenExport, testing::ValuesIn(integer_cases()), [](const auto& info) {
  std::string name = info.param.name;
  for (char& c : name)
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  return name;
});

}  // namespace
}  // namespace arkit::test
