#pragma once
// What level_search_ref.cpp does, over vectors. Included behind ggml_lanes.h.

#include "ggml_lanes.h"

namespace arkit::gguf_k {
namespace {

void peaks(const float* x, int64_t groups, int32_t group, float* to) {
  for (int64_t g = 0; g < groups; ++g, x += group) {
    F most = {};
    for (int32_t i = 0; i < group; i += kLanes) {
      F value;
      __builtin_memcpy(&value, x + i, sizeof(value));
      value = magnitude(value);
      most = value > most ? value : most;
    }
    to[g] = largest(most);
  }
}

// Where one level of doubled E2M1 ends and the next begins, in half scales, and what lies between them. A value in the
// middle belongs to the lower one; products with a scale are exact.
constexpr int kSteps = 7;
constexpr float kMiddle[kSteps] = {0.5F, 1.5F, 2.5F, 3.5F, 5, 7, 10};
constexpr float kStep[kSteps] = {1, 1, 1, 1, 2, 2, 4};

void e2m1(const LevelRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float d = run.scales[g];
    const float* x = run.x + g * run.group;
    uint8_t* codes = run.codes + g * run.group;
    if (d == 0) {
      for (int32_t i = 0; i < run.group; ++i) codes[i] = 0;
      continue;
    }
    for (int32_t i = 0; i < run.group; i += kLanes) {
      F value;
      __builtin_memcpy(&value, x + i, sizeof(value));
      const F size = magnitude(value);
      I code = {};
      for (int s = 0; s < kSteps; ++s) code -= size > F{} + kMiddle[s] * d;
      code += ((value < 0) & (code > 0)) & 8;
      put_some(code, codes + i);
    }
  }
}

void trits(const LevelRun& run) {
  for (int64_t g = 0; g < run.groups; ++g) {
    const float d = run.scales[g], inverse = d >= kLeastTritScale ? 1 / d : 0;
    const float* x = run.x + g * run.group;
    for (int32_t i = 0; i < run.group; i += kLanes) {
      F value;
      __builtin_memcpy(&value, x + i, sizeof(value));
      value = value * inverse;
      const I code = 1 - (value >= 0.5F) + (value <= -0.5F);
      put_some(code, run.codes + g * run.group + i);
    }
  }
}

// A group a lane.
void scale_bytes(const ByteRun& run) {
  constexpr int32_t kGroup = 16;
  F x[kGroup], w[kGroup];
  for (int64_t first = 0; first < run.groups; first += kLanes) {
    const int64_t count = run.groups - first < kLanes ? run.groups - first : kLanes;
    gather(run.x, first, count, kGroup, x);
    gather(run.importance, first, count, kGroup, w);
    for (int32_t i = 0; i < kGroup; ++i) x[i] = magnitude(x[i]);
    I byte = {};
    for (int64_t l = 0; l < count; ++l) byte[l] = run.bytes[first + l];
    const auto error_of = [&](int32_t step) __attribute__((always_inline)) {
      F d = {};
      for (int64_t l = 0; l < count; ++l) {
        const int32_t at = byte[l] + step;
        d[l] = run.halves[at < 0 || at > kMostScaleByte ? byte[l] : at];
      }
      F error = {};
      for (int32_t i = 0; i < kGroup; ++i) {
        F level = {};
        for (int s = 0; s < kSteps; ++s) level += x[i] > kMiddle[s] * d ? F{} + kStep[s] : F{};
        const F difference = x[i] - level * d;
        error += w[i] * difference * difference;
      }
      return error;
    };
    F best = error_of(0);
    I chosen = byte;
    for (int32_t step = kLeastByteStep; step <= kMostByteStep; ++step) {
      if (step == 0) continue;
      const F error = error_of(step);
      const I better = error < best;
      best = better ? error : best;
      chosen = better ? byte + step : chosen;
    }
    for (int64_t l = 0; l < count; ++l) run.bytes[first + l] = chosen[l];
  }
}

}  // namespace
}  // namespace arkit::gguf_k
