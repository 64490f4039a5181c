#pragma once
// Reads the numbers of a config.json with a range for each, so that an absurd value is refused before anything is sized
// by it. Every error names the key, the value, what was expected and where it was read.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>

namespace arkit::sdk {

class ConfigReader {
 public:
  // `config` outlives the reader; `what` names it in errors ("config.json of '/models/x'").
  ConfigReader(const json::Object& config, std::string what);

  // Absent or null gives `fallback`; without a fallback that is an error too. `limit` is inclusive, the least value 1.
  [[nodiscard]] int64_t positive(std::string_view key, std::optional<int64_t> fallback, int64_t limit) const;
  // Nullopt when absent or null.
  [[nodiscard]] std::optional<int64_t> optional_positive(std::string_view key, int64_t limit) const;
  [[nodiscard]] double number(std::string_view key, double fallback, double least, double most) const;
  [[nodiscard]] bool flag(std::string_view key, bool fallback) const;
  [[nodiscard]] std::string text(std::string_view key, std::string_view fallback) const;
  // "layer_types": nullopt when absent or null; every entry a string.
  [[nodiscard]] std::optional<std::vector<std::string>> texts(std::string_view key) const;

  [[nodiscard]] const json::Object& object() const noexcept { return config_; }
  [[nodiscard]] const std::string& what() const noexcept { return what_; }

 private:
  const json::Object& config_;
  std::string what_;
};

}  // namespace arkit::sdk
