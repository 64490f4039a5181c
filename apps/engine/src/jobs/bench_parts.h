#pragma once
// Parts of `arkit bench`.

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <arkit/engine/bench.h>

#include "util/peaks.h"

namespace arkit {

struct BenchRow {
  std::string group;  // "kernels", "load", "prefill", "decode", "batch"
  std::string what;
  int threads = 1;
  double value = 0;
  std::string unit;
  std::optional<double> roofline;  // the most this machine could do, in the same unit
  std::string bound_by;            // what stands in the way then: "bandwidth", "dot"
};

// The products of a backend on random weights of 4 bits in groups of 128, through its door as layers of models go.
// `backend_used` is told. Throws ErrorCode::unsupported.
[[nodiscard]] std::vector<BenchRow> bench_kernels(const BenchOptions& options, const MachinePeaks& peaks,
                                                  const Registry& registry, std::string& backend_used);

// Of options.model; `wanted` says which groups.
[[nodiscard]] std::vector<BenchRow> bench_model(const BenchOptions& options, const MachinePeaks& peaks,
                                                const std::vector<std::string>& wanted, const Registry& registry);

// Runs `work` for `seconds` and three times at least: the median of the seconds one run takes.
[[nodiscard]] double median_seconds(double seconds, const std::function<void()>& work);

// Bars of the rows that have a roofline.
[[nodiscard]] std::string bench_picture(const std::string& title, const std::vector<BenchRow>& rows);

}  // namespace arkit
