#pragma once
// Regular expressions from users and configuration files: PCRE2 with match limits, so that no pattern can hang a run.

#include <memory>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

class ARKIT_EXPORT Regex {
 public:
  // Throws ErrorCode::usage naming the pattern and the position of the fault. `what` says where it came from.
  Regex(std::string_view pattern, std::string_view what);
  ~Regex();
  Regex(Regex&&) noexcept;

  // Does the pattern match anywhere in `text`? A match that exceeds the limits counts as an error (ErrorCode::usage).
  [[nodiscard]] bool search(std::string_view text) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace arkit
