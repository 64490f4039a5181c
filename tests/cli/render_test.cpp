#include <gtest/gtest.h>

#include "render.h"

using namespace arkit;

TEST(Render, TablesAlignAndEscape) {
  EXPECT_EQ(cli::table({{"a", "b"}, {"long", "x"}}), "a     b\nlong  x\n");
  const json::Array rows{json::Object{{"name", "x\033"}, {"bytes", 1500}}, json::Object{{"name", "y"}, {"more", true}}};
  EXPECT_EQ(cli::objects_table(rows), "name   bytes    more\nx\\x1b  1.50 kB\ny               yes\n");
  EXPECT_EQ(cli::objects_table({}), "(none)\n");
}

TEST(Render, NumbersAreShortAndUnitsKnown) {
  EXPECT_EQ(cli::cell(json::Value(0.5)), "0.5");
  EXPECT_EQ(cli::cell(json::Value(24.0)), "24");
  EXPECT_EQ(cli::cell(json::Value(1.25e-7)), "1.25e-07");
  EXPECT_EQ(cli::human_bytes(999), "999 B");
  EXPECT_EQ(cli::human_bytes(1.5e9), "1.50 GB");
  EXPECT_EQ(cli::human_seconds(12.34), "12.3 s");
  EXPECT_EQ(cli::human_seconds(3723), "1:02:03");
}

TEST(Render, ObjectsAreLinesThenTables) {
  const json::Object object{{"method", "rtn"},
                            {"peak_rss_bytes", 2000000},
                            {"outputs", json::Array{json::Object{{"format", "fake"}}}},
                            {"hidden", 1}};
  EXPECT_EQ(cli::describe_object(object, {"hidden"}),
            "method          rtn\npeak rss bytes  2.00 MB\n\noutputs\nformat\nfake\n");
}
