#include "autoscheme/mix_picture.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "util/svg_text.h"

namespace arkit::auto_scheme {
namespace {

constexpr double kWidth = 900, kMargin = 24, kPlotLeft = 92, kPlotHeight = 300, kPlotRight = kWidth - kMargin;
constexpr double kRowHeight = 18, kLabelWidth = 160, kLargestCell = 26;
constexpr const char* kInk = "#1f2430";
constexpr const char* kFaint = "#d9dce3";
constexpr const char* kPinnedColour = "#9aa0ad";
constexpr const char* kMeasuredColour = "#c2410c";
constexpr const char* kCurveColour = "#2f5fb3";
// From few bits to many; adjacent ones differ in lightness too, for print and for eyes that see few hues.
constexpr std::array<const char*, 8> kColours = {"#b2182b", "#ef8a62", "#fddbc7", "#d1e5f0",
                                                 "#67a9cf", "#2166ac", "#5e4fa2", "#1b7837"};

std::string number(double value) {
  char text[32];
  const double size = std::fabs(value);
  std::snprintf(text, sizeof(text), size != 0 && (size < 1e-3 || size >= 1e5) ? "%.2g" : "%.4g", value);
  return text;
}

// A linear or logarithmic axis: values to places.
struct Axis {
  double low = 0.0, high = 1.0, from = 0.0, to = 1.0;
  bool logarithmic = false;

  [[nodiscard]] double at(double value) const {
    const double share = logarithmic ? std::log(value / low) / std::log(high / low) : (value - low) / (high - low);
    return from + (to - from) * std::clamp(share, 0.0, 1.0);
  }
  [[nodiscard]] std::vector<double> ticks() const {
    std::vector<double> ticks;
    if (logarithmic) {
      for (double power = std::pow(10.0, std::floor(std::log10(low))); power <= high * 1.0001; power *= 10.0)
        for (const double step : {1.0, 2.0, 5.0})
          if (step * power >= low * 0.9999 && step * power <= high * 1.0001) ticks.push_back(step * power);
      return ticks;
    }
    const double raw = (high - low) / 8.0, power = std::pow(10.0, std::floor(std::log10(raw)));
    const double step = power * (raw / power > 5 ? 10 : raw / power > 2 ? 5 : raw / power > 1 ? 2 : 1);
    for (double tick = std::ceil(low / step - 1e-9) * step; tick <= high + step * 1e-9; tick += step)
      ticks.push_back(tick);
    return ticks;
  }
};

class Drawing {
 public:
  explicit Drawing(const MixPicture& picture) : picture_(picture) {
    order_.resize(picture.options.size());
    for (size_t i = 0; i < order_.size(); ++i) order_[i] = i;
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return picture.options[a].bits < picture.options[b].bits; });
  }

  std::string draw() {
    text(kMargin, y_ += 30, picture_.title, "font-size=\"16\" font-weight=\"bold\"");
    y_ += 20;
    legend();
    if (picture_.curve.size() > 1) plot();
    for (const MixPicture::Map& map : picture_.maps) heat_map(map);
    std::ostringstream out;
    out << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kWidth << "\" height=\"" << y_ + kMargin
        << "\" viewBox=\"0 0 " << kWidth << " " << y_ + kMargin
        << "\" font-family=\"DejaVu Sans, Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"" << kInk << "\">\n"
        << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
        << body_.str() << "</svg>\n";
    return out.str();
  }

 private:
  void text(double x, double y, const std::string& words, const std::string& style = "") {
    body_ << "<text x=\"" << number(x) << "\" y=\"" << number(y) << "\" " << style << ">" << svg_text(words)
          << "</text>\n";
  }
  void line(double x1, double y1, double x2, double y2, const char* colour) {
    body_ << "<line x1=\"" << number(x1) << "\" y1=\"" << number(y1) << "\" x2=\"" << number(x2) << "\" y2=\""
          << number(y2) << "\" stroke=\"" << colour << "\"/>\n";
  }
  void box(double x, double y, double width, double height, const std::string& colour, const std::string& tip = "") {
    body_ << "<rect x=\"" << number(x) << "\" y=\"" << number(y) << "\" width=\"" << number(width) << "\" height=\""
          << number(height) << "\" fill=\"" << colour << "\"";
    if (tip.empty())
      body_ << "/>\n";
    else
      body_ << "><title>" << svg_text(tip) << "</title></rect>\n";
  }

