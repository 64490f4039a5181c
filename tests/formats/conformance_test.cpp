#include <exporter_suite.h>
#include <gtest/gtest.h>

#include "formats/tiny_export.h"

namespace arkit::test {
namespace {

class IntegerFormats : public testing::TestWithParam<const char*> {};

TEST_P(IntegerFormats, PackAndUnpackAreInverse) {
  at::manual_seed(7);
  sdk::conformance::check_exporter(format_plugins().exporter(GetParam()), sdk::conformance::int_schemes());
}

INSTANTIATE_TEST_SUITE_P(All, IntegerFormats,
                         testing::Values("auto_round", "auto_gptq", "auto_awq", "llm_compressor", "mlx"));

}  // namespace
}  // namespace arkit::test
