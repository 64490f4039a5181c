#pragma once

#include <chrono>

namespace arkit {

// Wall-clock seconds from `start` until now.
[[nodiscard]] inline double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace arkit
