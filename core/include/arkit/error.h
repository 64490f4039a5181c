#pragma once
// The one exception type of arkit and the exit code each kind of fault ends with (docs/ARCHITECTURE.md, "Errors").
// An expected "no" is a Verdict (descriptors.h), not an exception.

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit {

// The values are the process's exit codes.
enum class ErrorCode : int {
  internal = 1,      // our fault
  usage = 2,         // the command line is wrong
  input = 3,         // a file is missing, malformed or corrupt
  unsupported = 4,   // an unknown or impossible scheme, format, model or combination
  resource = 5,      // memory, disk or device
  verification = 6,  // a check of the result failed
  plugin = 7,        // a plugin was refused
  interrupted = 130  // the user asked to stop
};

// The user's or the world's fault, with a message made of: subject, offending value, what was expected, next step.
class ARKIT_EXPORT Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ~Error() override;  // out of line: one type_info for all shared objects
  [[nodiscard]] ErrorCode code() const noexcept { return code_; }
  [[nodiscard]] int exit_code() const noexcept { return static_cast<int>(code_); }

 private:
  ErrorCode code_;
};

// Short names for the kinds that are thrown often.
[[noreturn]] ARKIT_EXPORT void throw_input(const std::string& message);
[[noreturn]] ARKIT_EXPORT void throw_unsupported(const std::string& message);
[[noreturn]] ARKIT_EXPORT void throw_usage(const std::string& message);
[[noreturn]] ARKIT_EXPORT void throw_resource(const std::string& message);
[[noreturn]] ARKIT_EXPORT void throw_internal(const char* file, int line, const char* condition,
                                              const std::string& message);

// a * b and a + b for sizes read from files; throws ErrorCode::input naming `what` when the result does not fit 63
// bits.
[[nodiscard]] ARKIT_EXPORT int64_t checked_mul(int64_t a, int64_t b, std::string_view what);
[[nodiscard]] ARKIT_EXPORT int64_t checked_add(int64_t a, int64_t b, std::string_view what);

}  // namespace arkit

// An invariant of our own: its failure is a bug in arkit or in a plugin, reported with file and line.
#define ARKIT_CHECK(condition, message)                                                   \
  do {                                                                                    \
    if (!(condition)) ::arkit::throw_internal(__FILE__, __LINE__, #condition, (message)); \
  } while (false)
