#include "tuning/product_speed.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>
#include <unistd.h>

namespace arkit {
namespace {

namespace fs = std::filesystem;

class KeptSpeed : public ::testing::Test {
 protected:
  KeptSpeed() {
    std::string pattern = (fs::temp_directory_path() / "arkit_speed_XXXXXX").string();
    folder_ = ::mkdtemp(pattern.data());
  }
  ~KeptSpeed() override { fs::remove_all(folder_); }
  [[nodiscard]] fs::path file() const { return fs::directory_iterator(folder_)->path(); }
  fs::path folder_;
};

TEST_F(KeptSpeed, IsMeasuredOnceAndReadAfterwards) {
  const ProductSpeed first = kept_product_speed(folder_);
  EXPECT_FALSE(first.kept);
  EXPECT_GT(first.float32, 0.0);
  EXPECT_GT(first.bfloat16, 0.0);
  const ProductSpeed second = kept_product_speed(folder_);
  EXPECT_TRUE(second.kept);
  EXPECT_EQ(second.float32, first.float32);
  EXPECT_EQ(second.bfloat16, first.bfloat16);
}

TEST_F(KeptSpeed, ADamagedFileCostsOnlyTheMeasurement) {
  (void)kept_product_speed(folder_);
  for (const char* content :
       {"", "{", "[]", "{\"key\": 5}", "{\"float32_gflops\": -1}", "{\"key\": \"another CPU\"}"}) {
    std::ofstream(file()) << content;
    EXPECT_FALSE(kept_product_speed(folder_).kept) << content;
    EXPECT_TRUE(kept_product_speed(folder_).kept) << "not mended after: " << content;
  }
}

TEST_F(KeptSpeed, AFolderThatCannotBeWrittenIsNoError) {
  std::ofstream(folder_ / "file") << "in the way";
  EXPECT_FALSE(kept_product_speed(folder_ / "file" / "below").kept);
  EXPECT_FALSE(kept_product_speed({}).kept);
}

TEST(ProductSpeed, PrefersFloat32UnlessBfloat16IsClearlyFaster) {
  EXPECT_EQ((ProductSpeed{300, 165}.faster()), at::kFloat);
  EXPECT_EQ((ProductSpeed{300, 330}.faster()), at::kFloat);
  EXPECT_EQ((ProductSpeed{300, 600}.faster()), at::kBFloat16);
}

}  // namespace
}  // namespace arkit
