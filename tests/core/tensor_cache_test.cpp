#include "util/tensor_cache.h"

#include <optional>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include <ATen/ATen.h>
#include <c10/core/CPUAllocator.h>

namespace arkit {
namespace {

constexpr int64_t kLarge = (int64_t{3} << 20) / 4;  // floats of 3 MiB

TEST(TensorCache, ATensorOfTheSameSizeGetsTheSameMemory) {
  const TensorCacheScope scope;
  std::optional<at::Tensor> first = at::full({kLarge}, 1.0F);
  const void* where = first->const_data_ptr();
  EXPECT_NE(at::empty({kLarge}).const_data_ptr(), where) << "the first one still lives";
  first.reset();
  EXPECT_NE(at::empty({2 * kLarge}).const_data_ptr(), where) << "another size";
  EXPECT_EQ(at::empty({kLarge}).const_data_ptr(), where);
}

TEST(TensorCache, TensorsOutliveTheScope) {
  at::Tensor kept;
  {
    const TensorCacheScope scope;
    kept = at::full({kLarge}, 2.0F);
    (void)at::full({kLarge}, 3.0F);
  }
  EXPECT_EQ(kept.sum().item<float>(), 2.0F * kLarge);
  const TensorCacheScope again;
  const void* where = kept.const_data_ptr();
  kept.reset();
  EXPECT_EQ(at::empty({kLarge}).const_data_ptr(), where) << "freed in a later scope, kept by it";
}

TEST(TensorCache, TheLastScopeGivesMemoryBack) {
  std::optional<TensorCacheScope> outer(std::in_place);
  const void* where = at::empty({kLarge}).const_data_ptr();
  { const TensorCacheScope inner; }
  EXPECT_EQ(at::empty({kLarge}).const_data_ptr(), where) << "the outer scope still lives";
  at::Tensor watched = at::full({kLarge}, 4.0F);
  outer.reset();
  EXPECT_EQ(watched.sum().item<float>(), 4.0F * kLarge);
  EXPECT_TRUE(at::zeros({kLarge}).eq(0).all().item<bool>());
}

TEST(TensorCache, RawMemoryGoesBackWhereItCameFrom) {
  const TensorCacheScope scope;
  c10::Allocator* allocator = c10::GetCPUAllocator();
  for (const size_t bytes : {size_t{100}, size_t{5} << 20}) {
    auto* data = static_cast<char*>(allocator->raw_allocate(bytes));
    data[0] = data[bytes - 1] = 1;
    allocator->raw_deallocate(data);
  }
}

TEST(TensorCache, ThreadsMayShareIt) {
  const TensorCacheScope scope;
  std::vector<std::thread> threads;
  std::vector<int> bad(4, 0);
  for (size_t t = 0; t < bad.size(); ++t)
    threads.emplace_back([&bad, t] {
      for (int i = 0; i < 50; ++i) {
        const at::Tensor mine = at::full({kLarge / 2}, static_cast<float>(t));
        std::this_thread::yield();
        bad[t] += mine.ne(static_cast<float>(t)).any().item<bool>();
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(bad, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace arkit
