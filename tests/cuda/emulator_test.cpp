// What the emulator of thread blocks must see: kernels with one fault each.
#include <array>
#include <functional>

#include <gtest/gtest.h>

#include <arkit/sdk/cuda/device.h>

namespace arkit::cuda::tests {

struct Args {
  const uint32_t* from;
  uint32_t* to;
  int fault;
};

enum : int {
  kNone,
  kReadsBehind,
  kReadsBefore,
  kWritesInput,
  kUnaligned,
  kNoBarrier,
  kWritesTooEarly,
  kUnwritten,
  kBarrierOfSome,
  kEnds,
  kBeyondShared,
  kNoWait,
  kOneWaitTooLate,
  kTwoBlocks,
  kDiverges,
  kStale,
  kFaults
};

}  // namespace arkit::cuda::tests

// 64 threads: each hands its word to the thread 32 further on, through shared memory, and twice what it got to `to`.
ARKIT_KERNEL(faulty, arkit::cuda::tests::Args, 64, {
  using namespace arkit::cuda;
  using namespace arkit::cuda::tests;
  const int i = thread_index();
  auto* shared = reinterpret_cast<uint32_t*>(shared_memory());
  const int fault = args.fault;
  if (fault == kReadsBehind && i == 63) (void)load(args.from + 100000);
  if (fault == kReadsBefore && i == 0) (void)load(args.from - 100000);
  if (fault == kWritesInput) store(const_cast<uint32_t*>(args.from) + i, 1U);
  if (fault == kUnaligned) (void)load(reinterpret_cast<const Words2*>(args.from + 1));
  if (fault == kBeyondShared && i == 5) store_shared(shared + 64 + 64, 1U);
  store_shared(shared + i, load(args.from + i));
  if (fault == kEnds && i == 7) return;
  if (fault != kNoBarrier) sync_threads();
  uint32_t got = load_shared(shared + (i + 32) % 64);
  if (fault == kWritesTooEarly) store_shared(shared + i, 3U);
  if (fault == kUnwritten) got += load_shared(shared + 64 + i);
  sync_threads();
  if (i < 16) {
    copy_async(shared + 4 * i, args.from + 4 * i, true);
    copy_commit();
    copy_async(shared + 64 + 4 * i, args.from, false);
    copy_commit();
  }
  if (fault == kOneWaitTooLate)
    copy_wait<1>();
  else if (fault != kNoWait)
    copy_wait<0>();
  sync_threads();
  got += load_shared(shared + i) + load_shared(shared + 64 + i);
  if (fault == kStale && i < 32) store_shared(shared + 96 + i, 5U);
  if (fault == kStale && i >= 32) got += load_shared(shared + 64 + i);
  float lane = static_cast<float>(i);
  if (fault != kDiverges || i != 3)
    lane = shuffle_xor(lane, 1);
  else
    sync_threads();
  store(args.to + (fault == kTwoBlocks ? 0 : 64 * block_x()) + i, got + static_cast<uint32_t>(lane));
  if (fault == kBarrierOfSome && i < 32) sync_threads();
})

namespace arkit::cuda::tests {
namespace {

std::string outcome(int fault, uint64_t seed, std::array<uint32_t, 128>* to = nullptr) {
  alignas(16) std::array<uint32_t, 64> from{};
  for (uint32_t i = 0; i < 64; ++i) from[i] = 100 * i;
  std::array<uint32_t, 128> result{};
  emulated::Memory memory;
  memory.add(from.data(), sizeof(from), emulated::Use::read);
  memory.add(result.data(), sizeof(result), emulated::Use::write);
  const Args args{from.data(), result.data(), fault};
  try {
    emulated::launch(faulty, {2, 1, 1}, 512, &args, memory, seed);
  } catch (const emulated::Fault& found) {
    return found.what();
  }
  if (to != nullptr) *to = result;
  return {};
}

TEST(Emulator, RunsWhatIsRight) {
  for (uint64_t seed = 0; seed < 6; ++seed) {
    std::array<uint32_t, 128> to{};
    ASSERT_EQ(outcome(kNone, seed, &to), "");
    for (uint32_t i = 0; i < 128; ++i) EXPECT_EQ(to[i], 100 * ((i + 32) % 64) + 100 * (i % 64) + (i % 64 ^ 1U)) << i;
  }
}

TEST(Emulator, SeesEachFaultInEveryOrder) {
  const char* words[] = {"",
                         "reads outside",
                         "reads outside",
                         "only read",
                         "not aligned",
                         "reads ",  // what nobody wrote or what another thread writes, as the order is
                         "no barrier between",
                         "nobody wrote",
                         "wait at a barrier",
                         "wait at a barrier",
                         "leaves the shared memory",
                         "cp.async has not brought",
                         "cp.async has not brought",
                         "another block",
                         "wait at a barrier",
                         "no barrier between"};
  for (int fault = 1; fault < kFaults; ++fault)
    for (uint64_t seed = 0; seed < 4; ++seed)
      EXPECT_NE(outcome(fault, seed).find(words[fault]), std::string::npos)
          << "fault " << fault << ", order " << seed << ": '" << outcome(fault, seed) << "'";
}

TEST(Emulator, RefusesWhatNoGpuTakes) {
  emulated::Memory memory;
  const Args args{};
  EXPECT_THROW(emulated::launch(faulty, {1, 70000, 1}, 0, &args, memory), emulated::Fault);
  EXPECT_THROW(emulated::launch(faulty, {1, 1, 1}, size_t{200} << 10, &args, memory), emulated::Fault);
}

}  // namespace
}  // namespace arkit::cuda::tests

