#pragma once
// Filters, tests, methods and global functions of the template language.

#include <string>
#include <string_view>

#include "text/jinja/value.h"

namespace arkit::text::jinja {

// Arguments of one call, read by position or name. Fails for too many, unknown or missing ones.
class Arguments {
 public:
  Arguments(std::string_view function, const Values& positional, const Named& named)
      : function_(function), positional_(positional), named_(named) {}
  // The next parameter; null = not given.
  [[nodiscard]] const Value* next(std::string_view name);
  [[nodiscard]] const Value& required(std::string_view name);
  [[nodiscard]] bool flag(std::string_view name, bool otherwise);
  [[nodiscard]] int64_t integer(std::string_view name, int64_t otherwise);
  [[nodiscard]] std::string text(std::string_view name, std::string_view otherwise);
  void finish() const;  // nothing may be left over

 private:
  std::string function_;
  const Values& positional_;
  const Named& named_;
  size_t next_ = 0, used_named_ = 0;
};

// Each throws ErrorCode::unsupported for a name that does not exist here.
[[nodiscard]] Value apply_filter(const std::string& name, const Value& input, const Values& positional,
                                 const Named& named);
[[nodiscard]] bool apply_test(const std::string& name, const Value& input, const Values& positional);

// The method `name` bound to `object`, or undefined when the type has none of that name. Methods that change their
// object are refused as in the sandbox of transformers.
[[nodiscard]] Value bind_method(const Value& object, const std::string& name);

// namespace, dict, range, raise_exception, strftime_now; an Undefined otherwise.
[[nodiscard]] Value global_function(const std::string& name);

// object.name and object[key] as Jinja looks them up.
[[nodiscard]] Value get_attribute(const Value& object, const std::string& name);
[[nodiscard]] Value get_item(const Value& object, const Value& key);

[[nodiscard]] Value format_percent(const std::string& format, const Values& arguments);

// Largest text or list one operation may make.
constexpr int64_t kMaxSize = int64_t{32} << 20;

[[nodiscard]] std::string upper_text(std::string_view text);
[[nodiscard]] std::string capitalized(std::string_view text);
[[nodiscard]] std::string stripped(const std::string& text, const Value* characters, bool left, bool right);
[[nodiscard]] std::string replaced(const std::string& text, const std::string& from, const std::string& to,
                                   int64_t count);

}  // namespace arkit::text::jinja
