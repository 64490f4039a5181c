#pragma once
// What a processor does at best: the denominators of benchmarks.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace arkit {

// The sum of all words, so that a compiler cannot leave out reading them.
[[nodiscard]] uint64_t sum_of_words(std::span<const uint64_t> words);

// Products of bytes added in 32 bits, on registers alone.
struct DotLoop {
  std::string_view instruction;                                   // "vpdpbusd zmm"
  int64_t operations = 0;                                         // multiplications and additions of one round
  int32_t (*run)(int64_t rounds, uint8_t a, int8_t b) = nullptr;  // lane 0 of what is added up: rounds * 4 * a * b each
};
// The widest one that this machine has and ARKIT_CPU allows.
[[nodiscard]] DotLoop dot_loop();

}  // namespace arkit
