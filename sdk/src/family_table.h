#pragma once
// A table of a family file, read key by key: each is asked for once, done() refuses those that nobody asked for.

#include <cstdint>
#include <initializer_list>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>
#include <arkit/sdk/family.h>

namespace arkit::sdk {

// Of FamilyTable::patterns(): '*' stands for any text.
[[nodiscard]] bool fits_pattern(std::string_view name, std::string_view pattern);

class FamilyTable {
 public:
  // `section` = "[attention]" for errors, empty for the top of the file.
  FamilyTable(const json::Object& object, std::string file, std::string section);

  [[nodiscard]] bool has(std::string_view key) const { return json::find(object_, key) != nullptr; }
  // Nullptr when absent. Every reader below returns its fallback then.
  [[nodiscard]] const json::Value* take(std::string_view key);
  [[nodiscard]] std::string text(std::string_view key, std::string fallback);  // for people
  // One of `allowed`, of which the first is the fallback.
  [[nodiscard]] std::string choice(std::string_view key, std::initializer_list<std::string_view> allowed);
  // Parts of tensor names and keys of config.json: letters, digits, "_", "-" and "."; empty only where `may_be_none`.
  [[nodiscard]] std::string name(std::string_view key, std::string fallback, bool may_be_none);
  [[nodiscard]] std::vector<std::string> names(std::string_view key);
  // Names in which '*' stands for any text; none when absent.
  [[nodiscard]] std::vector<std::string> patterns(std::string_view key);
  // All members, each true or false.
  [[nodiscard]] std::map<std::string, bool, std::less<>> flags();
  [[nodiscard]] int64_t count(std::string_view key, int64_t fallback, int64_t least, int64_t most);
  [[nodiscard]] double number(std::string_view key, double fallback, double least, double most);
  [[nodiscard]] bool flag(std::string_view key, bool fallback);
  // A value, a key of config.json, or { key = "...", absent = value }; a plain key's absent value is `absent`.
  [[nodiscard]] Setting<bool> flag_setting(std::string_view key, Setting<bool> fallback);
  [[nodiscard]] Setting<double> number_setting(std::string_view key, double least, double most);
  [[nodiscard]] Setting<int64_t> count_setting(std::string_view key, int64_t least, int64_t most);
  // The table `key` of this one; an empty one when absent.
  [[nodiscard]] FamilyTable table(std::string_view key);

  // "did you mean" for the keys that are left.
  void done() const;
  [[noreturn]] void refuse(std::string_view key, const json::Value& value, std::string_view expected) const;
  [[nodiscard]] std::string place(std::string_view key) const;  // "'x.toml': [attention] 'bias'"

 private:
  template <typename T, typename Read>
  Setting<T> setting(std::string_view key, Setting<T> fallback, std::string_view expected, const Read& read);

  const json::Object& object_;
  std::string file_, section_;
  std::vector<std::string> asked_;
};

}  // namespace arkit::sdk
