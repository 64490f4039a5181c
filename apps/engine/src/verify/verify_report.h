#pragma once
// What `arkit verify` found: named checks with a verdict each, counts, and the layers that lost most.

#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>

namespace arkit {

struct CheckResult {
  std::string name;
  bool passed = true;
  bool skipped = false;
  std::string detail;
};

// What became of one quantized layer, against the source.
struct LayerFigures {
  std::string name;
  double relative_error = 0.0;  // ||W - Wq|| / ||W||
  double mean_error = 0.0;      // mean of W - Wq, in units of the mean scale
  double max_error = 0.0;       // largest |W - Wq|, in units of the scale of its group where groups run along rows
  double shifted_groups = 0.0;  // share of groups whose errors have one sign: a zero point off by one
  double strays = 0.0;          // share of codes that no rounding of the source gives
  double worse_groups = 0.0;    // share of groups that are no nearer to the source than zeros
};

// One check: collects complaints and turns them into a CheckResult; the first few are kept in words.
class Check {
 public:
  explicit Check(std::string name) : name_(std::move(name)) {}
  void fail(const std::string& complaint);
  [[nodiscard]] bool passed() const noexcept { return complaints_ == 0; }
  // `summary` is what to say when nothing is wrong.
  [[nodiscard]] CheckResult result(const std::string& summary) const;

 private:
  std::string name_, words_;
  int64_t complaints_ = 0;
};

class VerifyReport {
 public:
  json::Object counts;

  void add(CheckResult result) { checks_.push_back(std::move(result)); }
  void add_skipped(std::string name, std::string why);
  void add_layer(LayerFigures figures) { layers_.push_back(std::move(figures)); }
  [[nodiscard]] const std::vector<LayerFigures>& layers() const { return layers_; }

  // {"passed", "checks", "counts", "worst_layers"}
  [[nodiscard]] json::Object to_json() const;

 private:
  std::vector<CheckResult> checks_;
  std::vector<LayerFigures> layers_;
};

}  // namespace arkit
