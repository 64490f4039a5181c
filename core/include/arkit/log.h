#pragma once
// How jobs speak: everything for people goes through one Reporter, which `apps` implements (terminal or plain lines on
// stderr). Results go to stdout and are not a Reporter's business.

#include <cstdint>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

struct BlockProgress {
  int64_t block = 0;  // 0-based, finished
  int64_t num_blocks = 0;
  double seconds = 0;       // spent on this block
  double loss_before = -1;  // iteration 0 (plain RTN); < 0 = nothing was tuned
  double loss_after = -1;   // best
  int64_t best_iter = -1;
  double tokens_per_second = 0;  // tuned tokens; 0 = nothing was tuned
};

// Something within a step that can be counted.
struct Progress {
  std::string_view what;  // "downloading model-00001-of-00002.safetensors"; another `what` is another bar
  int64_t done = 0;
  int64_t total = 0;           // 0 = not known
  std::string_view unit = {};  // of what is counted, a plural: "layers", "samples"; empty = steps without a name
};
inline constexpr std::string_view kBytes = "bytes";  // the unit that is shown as sizes: 1.2 GB of 4.5 GB

// Any thread may call any of these.
class ARKIT_EXPORT Reporter {
 public:
  virtual ~Reporter();
  virtual void step(std::string_view what);  // a named stage of the job begins
  virtual void info(std::string_view message);
  virtual void warn(std::string_view message);  // callers warn once per cause
  virtual void block_done(const BlockProgress& progress);
  virtual void progress(const Progress& progress);  // may be dropped, but for the last one of each `what`

  // progress() of steps without a name.
  void activity(std::string_view what, int64_t done, int64_t total) { progress({what, done, total}); }
};

// True after SIGINT / SIGTERM; long loops ask between steps and call throw_if_interrupted.
ARKIT_EXPORT void request_interrupt() noexcept;  // async-signal-safe
ARKIT_EXPORT void clear_interrupt() noexcept;
[[nodiscard]] ARKIT_EXPORT bool interrupted() noexcept;
ARKIT_EXPORT void throw_if_interrupted();  // Error{interrupted}

}  // namespace arkit
