#pragma once
// The keywords of JSON schemas: which are followed, which only describe, which are refused.

#include <cstdint>
#include <string>
#include <string_view>

#include <arkit/json.h>

namespace arkit::grammar {

class SchemaReader;

// Throws for a keyword that is not followed and says something of values.
void check_words(const SchemaReader& reader, const json::Object& schema, const std::string& pointer);

// "title" and the like.
[[nodiscard]] bool only_describes(std::string_view word);

// KindBits of "type"; without one, of the kinds that other keywords speak of, else all.
[[nodiscard]] uint8_t asked_kinds(const SchemaReader& reader, const json::Object& schema, const std::string& pointer);

[[nodiscard]] std::string pattern_of_format(const SchemaReader& reader, const std::string& format,
                                            const std::string& pointer);

// As JSON schemas compare: 1 and 1.0 are the same, the order of properties does not matter.
[[nodiscard]] bool same_json(const json::Value& a, const json::Value& b);

}  // namespace arkit::grammar
