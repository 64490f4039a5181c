#include <arkit/error.h>

#include <arkit/str.h>

namespace arkit {

Error::~Error() = default;

void throw_input(const std::string& message) {
  throw Error(ErrorCode::input, message);
}
void throw_unsupported(const std::string& message) {
  throw Error(ErrorCode::unsupported, message);
}
void throw_usage(const std::string& message) {
  throw Error(ErrorCode::usage, message);
}
void throw_resource(const std::string& message) {
  throw Error(ErrorCode::resource, message);
}

void throw_internal(const char* file, int line, const char* condition, const std::string& message) {
  throw Error(ErrorCode::internal,
              str(message, " (", file, ":", line, ": ", condition, " does not hold; this is a bug in arkit)"));
}

int64_t checked_mul(int64_t a, int64_t b, std::string_view what) {
  int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_mul_overflow(a, b, &result))
    throw_input(str(what, ": size ", a, " x ", b, " overflows"));
  return result;
}

int64_t checked_add(int64_t a, int64_t b, std::string_view what) {
  int64_t result = 0;
  if (a < 0 || b < 0 || __builtin_add_overflow(a, b, &result))
    throw_input(str(what, ": size ", a, " + ", b, " overflows"));
  return result;
}

}  // namespace arkit