struct WarpArgs {
  const uint32_t* a;  // [lane][4]
  const uint32_t* b;  // [lane][2]
  const uint32_t* rows;
  float* c;
  uint32_t* turned;
};
ARKIT_KERNEL(one_warp, WarpArgs, 32, {
  using namespace arkit::cuda;
  const int lane = thread_index();
  uint32_t a[4];
  uint32_t b[2];
  float c[4] = {1, 2, 3, 4};
  for (int i = 0; i < 4; ++i) a[i] = load(args.a + 4 * lane + i);
  for (int i = 0; i < 2; ++i) b[i] = load(args.b + 2 * lane + i);
  BF16::mma(c, a, b);
  for (int i = 0; i < 4; ++i) store(args.c + 4 * lane + i, c[i]);
  auto* shared = reinterpret_cast<uint32_t*>(shared_memory());
  for (int i = 0; i < 4; ++i) store_shared(shared + 4 * lane + i, load(args.rows + 4 * lane + i));
  sync_threads();
  uint32_t r[4];
  load_matrices(r, shared + 4 * lane);
  for (int i = 0; i < 4; ++i) store(args.turned + 4 * lane + i, r[i]);
})

namespace arkit::cuda::tests {
namespace {

// One product with a single one in a row and column each: which fragment registers stand for which elements.
TEST(Emulator, LaysFragmentsAsPtxDoes) {
  for (int row = 0; row < 16; ++row) {
    const int k = (5 * row + 3) % 16, column = row % 8;
    std::array<uint32_t, 128> a{}, rows{}, turned{};
    std::array<uint32_t, 64> b{};
    std::array<float, 128> c{};
    const auto half = [](float x, int odd) { return uint32_t{sdk::float_to_bfloat16(x)} << (16 * odd); };
    a[static_cast<size_t>(4 * (row % 8 * 4 + k % 8 / 2) + row / 8 + 2 * (k / 8))] = half(3, k % 2);
    b[static_cast<size_t>(2 * (column * 4 + k % 8 / 2) + k / 8)] = half(5, k % 2);
    for (uint32_t i = 0; i < 128; ++i) rows[i] = i;
    emulated::Memory memory;
    memory.add(a.data(), sizeof(a), emulated::Use::read);
    memory.add(b.data(), sizeof(b), emulated::Use::read);
    memory.add(rows.data(), sizeof(rows), emulated::Use::read);
    memory.add(c.data(), sizeof(c), emulated::Use::write);
    memory.add(turned.data(), sizeof(turned), emulated::Use::write);
    const WarpArgs args{a.data(), b.data(), rows.data(), c.data(), turned.data()};
    emulated::launch(one_warp, {1, 1, 1}, 512, &args, memory, static_cast<uint64_t>(row));
    for (int lane = 0; lane < 32; ++lane)
      for (int i = 0; i < 4; ++i) {
        const bool here = lane / 4 + 8 * (i / 2) == row && lane % 4 * 2 + i % 2 == column;
        EXPECT_EQ(c[static_cast<size_t>(4 * lane + i)], static_cast<float>(1 + i) + (here ? 15.0F : 0.0F));
        // Matrix i is the rows that lanes 8i to 8i + 7 point to; row lane / 4 of it, words lane % 4.
        EXPECT_EQ(turned[static_cast<size_t>(4 * lane + i)], static_cast<uint32_t>(4 * (8 * i + lane / 4) + lane % 4));
      }
  }
}

}  // namespace
}  // namespace arkit::cuda::tests
