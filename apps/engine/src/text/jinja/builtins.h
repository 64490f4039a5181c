#pragma once
// Filters, tests, methods and global functions of the template language.

#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace arkit::text::jinja {

// Arguments of one call, read by position or name. Fails for too many, unknown or missing ones.
class Arguments {
 public:
  Arguments(std::string_view function, Items positional, const Named& named)
      : function_(function), positional_(positional), named_(named) {}
  // The next parameter; null = not given.
  [[nodiscard]] const Value* next(std::string_view name);
  [[nodiscard]] const Value& required(std::string_view name);
  [[nodiscard]] bool flag(std::string_view name, bool otherwise);
  [[nodiscard]] int64_t integer(std::string_view name, int64_t otherwise);
  [[nodiscard]] std::string_view text(std::string_view name, std::string_view otherwise);
  void finish() const;  // nothing may be left over

 private:
  std::string_view function_;
  Items positional_;
  const Named& named_;
  size_t next_ = 0, used_named_ = 0;
};

// Each throws ErrorCode::unsupported for a name that does not exist here.
[[nodiscard]] Value apply_filter(std::string_view name, const Value& input, Items positional, const Named& named);
[[nodiscard]] bool apply_test(std::string_view name, const Value& input, Items positional);

// The method `name` bound to `object`, or undefined when the type has none of that name. Methods that change their
// object are refused as in the sandbox of transformers.
[[nodiscard]] Value bind_method(const Value& object, std::string_view name);

// The (key, value) tuples of a dict.
[[nodiscard]] Value pairs_of(const Dict& dict);

// namespace, dict, range, raise_exception, strftime_now; an Undefined otherwise.
[[nodiscard]] Value global_function(std::string_view name);

// object.name and object[key] as Jinja looks them up.
[[nodiscard]] Value get_attribute(const Value& object, std::string_view name);
[[nodiscard]] Value get_item(const Value& object, const Value& key);

[[nodiscard]] Value format_percent(std::string_view format, Items arguments);

[[nodiscard]] Value upper_text(std::string_view text);
[[nodiscard]] Value lower_text(std::string_view text);
[[nodiscard]] Value capitalized(std::string_view text);
// A view into `text`.
[[nodiscard]] std::string_view stripped(std::string_view text, const Value* characters, bool left, bool right);
[[nodiscard]] Value replaced(std::string_view text, std::string_view from, std::string_view to, int64_t count);

}  // namespace arkit::text::jinja
