#include "progress_text.h"

#include <algorithm>
#include <cstdio>

#include <arkit/str.h>

#include "render.h"

namespace arkit::cli {
namespace {

constexpr double kShortest = 0.2;  // seconds after which a rate says something

std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g", value);
  return text;
}

std::string amount(const Progress& progress, double value) {
  return progress.unit == kBytes ? human_bytes(value) : std::to_string(static_cast<int64_t>(value));
}

std::string counted(const Progress& progress) {
  const std::string done = amount(progress, static_cast<double>(progress.done));
  const bool bytes = progress.unit == kBytes;
  std::string text = progress.total <= 0
                         ? done
                         : str(done, bytes ? " of " : "/", amount(progress, static_cast<double>(progress.total)));
  return bytes || progress.unit.empty() ? text : str(text, " ", progress.unit);
}

std::string rate(const Progress& progress, double per_second) {
  if (progress.unit == kBytes) return human_bytes(per_second) + "/s";
  return str(short_number(per_second), progress.unit.empty() ? "" : " ", progress.unit, "/s");
}

}  // namespace

Pace PaceKeeper::note(const Progress& progress, Time now) {
  const auto [begin, is_new] = begun_.try_emplace(std::string(progress.what), Begin{now, progress.done});
  if (progress.done < begin->second.done) begin->second = {now, progress.done};  // it began again
  Pace pace{.seconds = std::chrono::duration<double>(now - begin->second.when).count()};
  const auto done = static_cast<double>(progress.done - begin->second.done);
  if (pace.seconds >= kShortest && done > 0) {
    pace.per_second = done / pace.seconds;
    if (progress.total > progress.done)
      pace.seconds_left = static_cast<double>(progress.total - progress.done) / *pace.per_second;
  }
  if (progress.total > 0 && progress.done >= progress.total) begun_.erase(begin);
  return pace;
}

std::string block_text(const BlockProgress& progress, double seconds_left, double peak_bytes) {
  std::string text = str("block ", progress.block + 1, "/", progress.num_blocks);
  if (progress.loss_before >= 0.0 && progress.loss_after >= 0.0) {
    text += str("  loss ", short_number(progress.loss_before), " -> ", short_number(progress.loss_after));
    if (progress.best_iter >= 0) text += str(" (iter ", progress.best_iter, ")");
  }
  if (progress.tokens_per_second > 0.0) text += str("  ", short_number(progress.tokens_per_second), " tokens/s");
  text += "  " + human_seconds(progress.seconds);
  if (seconds_left > 0.0) text += "  left " + human_seconds(seconds_left);
  return text + "  peak " + human_bytes(peak_bytes);
}

std::string progress_text(const Progress& progress, const Pace& pace, double peak_bytes, size_t bar) {
  std::string text(progress.what);
  if (progress.total > 0) {
    const double part = std::clamp(static_cast<double>(progress.done) / static_cast<double>(progress.total), 0.0, 1.0);
    const auto filled = static_cast<size_t>(part * static_cast<double>(bar));
    if (bar > 0) text += str("  [", std::string(filled, '#'), std::string(bar - filled, '.'), "]");
    text += str("  ", static_cast<int>(part * 100.0), "%");
  }
  text += "  " + counted(progress);
  if (pace.per_second) text += "  " + rate(progress, *pace.per_second);
  if (pace.seconds_left) text += "  left " + human_seconds(*pace.seconds_left);
  return peak_bytes > 0.0 ? text + "  peak " + human_bytes(peak_bytes) : text;
}

std::string fitting_text(const Progress& progress, const Pace& pace, double peak_bytes, size_t columns) {
  struct Form {
    size_t bar;
    bool peak;
  };
  constexpr Form kForms[] = {{20, true}, {20, false}, {10, false}, {0, true}};
  for (const Form& form : kForms)
    if (std::string text = progress_text(progress, pace, form.peak ? peak_bytes : 0.0, form.bar);
        text.size() <= columns)
      return text;
  return printable(progress_text(progress, pace, 0.0, 0), columns - std::min<size_t>(columns, 3));
}

}  // namespace arkit::cli
