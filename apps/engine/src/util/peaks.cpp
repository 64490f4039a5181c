#include "util/peaks.h"

#include <algorithm>
#include <atomic>
#include <barrier>
#include <chrono>
#include <functional>
#include <memory>
#include <new>
#include <thread>
#include <vector>

#include <arkit/error.h>

#include "util/peak_kernels.h"
#include "util/seconds.h"

namespace arkit {
namespace {

// More than caches hold; read in pieces, of which the fastest was not disturbed.
constexpr size_t kWords = (size_t{256} << 20) / sizeof(uint64_t), kPieces = 16;

// What all threads do of `work(thread)` together, again and again: the least seconds one time takes.
double fastest(int threads, double seconds, const std::function<void(int thread)>& work) {
  using Clock = std::chrono::steady_clock;
  double best = 1e9;
  bool goes_on = true;
  const auto begin = Clock::now();
  auto start = begin;
  std::barrier ready(threads, [&]() noexcept { start = Clock::now(); });
  std::barrier done(threads, [&]() noexcept {
    best = std::min(best, seconds_since(start));
    goes_on = seconds_since(begin) < seconds;
  });
  const auto run = [&](int thread) {
    while (goes_on) {
      ready.arrive_and_wait();
      work(thread);
      done.arrive_and_wait();
    }
  };
  std::vector<std::jthread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(run, thread);
  run(0);
  return best;
}

}  // namespace

MachinePeaks measure_peaks(int threads, double seconds) {
  MachinePeaks peaks{.threads = threads};
  std::unique_ptr<uint64_t[]> words(new (std::nothrow) uint64_t[kWords]);
  if (!words) throw_resource("the memory bandwidth cannot be measured: 256 MiB are not to be had");
  std::fill_n(words.get(), kWords, uint64_t{1});
  std::atomic<uint64_t> sums = 0;  // somebody must want them
  const size_t share = kWords / kPieces / static_cast<size_t>(threads);
  std::vector<size_t> pieces(static_cast<size_t>(threads));  // each thread goes through a part of its own
  const double reading = fastest(threads, seconds, [&](int thread) {
    const size_t me = static_cast<size_t>(thread), piece = pieces[me]++ % kPieces;
    sums += sum_of_words({words.get() + (me * kPieces + piece) * share, share});
  });
  peaks.bandwidth = static_cast<double>(share * sizeof(uint64_t)) * threads / reading;

  constexpr int64_t kRounds = 100'000;
  const DotLoop loop = dot_loop();
  const double multiplying =
      fastest(threads, seconds, [&](int) { sums += static_cast<uint64_t>(loop.run(kRounds, 3, 5)); });
  peaks.dot = static_cast<double>(loop.operations) * kRounds * threads / multiplying;
  peaks.dot_with = loop.instruction;
  ARKIT_CHECK(sums.load() != 0, "nothing was added up");
  return peaks;
}

}  // namespace arkit
