#include "text/jinja/builtins.h"

#include <algorithm>
#include <ctime>
#include <iterator>
#include <unordered_map>

#include <arkit/error.h>
#include <arkit/str.h>

#include "text/unicode.h"

namespace arkit::text::jinja {

const Value* Arguments::next(std::string_view name) {
  const Value* found = next_ < positional_.size() ? &positional_[next_] : nullptr;
  ++next_;
  for (const auto& [given, value] : named_) {
    if (given != name) continue;
    if (found != nullptr) fail(str(function_, "() got two values for '", name, "'"));
    ++used_named_;
    found = &value;
  }
  return found;
}
const Value& Arguments::required(std::string_view name) {
  const Value* value = next(name);
  if (value == nullptr) fail(str(function_, "() needs the argument '", name, "'"));
  return *value;
}
bool Arguments::flag(std::string_view name, bool otherwise) {
  const Value* value = next(name);
  return value == nullptr ? otherwise : value->truthy();
}
int64_t Arguments::integer(std::string_view name, int64_t otherwise) {
  const Value* value = next(name);
  return value == nullptr || value->is_none() ? otherwise : value->integer();
}
std::string Arguments::text(std::string_view name, std::string_view otherwise) {
  const Value* value = next(name);
  return value == nullptr ? std::string(otherwise) : to_text(*value);
}
void Arguments::finish() const {
  if (positional_.size() > next_)
    fail(str(function_, "() takes at most ", next_, " arguments, got ", positional_.size()));
  if (named_.size() > used_named_)
    throw_unsupported(str("chat template: ", function_, "() has a keyword argument that is not supported"));
}

std::string upper_text(std::string_view text) {
  // The inverse of lower case; the few letters whose capital is several characters stay.
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const CodePoint c = code_point_at(text, at);
    at += c.length;
    append_utf8(out, to_upper(c.code));
  }
  return out;
}

std::string capitalized(std::string_view text) {
  if (text.empty()) return {};
  const size_t first = code_point_at(text, 0).length;
  return upper_text(text.substr(0, first)) + to_lower(text.substr(first));
}

std::string stripped(const std::string& text, const Value* characters_given, bool left, bool right) {
  std::vector<std::string> wanted;
  const bool blanks = characters_given == nullptr || characters_given->is_none();
  if (!blanks) wanted = characters(to_text(*characters_given));
  const auto strips = [&](std::string_view character) {
    if (blanks) {
      const uint32_t code = code_point_at(character, 0).code;
      return (class_table()[code] & kSpace) != 0 || (code >= 0x1C && code <= 0x1F);
    }
    return std::find(wanted.begin(), wanted.end(), character) != wanted.end();
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t size = code_point_at(text, begin).length;
    if (!strips(std::string_view(text).substr(begin, size))) break;
    begin += size;
  }
  while (right && end > begin) {
    const size_t last = previous_code_point(text, end);
    if (!strips(std::string_view(text).substr(last, end - last))) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

std::string replaced(const std::string& text, const std::string& from, const std::string& to, int64_t count) {
  if (from.empty()) throw_unsupported("chat template: replace of the empty string is not supported");
  std::string out;
  size_t at = 0;
  for (size_t found = text.find(from); found != std::string::npos && count != 0; found = text.find(from, at), --count) {
    out.append(text, at, found - at);
    out += to;
    at = found + from.size();
    if (static_cast<int64_t>(out.size()) > kMaxSize) fail("replace() makes a text larger than 32 MiB");
  }
  return out.append(text, at);
}

namespace {

using Positional = const Values&;

Value make_range(Positional positional, const Named& named) {
  Arguments arguments("range", positional, named);
  int64_t start = arguments.required("start").integer();
  const Value* stop_given = arguments.next("stop");
  int64_t stop = stop_given == nullptr ? std::exchange(start, 0) : stop_given->integer();
  const int64_t step = arguments.integer("step", 1);
  arguments.finish();
  if (step == 0) fail("range() step must not be zero");
  constexpr int64_t kMaxRange = 100000;  // the sandbox's limit
  Values items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<int64_t>(items.size()) >= kMaxRange) fail(str("range() has more than ", kMaxRange, " items"));
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  return Value::list(std::move(items));
}

Value make_dict(Positional positional, const Named& named) {
  Dict dict;
  if (positional.size() > 1) fail("dict() takes at most one argument");
  if (!positional.empty()) {
    if (positional[0].dict() != nullptr) {
      dict = *positional[0].dict();
    } else {
      for (const Value& item : iterate(positional[0])) {
        const Values pair = iterate(item);
        if (pair.size() != 2) fail("dict() needs pairs");
        dict.set(pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : named) dict.set(name, value);
  return Value::dict(std::move(dict));
}

Value make_namespace(Positional positional, const Named& named) {
  auto object = std::make_shared<Object>();
  object->is_namespace = true;
  const Value members = make_dict(positional, named);
  for (const auto& [name, value] : members.dict()->items) object->attributes[to_text(name)] = value;
  return Value(std::move(object));
}

Value raise_exception(Positional positional, const Named& named) {
  Arguments arguments("raise_exception", positional, named);
  fail(to_text(arguments.required("message")));
}

Value strftime_now(Positional positional, const Named& named) {
  Arguments arguments("strftime_now", positional, named);
  const std::string format = arguments.text("format", "");
  arguments.finish();
  if (format.empty()) return std::string();
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(4096, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return out;
}

}  // namespace

Value global_function(const std::string& name) {
  if (name == "range") return Value::callable(name, make_range);
  if (name == "dict") return Value::callable(name, make_dict);
  if (name == "namespace") return Value::callable(name, make_namespace);
  if (name == "raise_exception") return Value::callable(name, raise_exception);
  if (name == "strftime_now") return Value::callable(name, strftime_now);
  if (name == "cycler" || name == "joiner" || name == "lipsum")
    throw_unsupported(str("chat template: the function '", name, "' is not supported"));
  return Value::undefined(str("'", name, "' is undefined"));
}

Value get_attribute(const Value& object, const std::string& name) {
  if (const auto* missing = object.get<Undefined>()) fail(missing->hint);
  if (const Object* attributes = object.object()) {
    const auto found = attributes->attributes.find(name);
    if (found != attributes->attributes.end()) return found->second;
    return Value::undefined(str("'", object.type_name(), " object' has no attribute '", name, "'"));
  }
  Value method = bind_method(object, name);
  if (!method.is_undefined()) return method;
  if (const Dict* dict = object.dict())
    if (const Value* item = dict->find(name)) return *item;
  return Value::undefined(str("'", object.type_name(), " object' has no attribute '", name, "'"));
}

Value get_item(const Value& object, const Value& key) {
  if (const auto* missing = object.get<Undefined>()) fail(missing->hint);
  if (const auto* missing = key.get<Undefined>()) fail(missing->hint);
  if (const Dict* dict = object.dict()) {
    if (const Value* item = dict->find(key)) return *item;
  } else if (key.is_integer() && (object.list() != nullptr || object.string() != nullptr)) {
    const int64_t size = length(object);
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) {
      if (object.list() != nullptr) return object.list()->items[static_cast<size_t>(index)];
      return characters(*object.string())[static_cast<size_t>(index)];
    }
  }
  if (key.string() != nullptr) return get_attribute(object, *key.string());
  return Value::undefined(str("'", object.type_name(), " object' has no element ", repr(key)));
}

}  // namespace arkit::text::jinja
