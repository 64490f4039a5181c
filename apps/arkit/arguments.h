#pragma once
// Typed look-ups in what the front parsed; types and choices were checked there.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "parsed.h"

namespace arkit::cli {

class Arguments {
 public:
  explicit Arguments(const ParsedCommand& parsed) : parsed_(parsed) {}

  [[nodiscard]] const ParsedCommand& parsed() const noexcept { return parsed_; }
  [[nodiscard]] std::string positional(size_t index) const;  // empty when left out

  [[nodiscard]] bool given(std::string_view name) const;
  [[nodiscard]] bool flag(std::string_view name) const;  // given, and not as "=false"
  // true / false when one of a pair was given, else unset: either("sym", "asym").
  [[nodiscard]] std::optional<bool> either(std::string_view yes, std::string_view no) const;

  // Unset when not given.
  [[nodiscard]] std::optional<std::string> text(std::string_view name) const;
  [[nodiscard]] std::optional<int64_t> integer(std::string_view name) const;
  [[nodiscard]] std::optional<double> number(std::string_view name) const;
  [[nodiscard]] std::optional<int64_t> bytes(std::string_view name) const;  // "5GB" -> 5'000'000'000, "1.5KiB" -> 1536
  [[nodiscard]] std::vector<std::string> texts(std::string_view name) const;

 private:
  const ParsedCommand& parsed_;
};

}  // namespace arkit::cli
