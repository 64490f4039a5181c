#include "error_report.h"

#include <arkit/escape.h>

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

namespace {

// A message that quotes a file may be as long as the file.
constexpr size_t kMaxMessage = 16 << 10;

std::string shortened(std::string_view message) {
  if (message.size() <= kMaxMessage) return std::string(message);
  size_t end = kMaxMessage;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return std::string(message.substr(0, end)) + "...";
}

// The members of an object that tells of an error.
std::string error_members(int code, std::string_view message) {
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
  return "\"code\": " + std::to_string(code) + ", \"kind\": \"" + std::string(error_kind(code)) +
         "\", \"message\": \"" + escape_json(quoted) + "\"";
}

}  // namespace

std::string error_json(int code, std::string_view message) {
  return "{\"schema_version\": 1, \"error\": {" + error_members(code, message) + "}}\n";
}

std::string error_event(int code, std::string_view message) {
  return "{\"event\": \"error\", " + error_members(code, message) + "}\n";
}

std::string error_text(std::string_view message) {
  std::string text = "arkit: ";
  for (const char c : escape_terminal(shortened(message))) {
    text += c;
    if (c == '\n') text += "  ";
  }
  return text + "\n";
}

int report_error(int code, const std::string& message, ErrorStyle style) {
  if (style.json) std::fputs(error_json(code, shortened(message)).c_str(), stdout);
  std::fflush(stdout);
  std::fputs(style.events ? error_event(code, shortened(message)).c_str() : error_text(message).c_str(), stderr);
  return code;
}

}  // namespace arkit::cli
