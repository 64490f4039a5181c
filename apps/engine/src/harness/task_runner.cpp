#include "harness/task_runner.h"

#include <cstdlib>

#include <arkit/error.h>
#include <arkit/str.h>

#include "harness/child_process.h"
#include "harness/progress_line.h"
#include "util/data_file.h"

namespace arkit::harness {
namespace {

constexpr size_t kLongestSaid = 600;  // of a line, on its way to the user

void take_answer(const std::string& line, TaskAnswers& answers) {
  const std::string what = "an answer of lm-eval's side";
  json::Object answer = json::as_object(json::parse(line, what), what);
  const std::string event = json::get_string(answer, "event", what).value_or("");
  if (event == "checked") answers.checked = std::move(answer);
  if (event == "results") answers.results.push_back(std::move(answer));
  if (event == "failed") answers.failed.push_back(std::move(answer));
}

}  // namespace

TaskAnswers ask_harness(const std::filesystem::path& python, const json::Object& request,
                        const std::vector<std::pair<std::string, std::string>>& environment,
                        const std::function<void()>& meanwhile, Reporter& reporter) {
  ChildCommand command{.argv = {python.string(), (shared_data_folder("harness") / "run_tasks.py").string()},
                       .input = json::dump(request),
                       .environment = environment};
  command.environment.emplace_back("PYTHONUNBUFFERED", "1");
  command.environment.emplace_back("PYTHONDONTWRITEBYTECODE", "1");
  command.environment.emplace_back("TOKENIZERS_PARALLELISM", "false");
  if (std::getenv("LMEVAL_LOG_LEVEL") == nullptr) command.environment.emplace_back("LMEVAL_LOG_LEVEL", "ERROR");
  TaskAnswers answers;
  const ChildListener listener{.out = [&](const std::string& line) { take_answer(line, answers); },
                               .err =
                                   [&](const std::string& line) {
                                     if (const auto drawn = progress_in(line)) {
                                       const std::string what =
                                           drawn->what.empty() ? "lm-eval" : str("lm-eval: ", lower(drawn->what));
                                       reporter.progress({what, drawn->done, drawn->total});
                                       return;
                                     }
                                     const std::string said = printable(line, kLongestSaid);
                                     if (said.find_first_not_of(' ') == std::string::npos) return;
                                     reporter.info(str("lm-eval: ", said));
                                     answers.last_words = said;
                                   },
                               .meanwhile = meanwhile};
  ChildProcess child(command);
  answers.ended = child.follow(listener);
  return answers;
}

}  // namespace arkit::harness
