#include "rope_factors.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <optional>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_architecture.h"

namespace arkit::gguf {
namespace {

constexpr float kMostFactor = 1e6F;
constexpr double kMostPositions = 1e9;

// With w = 2 pi base^(2k/dim), the wave length of pair k, llama3 scaling divides its frequency by
// (docs/spec/gguf-reading.md 5)
//   1 for w < o / high,  factor for w > o / low,
//   else 1 / ((1 - s) / factor + s)  with s = (o / w - low) / (high - low).
struct Llama3 {
  double factor = 8, low = 1, high = 4, original = 8192;
};

double wave_length(size_t k, int64_t head_dim, double base) {
  const double exponent = 2.0 * static_cast<double>(k) / static_cast<double>(head_dim);
  const auto frequency = static_cast<float>(1.0 / std::pow(base, exponent));
  return 2 * std::numbers::pi / static_cast<double>(frequency);
}
double wave_length(size_t k, const HyperParameters& p) {
  return wave_length(k, p.head_dim, p.rope_freq_base);
}

double factor_at(const Llama3& scaling, double wave) {
  if (wave < scaling.original / scaling.high) return 1;
  if (wave > scaling.original / scaling.low) return scaling.factor;
  const double s = (scaling.original / wave - scaling.low) / (scaling.high - scaling.low);
  return 1 / ((1 - s) / scaling.factor + s);
}

bool reproduces(const Llama3& scaling, std::span<const float> factors, const HyperParameters& p) {
  constexpr double kTolerance = 1e-4;  // the stored factors are float32 of values computed from float32 frequencies
  for (size_t k = 0; k < factors.size(); ++k) {
    const double expected = factor_at(scaling, wave_length(k, p));
    if (std::fabs(factors[k] - expected) > kTolerance * expected) return false;
  }
  return true;
}

// Pairs between the two borders lie on the line s = original / (high - low) * (1 / w) - low / (high - low). Two of them
// give it; only the ratios of original, low and high matter, so low is 1.
std::optional<Llama3> solve(double factor, std::span<const float> factors, const HyperParameters& p) {
  std::vector<std::pair<double, double>> points;  // 1 / w, s
  for (size_t k = 0; k < factors.size(); ++k) {
    const double f = factors[k];
    if (f <= 1.0 + 1e-6 || f >= factor * (1 - 1e-6)) continue;
    points.emplace_back(1 / wave_length(k, p), (1 / f - 1 / factor) / (1 - 1 / factor));
  }
  if (points.size() < 2) return std::nullopt;
  const auto [x0, s0] = points.front();
  const auto [x1, s1] = points.back();
  const double slope = (s1 - s0) / (x1 - x0), offset = slope * x0 - s0;
  if (!(offset > 0)) return std::nullopt;
  const double original = slope / offset;
  if (!(original > 0 && original < kMostPositions)) return std::nullopt;
  const auto tidy = [](double value, double unit) {  // 3.9999 -> 4, 8191.7 -> 8192
    const double near = std::round(value / unit) * unit;
    return std::fabs(near - value) < 1e-3 * value ? near : value;
  };
  return Llama3{
      .factor = factor, .low = 1, .high = tidy(1 + 1 / offset, 0.5), .original = std::round(tidy(original, 1024))};
}

}  // namespace

std::vector<float> llama3_factors(const Rope& rope) {
  std::vector<float> factors;
  const Llama3 scaling{rope.factor, rope.low_freq_factor, rope.high_freq_factor,
                       static_cast<double>(rope.original_max_positions)};
  for (size_t k = 0; k < static_cast<size_t>(rope.dim / 2); ++k)
    factors.push_back(static_cast<float>(factor_at(scaling, wave_length(k, rope.dim, rope.theta))));
  return factors;
}

json::Value llama3_rope_scaling(std::span<const float> factors, const HyperParameters& p, std::string_view file) {
  if (static_cast<int64_t>(factors.size()) != p.head_dim / 2)
    throw_input(str(file, ": tensor 'rope_freqs.weight' has ", factors.size(), " factors, expected ", p.head_dim / 2));
  if (!std::all_of(factors.begin(), factors.end(), [](float f) { return f > 0 && f <= kMostFactor; }))
    throw_input(str(file, ": tensor 'rope_freqs.weight' holds a factor that is not between 0 and ", kMostFactor));
  const double factor = *std::max_element(factors.begin(), factors.end());
  if (std::all_of(factors.begin(), factors.end(), [](float f) { return f == 1.0F; })) return nullptr;
  std::vector<Llama3> candidates{{.factor = factor}};  // Llama 3.1 and 3.2
  if (const auto solved = solve(factor, factors, p)) candidates.push_back(*solved);
  for (const Llama3& scaling : candidates)
    if (reproduces(scaling, factors, p))
      return json::Object{{"rope_type", "llama3"},
                          {"factor", scaling.factor},
                          {"low_freq_factor", scaling.low},
                          {"high_freq_factor", scaling.high},
                          {"original_max_position_embeddings", static_cast<int64_t>(scaling.original)}};
  throw_unsupported(str(file,
                        ": tensor 'rope_freqs.weight' is no llama3 rope scaling, which is the only kind arkit reads; ",
                        "give the Hugging Face folder of the model instead"));
}

}  // namespace arkit::gguf
