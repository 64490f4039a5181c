#pragma once
// Measures what this machine does at best, with some threads at once.

#include <string_view>

namespace arkit {

struct MachinePeaks {
  int threads = 1;
  double bandwidth = 0;       // bytes a second read from memory
  double dot = 0;             // operations a second: products of bytes, and adding them up in 32 bits
  std::string_view dot_with;  // the instruction
};

// The best of several runs within about twice `seconds`; takes 256 MiB of memory. Throws ErrorCode::resource without it.
[[nodiscard]] MachinePeaks measure_peaks(int threads, double seconds);

}  // namespace arkit
