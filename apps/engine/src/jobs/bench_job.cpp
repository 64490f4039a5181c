// `arkit bench`: what a backend and a model make of this machine.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>

#include <omp.h>

#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/str.h>

#include "jobs/bench_parts.h"
#include "util/seconds.h"

namespace arkit {
namespace {

const std::vector<std::string> kGroups = {"kernels", "load", "prefill", "decode", "batch"};

std::vector<std::string> wanted_groups(const BenchOptions& options) {
  std::vector<std::string> wanted;
  for (const std::string& group : options.only.empty() ? kGroups : options.only) {
    if (std::find(kGroups.begin(), kGroups.end(), group) == kGroups.end())
      throw_usage(unknown_name("row of bench", group, kGroups, str("one of ", quoted_list(kGroups))));
    const bool of_model = group != "kernels";
    if (of_model && options.model.empty()) {
      if (options.only.empty()) continue;
      throw_usage(str("--only ", group, " measures a model; name one, as in 'arkit bench ./model'"));
    }
    wanted.push_back(group);
  }
  return wanted;
}

void check(const BenchOptions& options) {
  if (!(options.seconds > 0 && options.seconds <= 3600))
    throw_usage(str("seconds ", options.seconds, " must be above 0 and at most 3600"));
  if (options.threads < 0 || options.threads > 4096)
    throw_usage(str("threads ", options.threads, " must be 0 (one, and then all) to 4096"));
  if (options.prompt_tokens < 1) throw_usage(str("prompt_tokens ", options.prompt_tokens, " must be 1 or more"));
  if (options.new_tokens < 2) throw_usage(str("new_tokens ", options.new_tokens, " must be 2 or more"));
}

json::Object described(const MachinePeaks& peaks) {
  return {{"threads", peaks.threads},
          {"bandwidth_gb_per_second", peaks.bandwidth / 1e9},
          {"dot_gop_per_second", peaks.dot / 1e9},
          {"dot_instruction", peaks.dot_with}};
}

json::Object described(const BenchRow& row) {
  json::Object made{
      {"group", row.group}, {"what", row.what}, {"threads", row.threads}, {"value", row.value}, {"unit", row.unit}};
  if (row.roofline) {
    made["roofline"] = *row.roofline;
    made["bound_by"] = row.bound_by;
    made["share"] = row.value / *row.roofline;
  }
  return made;
}

}  // namespace

double median_seconds(double seconds, const std::function<void()>& work) {
  work();  // what is made once
  std::vector<double> times;
  const auto begin = std::chrono::steady_clock::now();
  while (times.size() < 3 || (seconds_since(begin) < seconds && times.size() < 100'000)) {
    const auto start = std::chrono::steady_clock::now();
    work();
    times.push_back(seconds_since(start));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2), times.end());
  return times[times.size() / 2];
}

json::Object bench(const BenchOptions& options, const Registry& registry, Reporter& reporter) {
  check(options);
  const std::vector<std::string> wanted = wanted_groups(options);
  std::vector<int> all_threads{static_cast<int>(options.threads)};
  if (options.threads == 0) {
    all_threads = {1};
    if (host_info().threads > 1) all_threads.push_back(host_info().threads);
  }
  if (!options.svg.empty() && options.model.empty())
    throw_usage("--svg draws the rows of a model; name one, as in 'arkit bench ./model --svg bench.svg'");

  json::Array machine;
  std::vector<BenchRow> rows;
  std::string backend;
  for (const int threads : all_threads) {
    // Backends ask OpenMP when a layer is made ready, and LibTorch has a number of its own.
    omp_set_num_threads(threads);
    at::set_num_threads(threads);
    reporter.step(str("this machine with ", threads, threads == 1 ? " thread" : " threads"));
    const MachinePeaks peaks = measure_peaks(threads, options.seconds);
    machine.push_back(described(peaks));
    const auto add = [&](std::vector<BenchRow> more) { std::move(more.begin(), more.end(), std::back_inserter(rows)); };
    if (std::find(wanted.begin(), wanted.end(), "kernels") != wanted.end()) {
      reporter.step("products of one layer");
      add(bench_kernels(options, peaks, registry, backend));
    }
    if (options.model.empty()) continue;
    reporter.step(str("'", options.model, "'"));
    add(bench_model(options, peaks, wanted, registry));
  }
  json::Array list;
  for (const BenchRow& row : rows) list.push_back(described(row));
  json::Object result{{"cpu", host_info().cpu_name}, {"machine", std::move(machine)}, {"rows", std::move(list)}};
  if (!backend.empty()) result["backend"] = backend;
  if (!options.model.empty()) result["model"] = options.model;
  if (!options.svg.empty()) {
    std::ofstream file(options.svg, std::ios::binary);
    file << bench_picture(str(options.model, " on ", host_info().cpu_name), rows);
    file.close();
    if (!file) throw_resource(str("'", options.svg.string(), "': the picture cannot be written"));
    result["svg"] = options.svg.string();
  }
  return result;
}

}  // namespace arkit
