#pragma once
// Members of a request's JSON, each of the type and in the range it must have.

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/json.h>

#include "serve/api_error.h"

namespace arkit::serve {

// All throw ApiError 400 naming the field. A member that is null is not there.
class Fields {
 public:
  explicit Fields(const json::Object& object) : object_(object) {}

  [[nodiscard]] const json::Value* any(std::string_view name);
  [[nodiscard]] std::optional<int64_t> integer(std::string_view name, int64_t least, int64_t most);
  [[nodiscard]] std::optional<double> number(std::string_view name, double least, double most);
  [[nodiscard]] std::optional<bool> boolean(std::string_view name);
  [[nodiscard]] std::optional<std::string> text(std::string_view name);
  // A text, or a list of texts in which null is nothing.
  [[nodiscard]] std::vector<std::string> texts(std::string_view name, size_t most);
  [[nodiscard]] const json::Object* object(std::string_view name);
  [[nodiscard]] const json::Array* array(std::string_view name);
  // Says that it was understood though nothing asks for it.
  void known(std::string_view name) { asked_.emplace(name); }
  // Refuses it unless it has the one value that changes nothing.
  void only(std::string_view name, const json::Value& value, std::string_view why);

  // Members that nobody asked for.
  [[nodiscard]] std::vector<std::string> ignored() const;

 private:
  const json::Object& object_;
  std::set<std::string, std::less<>> asked_;
};

[[noreturn]] void throw_field(std::string_view name, const std::string& problem);

}  // namespace arkit::serve
