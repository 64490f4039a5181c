#include "error_report.h"

namespace arkit::cli {

std::string_view error_kind(int code) noexcept {
  switch (static_cast<ErrorCode>(code)) {
    case ErrorCode::internal:
      return "internal";
    case ErrorCode::usage:
      return "usage";
    case ErrorCode::input:
      return "input";
    case ErrorCode::unsupported:
      return "unsupported";
    case ErrorCode::resource:
      return "resource";
    case ErrorCode::verification:
      return "verification";
    case ErrorCode::plugin:
      return "plugin";
    case ErrorCode::interrupted:
      return "interrupted";
  }
  return "internal";
}

std::string error_json(int code, std::string_view message) {
  std::string quoted;
  for (const char c : message) {
    if (c == '"' || c == '\\') quoted += '\\';
    if (static_cast<unsigned char>(c) >= 0x20) {
      quoted += c;
    } else {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      quoted += c == '\n' ? "\\n" : escape;
    }
  }
  return "{\"schema_version\": 1, \"error\": {\"code\": " + std::to_string(code) + ", \"kind\": \"" +
         std::string(error_kind(code)) + "\", \"message\": \"" + quoted + "\"}}\n";
}

int report_error(int code, const std::string& message, bool json) {
  if (json) std::fputs(error_json(code, message).c_str(), stdout);
  std::fflush(stdout);
  std::fprintf(stderr, "arkit: %s\n", message.c_str());
  return code;
}

}  // namespace arkit::cli
