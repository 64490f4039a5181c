#include "serve/metrics.h"

#include <string_view>

#include <arkit/str.h>

namespace arkit::serve {
namespace {

class Text {
 public:
  template <typename Number>
  void add(std::string_view name, std::string_view type, std::string_view help, const Number& value) {
    head(name, type, help);
    text_ += str("arkit_", name, " ", value, "\n");
  }
  void head(std::string_view name, std::string_view type, std::string_view help) {
    text_ += str("# HELP arkit_", name, " ", help, "\n# TYPE arkit_", name, " ", type, "\n");
  }
  void line(const std::string& line) { text_ += line; }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

std::string metrics_text(const EngineCounts& engine, const HttpCounts& connections,
                         const std::map<std::pair<std::string, int>, int64_t>& answered) {
  constexpr std::string_view kCounter = "counter", kGauge = "gauge";
  Text text;
  text.head("requests_total", kCounter, "Answers that were begun, by path and status.");
  for (const auto& [what, count] : answered)
    text.line(str("arkit_requests_total{path=\"", what.first, "\",status=\"", what.second, "\"} ", count, "\n"));
  text.add("connections_total", kCounter, "Connections that came.", connections.accepted.load());
  text.add("connections_refused_total", kCounter, "Connections that found no place.", connections.refused.load());
  text.add("connections_open", kGauge, "Connections now.", connections.open.load());
  text.add("texts_running", kGauge, "Texts that are written or read.", engine.session.running);
  text.add("texts_waiting", kGauge, "Texts that wait for room.", engine.session.waiting + engine.queued);
  text.add("texts_kept", kGauge, "Texts whose beginnings others may share.", engine.session.kept);
  text.add("texts_ended_total", kCounter, "Texts that came to their end.", engine.ended);
  text.add("texts_cancelled_total", kCounter, "Texts whose clients left or whose time was up.", engine.cancelled);
  text.add("texts_failed_total", kCounter, "Texts that ended with a fault.", engine.failed);
  text.add("texts_put_back_total", kCounter, "Times a text gave its pages to an older one.", engine.session.put_back);
  text.add("prompt_tokens_total", kCounter, "Tokens of prompts.", engine.prompt_tokens);
  text.add("prompt_tokens_reused_total", kCounter, "Tokens of prompts that were not computed again.",
           engine.reused_tokens);
  text.add("new_tokens_total", kCounter, "Tokens that were written.", engine.new_tokens);
  text.add("computed_tokens_total", kCounter, "Tokens that went through the model.", engine.session.computed);
  text.add("steps_total", kCounter, "Forward passes.", engine.steps);
  text.add("step_seconds_total", kCounter, "Time in forward passes and in picking tokens.", engine.step_seconds);
  text.add("cache_pages", kGauge, "Pages of the cache.", engine.session.pages);
  text.add("cache_pages_free", kGauge, "Pages that nobody has.", engine.session.free_pages);
  return text.take();
}

}  // namespace arkit::serve
