#include "verify/verify_report.h"

#include <algorithm>

#include <arkit/str.h>

namespace arkit {
namespace {

constexpr int64_t kComplaintsInWords = 4;
constexpr size_t kWorstLayers = 5;

}  // namespace

void Check::fail(const std::string& complaint) {
  if (complaints_ < kComplaintsInWords) words_ += (complaints_ == 0 ? std::string() : std::string("; ")) + complaint;
  ++complaints_;
}

CheckResult Check::result(const std::string& summary) const {
  if (complaints_ == 0) return {.name = name_, .detail = summary};
  const int64_t more = complaints_ - kComplaintsInWords;
  return {.name = name_, .passed = false, .detail = more > 0 ? str(words_, "; and ", more, " more") : words_};
}

void VerifyReport::add_skipped(std::string name, std::string why) {
  checks_.push_back({.name = std::move(name), .skipped = true, .detail = std::move(why)});
}

json::Object VerifyReport::to_json() const {
  json::Object report;
  report["passed"] = std::all_of(checks_.begin(), checks_.end(), [](const CheckResult& c) { return c.passed; });
  json::Array checks;
  for (const CheckResult& check : checks_) {
    json::Object entry{{"name", check.name}, {"passed", check.passed}, {"detail", check.detail}};
    if (check.skipped) entry["skipped"] = true;
    checks.push_back(std::move(entry));
  }
  report["checks"] = std::move(checks);
  report["counts"] = counts;
  std::vector<LayerFigures> worst = layers_;
  std::sort(worst.begin(), worst.end(),
            [](const LayerFigures& a, const LayerFigures& b) { return a.relative_error > b.relative_error; });
  if (worst.size() > kWorstLayers) worst.resize(kWorstLayers);
  json::Array layers;
  for (const LayerFigures& layer : worst)
    layers.push_back(json::Object{{"name", layer.name},
                                  {"relative_error", layer.relative_error},
                                  {"mean_error", layer.mean_error},
                                  {"max_error", layer.max_error},
                                  {"shifted_groups", layer.shifted_groups},
                                  {"stray_codes", layer.strays},
                                  {"worse_groups", layer.worse_groups}});
  report["worst_layers"] = std::move(layers);
  return report;
}

}  // namespace arkit
