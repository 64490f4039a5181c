#pragma once
// One call of share/harness/run_tasks.py.

#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <arkit/json.h>
#include <arkit/log.h>

namespace arkit::harness {

struct TaskAnswers {
  json::Object checked;               // empty = it did not come that far
  std::vector<json::Object> results;  // one for each call of lm-eval
  std::vector<json::Object> failed;
  std::string ended;       // empty = well, else how
  std::string last_words;  // of what it said last, for a message; empty = it said nothing
};

// Asks `python`. What lm-eval draws and says goes to `reporter`. `meanwhile` may throw, which ends it. Throws
// Error{interrupted}, ErrorCode::resource where it cannot be started.
[[nodiscard]] TaskAnswers ask_harness(const std::filesystem::path& python, const json::Object& request,
                                      const std::vector<std::pair<std::string, std::string>>& environment,
                                      const std::function<void()>& meanwhile, Reporter& reporter);

}  // namespace arkit::harness
