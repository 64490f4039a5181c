#pragma once
// A picture of budgets: the curve of loss over size, and which layer got how many bits. SVG, written by hand; any
// browser shows it.

#include <string>
#include <utility>
#include <vector>

#include <arkit/export.h>

namespace arkit::auto_scheme {

struct MixPicture {
  struct Option {
    std::string name;
    double bits = 0.0;  // average; colours follow it
  };
  struct Point {
    double bits = 0.0, loss = 0.0;
  };
  // One budget's layers: rows are positions within a block ("self_attn.q_proj"), columns are blocks.
  struct Map {
    std::string title;
    std::vector<std::string> rows;
    std::vector<std::vector<int>> cells;  // [row][block]: option, kPinned or kAbsent
  };
  static constexpr int kPinned = -1, kAbsent = -2;

  std::string title, loss_label;  // label of the vertical axis
  std::vector<Option> options;    // legend
  std::vector<Point> curve;       // predicted, by rising bits
  std::vector<Point> chosen;      // the mixes among them
  std::vector<Point> measured;    // divergence of the mixes, where measured
  std::vector<Map> maps;
};

[[nodiscard]] ARKIT_INTERNAL std::string draw(const MixPicture& picture);

}  // namespace arkit::auto_scheme
