#pragma once
// Files of share/arkit: names that the engine must not know (data sets, runtimes, targets) as TOML.

#include <cstdint>
#include <filesystem>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/str.h>

namespace arkit {

// A TOML text as JSON; `what` opens every message. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT json::Object parse_toml(std::string_view text, const std::string& what);

// PREFIX/share/arkit/NAME for this library, PREFIX/lib/libarkit_engine.so.
[[nodiscard]] ARKIT_EXPORT std::filesystem::path shared_data_folder(std::string_view name);

// The same of the user: $XDG_DATA_HOME/arkit/NAME or ~/.local/share/arkit/NAME; empty when neither is an absolute path.
[[nodiscard]] ARKIT_EXPORT std::filesystem::path user_data_folder(std::string_view name);

// The .toml files of a folder, sorted; none where there is no folder.
[[nodiscard]] ARKIT_EXPORT std::vector<std::filesystem::path> toml_files(const std::filesystem::path& folder);

// Throws ErrorCode::input for a key that is not among `known`, with the one that may be meant.
ARKIT_EXPORT void check_keys(const json::Object& object, std::initializer_list<std::string_view> known,
                             const std::string& what);

// A text that is there and not empty. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT std::string required_text(const json::Object& object, std::string_view key,
                                                     const std::string& what);

// A text, or a list of texts, none of them empty; no element when the key is absent. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT std::vector<std::string> text_list(const json::Object& object, std::string_view key,
                                                              const std::string& what);

// A list of whole numbers; no element when the key is absent. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT std::vector<int64_t> number_list(const json::Object& object, std::string_view key,
                                                            const std::string& what);

// Calls read(table, what) for each [[key]], `what` naming it.
template <typename Read>
void each_table(const json::Object& object, std::string_view key, const std::string& what, const Read& read) {
  const json::Value* tables = json::find(object, key);
  if (tables == nullptr) return;
  int64_t number = 0;
  for (const json::Value& table : json::as_array(*tables, str(what, ": '", key, "'"))) {
    const std::string where = str(what, ": [[", key, "]] number ", ++number);
    read(json::as_object(table, where), where);
  }
}

}  // namespace arkit
