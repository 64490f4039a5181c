#pragma once
// JSON as arkit reads and writes it: Boost.JSON values behind a bounded, strict reader whose errors name the file and
// the key. All files are hostile: depth is limited to 64, duplicate keys, invalid UTF-8 and trailing text are refused.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>

#include <arkit/export.h>

namespace arkit::json {

using Value = boost::json::value;
using Object = boost::json::object;
using Array = boost::json::array;

// Parses one JSON text. `what` names it in errors ("'config.json'"). Bare NaN, Infinity and -Infinity are accepted (old
// config.json files have them) when `allow_non_finite`. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT Value parse(std::string_view text, std::string_view what, bool allow_non_finite = false);

// Reads and parses a file of at most `max_bytes`. Throws ErrorCode::input.
[[nodiscard]] ARKIT_EXPORT Value read_file(const std::filesystem::path& path, int64_t max_bytes = int64_t{256} << 20);

// Python's json.dumps layouts: indent 0 is compact with ", " and ": " separators, otherwise that many blanks a level.
// Doubles print like Python's repr (shortest digits that read back, at least one decimal).
[[nodiscard]] ARKIT_EXPORT std::string dump(const Value& value, int indent = 0, bool sort_keys = false);

// The member `key`, or null when absent or JSON null.
[[nodiscard]] ARKIT_EXPORT const Value* find(const Object& object, std::string_view key);

// Typed look-ups; nullopt when absent or null. A member of another type throws ErrorCode::input with key, type and
// `what`.
[[nodiscard]] ARKIT_EXPORT std::optional<int64_t> get_int(const Object& object, std::string_view key,
                                                          std::string_view what);
[[nodiscard]] ARKIT_EXPORT std::optional<double> get_double(const Object& object, std::string_view key,
                                                            std::string_view what);
[[nodiscard]] ARKIT_EXPORT std::optional<bool> get_bool(const Object& object, std::string_view key,
                                                        std::string_view what);
[[nodiscard]] ARKIT_EXPORT std::optional<std::string> get_string(const Object& object, std::string_view key,
                                                                 std::string_view what);

// The value as an object or array, or ErrorCode::input naming `what`.
[[nodiscard]] ARKIT_EXPORT const Object& as_object(const Value& value, std::string_view what);
[[nodiscard]] ARKIT_EXPORT const Array& as_array(const Value& value, std::string_view what);

}  // namespace arkit::json