  // Colours spread over the palette by rank of bits.
  [[nodiscard]] std::string colour(int option) const {
    if (option < 0) return kPinnedColour;
    const auto rank =
        static_cast<size_t>(std::find(order_.begin(), order_.end(), static_cast<size_t>(option)) - order_.begin());
    const size_t last = std::max<size_t>(order_.size() - 1, 1);
    return kColours[std::min(kColours.size() - 1, order_.size() > kColours.size() ? rank * (kColours.size() - 1) / last
                                                  : order_.size() <= 2            ? rank * 5
                                                  : order_.size() <= 4            ? rank * 6 / last
                                                                                  : rank)];
  }

  void legend() {
    double x = kMargin;
    const auto entry = [&](const std::string& fill, const std::string& words) {
      const double width = 26 + 7.4 * static_cast<double>(words.size()) + 14;
      if (x > kMargin && x + width > kPlotRight) {
        x = kMargin;
        y_ += 20;
      }
      box(x, y_ - 10, 14, 12, fill);
      body_ << "<rect x=\"" << number(x) << "\" y=\"" << number(y_ - 10)
            << "\" width=\"14\" height=\"12\" fill=\"none\" stroke=\"" << kPinnedColour << "\"/>\n";
      text(x + 20, y_, words);
      x += width;
    };
    for (const size_t i : order_)
      entry(colour(static_cast<int>(i)), picture_.options[i].name + " (" + number(picture_.options[i].bits) + " bits)");
    const bool pinned = std::any_of(picture_.maps.begin(), picture_.maps.end(), [](const MixPicture::Map& map) {
      return std::any_of(map.cells.begin(), map.cells.end(), [](const std::vector<int>& row) {
        return std::find(row.begin(), row.end(), MixPicture::kPinned) != row.end();
      });
    });
    if (pinned) entry(kPinnedColour, "pinned");
    y_ += 16;
  }

  void plot() {
    double low = 1e300, high = 0.0;
    for (const auto* points : {&picture_.curve, &picture_.measured})
      for (const MixPicture::Point& point : *points) {
        if (!(point.loss > 0.0)) continue;
        low = std::min(low, point.loss);
        high = std::max(high, point.loss);
      }
    if (!(high > 0.0)) return;
    const double top = y_ + 14, bottom = top + kPlotHeight;
    const Axis x{picture_.curve.front().bits, picture_.curve.back().bits, kPlotLeft, kPlotRight, false};
    const Axis y{low * 0.9, high * 1.1, bottom, top, true};
    for (const double tick : x.ticks()) {
      line(x.at(tick), top, x.at(tick), bottom, kFaint);
      text(x.at(tick), bottom + 16, number(tick), "text-anchor=\"middle\"");
    }
    for (const double tick : y.ticks()) {
      line(kPlotLeft, y.at(tick), kPlotRight, y.at(tick), kFaint);
      text(kPlotLeft - 6, y.at(tick) + 4, number(tick), "text-anchor=\"end\"");
    }
    line(kPlotLeft, bottom, kPlotRight, bottom, kInk);
    line(kPlotLeft, top, kPlotLeft, bottom, kInk);
    text((kPlotLeft + kPlotRight) / 2, bottom + 36, "bits a weight", "text-anchor=\"middle\"");
    std::ostringstream turned;
    turned << "text-anchor=\"middle\" transform=\"rotate(-90 " << kMargin << " " << number((top + bottom) / 2) << ")\"";
    text(kMargin, (top + bottom) / 2, picture_.loss_label, turned.str());
    body_ << "<polyline fill=\"none\" stroke=\"" << kCurveColour << "\" stroke-width=\"2\" points=\"";
    for (const MixPicture::Point& point : picture_.curve)
      if (point.loss > 0.0) body_ << number(x.at(point.bits)) << "," << number(y.at(point.loss)) << " ";
    body_ << "\"/>\n";
    dots(picture_.chosen, x, y, kCurveColour);
    dots(picture_.measured, x, y, kMeasuredColour);
    key(top);
    y_ = bottom + 56;
  }

