#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

#include "jobs/bench_parts.h"
#include "util/svg_text.h"

namespace arkit {
namespace {

constexpr int kWidth = 900, kLeft = 300, kRight = 700, kTop = 84, kRow = 44, kBar = 20;
constexpr const char* kInk = "#1f2430";
constexpr const char* kFaint = "#d9dce3";
constexpr const char* kColour = "#2f5fb3";

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), value >= 100 ? "%.0f" : "%.1f", value);
  return text;
}

}  // namespace

// A row has a scale of its own: the whole grey bar is what the machine could do.
std::string bench_picture(const std::string& title, const std::vector<BenchRow>& rows) {
  std::vector<const BenchRow*> shown;
  for (const BenchRow& row : rows)
    if (row.roofline && row.group != "kernels") shown.push_back(&row);
  const int height = kTop + kRow * static_cast<int>(shown.size()) + 20;
  std::ostringstream out;
  out << "<svg xmlns=\"http://www.w"
         "3.org/2000/svg\" viewBox=\"0 0 "
      << kWidth << ' ' << height << "\" width=\"" << kWidth << "\" height=\"" << height
      << "\" font-family=\"sans-serif\" font-size=\"13\" fill=\"" << kInk << "\">\n"
      << "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
      << "<text x=\"24\" y=\"32\" font-size=\"17\" font-weight=\"bold\">" << svg_text(title) << "</text>\n"
      << "<text x=\"24\" y=\"56\">Tokens a second; the grey bar is the roofline: what memory bandwidth or 8-bit dot "
         "products "
         "allow, as measured beside it.</text>\n";
  for (size_t i = 0; i < shown.size(); ++i) {
    const BenchRow& row = *shown[i];
    const int y = kTop + kRow * static_cast<int>(i);
    const double share = row.value / *row.roofline;
    const double longest = std::max(1.0, share), scale = (kRight - kLeft) / longest;
    const auto bar = [&](double part, int top, int tall, const char* colour) {
      out << "<rect x=\"" << kLeft << "\" y=\"" << top << "\" width=\"" << number(part * scale) << "\" height=\""
          << tall << "\" rx=\"2\" fill=\"" << colour << "\"/>\n";
    };
    out << "<text x=\"" << kLeft - 12 << "\" y=\"" << y + 9 << "\" text-anchor=\"end\">" << svg_text(row.what)
        << "</text>\n<text x=\"" << kLeft - 12 << "\" y=\"" << y + 24
        << "\" text-anchor=\"end\" font-size=\"11\" fill=\"#6b7280\">" << row.threads
        << (row.threads == 1 ? " thread" : " threads") << ", bound by "
        << (row.bound_by == "dot" ? "dot products" : "bandwidth") << "</text>\n";
    bar(1.0, y, kBar, kFaint);
    bar(share, y + 4, kBar - 8, kColour);
    out << "<text x=\"" << kRight + 12 << "\" y=\"" << y + 15 << "\">" << number(row.value) << " of "
        << number(*row.roofline) << " (" << number(100.0 * share) << " %)</text>\n";
  }
  out << "</svg>\n";
  return out.str();
}

}  // namespace arkit
