#pragma once
// How an error reaches the user: "arkit: <message>" on stderr and, with --json, an object on stdout. Used by both
// halves of the command line, so it needs neither core nor LibTorch.

#include <cstdio>
#include <string>
#include <string_view>

#include <arkit/error.h>

namespace arkit::cli {

// "usage", "input" ... for an exit code.
[[nodiscard]] std::string_view error_kind(int code) noexcept;

[[nodiscard]] std::string error_json(int code, std::string_view message);

// "arkit: <message>" for a terminal: nothing in it moves the cursor, and its further lines are indented, so that none
// of them passes for a message of its own.
[[nodiscard]] std::string error_text(std::string_view message);

// How a call wants its errors: --json as an object on stdout, --progress json as events on stderr.
struct ErrorStyle {
  bool json = false, events = false;
};

// {"event": "error", ...} and a line end, as the events of docs/COMMAND_LINE.md are.
[[nodiscard]] std::string error_event(int code, std::string_view message);

// Reports and returns `code`. A message of many kilobytes is cut.
int report_error(int code, const std::string& message, ErrorStyle style);

}  // namespace arkit::cli