  void dots(const std::vector<MixPicture::Point>& points, const Axis& x, const Axis& y, const char* fill) {
    for (const MixPicture::Point& point : points)
      if (point.loss > 0.0)
        body_ << "<circle cx=\"" << number(x.at(point.bits)) << "\" cy=\"" << number(y.at(point.loss))
              << "\" r=\"5\" fill=\"" << fill << "\" stroke=\"#ffffff\"><title>" << number(point.bits) << " bits, "
              << number(point.loss) << "</title></circle>\n";
  }

  void key(double top) {
    const double left = kPlotRight - 254;
    body_ << "<rect x=\"" << left << "\" y=\"" << number(top + 8) << "\" width=\"246\" height=\""
          << (picture_.measured.empty() ? 42 : 62) << "\" fill=\"#ffffff\" stroke=\"" << kFaint << "\"/>\n";
    line(left + 8, top + 22, left + 28, top + 22, kCurveColour);
    text(left + 36, top + 26, "predicted, best for each budget");
    body_ << "<circle cx=\"" << left + 18 << "\" cy=\"" << number(top + 39) << "\" r=\"5\" fill=\"" << kCurveColour
          << "\"/>\n";
    text(left + 36, top + 43, "predicted, chosen mixes");
    if (picture_.measured.empty()) return;
    body_ << "<circle cx=\"" << left + 18 << "\" cy=\"" << number(top + 56) << "\" r=\"5\" fill=\"" << kMeasuredColour
          << "\"/>\n";
    text(left + 36, top + 60, "measured KL, chosen mixes");
  }

  void heat_map(const MixPicture::Map& map) {
    size_t blocks = 0;
    for (const std::vector<int>& row : map.cells) blocks = std::max(blocks, row.size());
    if (blocks == 0) return;
    const double left = kMargin + kLabelWidth;
    const double cell = std::min(kLargestCell, (kPlotRight - left) / static_cast<double>(blocks));
    const double gap = cell > 6 ? 1 : 0;
    text(kMargin, y_ += 22, map.title, "font-weight=\"bold\"");
    y_ += 8;
    for (size_t r = 0; r < map.rows.size(); ++r, y_ += kRowHeight) {
      text(left - 8, y_ + 13, map.rows[r], "text-anchor=\"end\"");
      for (size_t b = 0; b < map.cells[r].size(); ++b) {
        const int option = map.cells[r][b];
        if (option == MixPicture::kAbsent) continue;
        const std::string name = option < 0 ? "pinned" : picture_.options[static_cast<size_t>(option)].name;
        box(left + cell * static_cast<double>(b), y_, cell - gap, kRowHeight - 1, colour(option),
            "block " + std::to_string(b) + " " + map.rows[r] + ": " + name);
      }
    }
    const size_t step = blocks <= 16 ? 1 : blocks <= 40 ? 5 : 10;
    for (size_t b = 0; b < blocks; b += step)
      text(left + cell * (static_cast<double>(b) + 0.5), y_ + 13, std::to_string(b),
           "text-anchor=\"middle\" font-size=\"11\"");
    text(left + cell * static_cast<double>(blocks) / 2, y_ + 30, "decoder block", "text-anchor=\"middle\"");
    y_ += 40;
  }

  const MixPicture& picture_;
  std::vector<size_t> order_;  // options by bits
  std::ostringstream body_;
  double y_ = 0;
};

}  // namespace

std::string draw(const MixPicture& picture) {
  return Drawing(picture).draw();
}

}  // namespace arkit::auto_scheme
