// Speed of the bit packers on one thread, in codes a second: a 4096 x 4096 layer, each layout, each number of bits
// asked for. `pack_bench [bits...]`, 4 by default. The `_ref` twins are tens of times slower and not measured.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <vector>

#include <arkit/sdk/bit_pack.h>

namespace {

constexpr int64_t kOut = 4096, kIn = 4096;

double cpu_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// CPU time, best of several runs: what the machine does when nothing else runs on it.
void measure(const char* name, int bits, const std::function<void()>& work) {
  double best = 1e9;
  for (int round = 0; round < 7; ++round) {
    const double start = cpu_seconds();
    work();
    best = std::min(best, cpu_seconds() - start);
  }
  const double codes = static_cast<double>(kOut * kIn);
  std::printf("%-14s %d bits %8.2f ms %7.2f Gcodes/s\n", name, bits, best * 1e3, codes / best / 1e9);
}

}  // namespace

int main(int argc, char** argv) {
  using namespace arkit::sdk;
  std::vector<int> all_bits;
  for (int i = 1; i < argc; ++i) all_bits.push_back(std::clamp(std::atoi(argv[i]), 1, kMaxPackBits));
  if (all_bits.empty()) all_bits = {4};

  std::vector<uint8_t> codes(static_cast<size_t>(kOut * kIn)), back(codes.size());
  std::mt19937 random(1);
  for (const int bits : all_bits) {
    for (uint8_t& code : codes) code = static_cast<uint8_t>(random() & ((1U << bits) - 1));
    std::vector<uint32_t> words(codes.size() * static_cast<size_t>(bits) / 32);
    auto* bytes = reinterpret_cast<uint8_t*>(words.data());
    measure("row", bits, [&] {
      for (int64_t o = 0; o < kOut; ++o) pack_row(codes.data() + o * kIn, kIn, bits, bytes + o * kIn / 8 * bits);
    });
    measure("gptq", bits, [&] { pack_columns(codes.data(), kOut, kIn, bits, 0, kOut, words.data()); });
    measure("gptq unpack", bits, [&] { unpack_columns(words.data(), kOut, kIn, bits, 0, kOut, back.data()); });
    if (back != codes) std::printf("gptq: the codes do not come back\n");
    measure("awq", bits, [&] { pack_awq_columns(codes.data(), kOut, kIn, bits, 0, kIn, bytes); });
    measure("awq unpack", bits, [&] { unpack_awq_columns(bytes, kOut, kIn, bits, 0, kIn, back.data()); });
    if (back != codes) std::printf("awq: the codes do not come back\n");
  }
}
