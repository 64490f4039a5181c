#pragma once
// Results for people: aligned tables and "key  value" lines, made from the JSON every command returns.

#include <cstdint>
#include <string>
#include <vector>

#include <arkit/json.h>

namespace arkit::cli {

// Columns padded to their widest cell, two blanks apart; control characters are escaped. The first row is the header.
[[nodiscard]] std::string table(const std::vector<std::vector<std::string>>& rows);

// One cell: numbers short, arrays joined by ", ", objects as "key value, key value".
[[nodiscard]] std::string cell(const json::Value& value);

// Objects as a table whose columns are the members that are not objects; an empty array gives "(none)".
[[nodiscard]] std::string objects_table(const json::Array& rows);

// Scalars as "key  value" lines, then each array of objects as a table under its name. `skip` are members left out.
[[nodiscard]] std::string describe_object(const json::Object& object, const std::vector<std::string>& skip = {});

[[nodiscard]] std::string human_bytes(double bytes);      // "1.23 GB"
[[nodiscard]] std::string human_seconds(double seconds);  // "1:02:03", "12.3 s"

}  // namespace arkit::cli
