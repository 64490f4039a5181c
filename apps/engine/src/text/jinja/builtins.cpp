#include "text/jinja/builtins.h"

#include <algorithm>
#include <array>
#include <ctime>
#include <utility>

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
std::string_view Arguments::text(std::string_view name, std::string_view otherwise) {
  const Value* value = next(name);
  return value == nullptr ? otherwise : to_text(*value);
}
void Arguments::finish() const {
  if (positional_.size() > next_)
    fail(str(function_, "() takes at most ", next_, " arguments, got ", positional_.size()));
  if (named_.size() > used_named_)
    throw_unsupported(str("chat template: ", function_, "() has a keyword argument that is not supported"));
}

namespace {

// Letters in another case, in pieces: a long text needs no second one of its length outside the budget.
template <typename Change>
Value changed_case(std::string_view text, Change change) {
  constexpr size_t kPiece = 4096;
  Text out;
  while (!text.empty()) {
    size_t size = std::min(kPiece, text.size());
    if (size < text.size()) size = previous_code_point(text, size + 1);
    change(out, text.substr(0, size));
    text.remove_prefix(size);
  }
  return Value::text(out.finish());
}

bool is_blank(uint32_t code) {
  return (class_table()[code] & kSpace) != 0 || (code >= 0x1C && code <= 0x1F);
}

}  // namespace

Value upper_text(std::string_view text) {
  // The inverse of lower case; the few letters whose capital is several characters stay.
  return changed_case(text, [](Text& out, std::string_view piece) {
    std::string capitals;
    for (size_t at = 0; at < piece.size();) {
      const CodePoint c = code_point_at(piece, at);
      at += c.length;
      append_utf8(capitals, to_upper(c.code));
    }
    out += capitals;
  });
}

Value lower_text(std::string_view text) {
  return changed_case(text, [](Text& out, std::string_view piece) { out += to_lower(piece); });
}

Value capitalized(std::string_view text) {
  if (text.empty()) return Value::text(text);
  const size_t first = code_point_at(text, 0).length;
  return Value::text(joined_text(upper_text(text.substr(0, first)).string(), lower_text(text.substr(first)).string()));
}

std::string_view stripped(std::string_view text, const Value* characters_given, bool left, bool right) {
  const bool blanks = characters_given == nullptr || characters_given->is_none();
  const std::string_view wanted = blanks ? std::string_view() : to_text(*characters_given);
  const auto strips = [&](std::string_view character) {
    if (blanks) return is_blank(code_point_at(character, 0).code);
    return find_text(wanted, character) != std::string_view::npos;
  };
  size_t begin = 0, end = text.size();
  while (left && begin < end) {
    const size_t size = code_point_at(text, begin).length;
    if (!strips(text.substr(begin, size))) break;
    begin += size;
  }
  while (right && end > begin) {
    const size_t last = previous_code_point(text, end);
    if (!strips(text.substr(last, end - last))) break;
    end = last;
  }
  Budget::current().scan(text.size() - (end - begin));
  return text.substr(begin, end - begin);
}

Value replaced(std::string_view text, std::string_view from, std::string_view to, int64_t count) {
  if (from.empty()) throw_unsupported("chat template: replace of the empty string is not supported");
  size_t found = find_text(text, from);
  if (found == std::string_view::npos || count == 0) return Value::text(text);
  Text out;
  size_t at = 0;
  for (; found != std::string_view::npos && count != 0; found = find_text(text, from, at), --count) {
    out += text.substr(at, found - at);
    out += to;
    at = found + from.size();
  }
  return Value::text((out += text.substr(at)).finish());
}

namespace {

Value make_range(const Callable&, Items positional, const Named& named) {
  Arguments arguments("range", positional, named);
  int64_t start = arguments.required("start").integer();
  const Value* stop_given = arguments.next("stop");
  int64_t stop = stop_given == nullptr ? std::exchange(start, 0) : stop_given->integer();
  const int64_t step = arguments.integer("step", 1);
  arguments.finish();
  if (step == 0) fail("range() step must not be zero");
  constexpr size_t kMaxRange = 100000;  // the sandbox's limit
  Values items;
  for (int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (items.size() >= kMaxRange) fail(str("range() has more than ", kMaxRange, " items"));
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  Budget::current().scan(items.size());
  return Value::list(items);
}

Dict dict_of(Items positional, const Named& named) {
  Dict dict;
  if (positional.size() > 1) fail("dict() takes at most one argument");
  if (!positional.empty()) {
    if (positional[0].dict() != nullptr) {
      dict = *positional[0].dict();
    } else {
      for (const Value& item : iterate(positional[0])) {
        const Items pair = iterate(item);
        if (pair.size() != 2) fail("dict() needs pairs");
        dict.set(pair[0], pair[1]);
      }
    }
  }
  for (const auto& [name, value] : named) dict.set(Value::text(name), value);
  return dict;
}

Value make_dict(const Callable&, Items positional, const Named& named) {
  return Value::dict(dict_of(positional, named));
}

Value make_namespace(const Callable&, Items positional, const Named& named) {
  Object* object = make_lasting(Object{});
  object->is_namespace = true;
  for (const auto& [name, value] : dict_of(positional, named).items) object->attributes[to_text(name)] = value;
  return object;
}

Value raise_exception(const Callable&, Items positional, const Named& named) {
  Arguments arguments("raise_exception", positional, named);
  fail(std::string(to_text(arguments.required("message"))));
}

Value strftime_now(const Callable&, Items positional, const Named& named) {
  Arguments arguments("strftime_now", positional, named);
  const std::string format(arguments.text("format", ""));
  arguments.finish();
  constexpr size_t kMaxFormat = 256;
  if (format.size() > kMaxFormat) fail(str("strftime_now: the format has more than ", kMaxFormat, " characters"));
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, kMaxFormat * 64> out{};
  return Value::copied({out.data(), std::strftime(out.data(), out.size(), format.c_str(), &local)});
}

}  // namespace

Value global_function(std::string_view name) {
  static const std::array<Callable, 5> kFunctions{{{"range", make_range},
                                                   {"dict", make_dict},
                                                   {"namespace", make_namespace},
                                                   {"raise_exception", raise_exception},
                                                   {"strftime_now", strftime_now}}};
  for (const Callable& function : kFunctions)
    if (function.name == name) return &function;
  if (name == "cycler" || name == "joiner" || name == "lipsum")
    throw_unsupported(str("chat template: the function '", name, "' is not supported"));
  return Value::undefined(joined_text("'", name, "' is undefined"));
}

namespace {

Value no_attribute(const Value& object, std::string_view name) {
  return Value::undefined(joined_text("'", object.type_name(), " object' has no attribute '", name, "'"));
}

Value cycle(const Callable& self, Items positional, const Named&) {
  if (positional.empty()) fail("no items for cycling given");
  return positional[self.bound.object()->index % positional.size()];
}

// What a template asks of `loop`.
Value loop_attribute(Object& loop, std::string_view name) {
  const auto index = static_cast<int64_t>(loop.index), size = static_cast<int64_t>(loop.items.size());
  if (name == "index") return index + 1;
  if (name == "index0") return index;
  if (name == "revindex") return size - index;
  if (name == "revindex0") return size - index - 1;
  if (name == "length") return size;
  if (name == "first") return index == 0;
  if (name == "last") return index + 1 == size;
  if (name == "depth") return 1;
  if (name == "depth0") return 0;
  if (name == "previtem") return index > 0 ? loop.items[loop.index - 1] : Value::undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < size ? loop.items[loop.index + 1] : Value::undefined("there is no next item");
  if (name == "cycle") return make_lasting(Callable{.name = "cycle", .function = cycle, .bound = &loop});
  return no_attribute(&loop, name);
}

}  // namespace

Value get_attribute(const Value& object, std::string_view name) {
  if (object.is_undefined()) fail(std::string(object.hint()));
  if (Object* attributes = object.object()) {
    if (!attributes->is_namespace) return loop_attribute(*attributes, name);
    const auto found = attributes->attributes.find(name);
    return found != attributes->attributes.end() ? found->second : no_attribute(object, name);
  }
  const Value method = bind_method(object, name);
  if (!method.is_undefined()) return method;
  if (const Dict* dict = object.dict())
    if (const Value* item = dict->find(Value::text(name))) return *item;
  return no_attribute(object, name);
}

Value get_item(const Value& object, const Value& key) {
  if (object.is_undefined()) fail(std::string(object.hint()));
  if (key.is_undefined()) fail(std::string(key.hint()));
  if (const Dict* dict = object.dict()) {
    if (const Value* item = dict->find(key)) return *item;
  } else if (key.is_integer() && (object.list() != nullptr || object.is_string())) {
    const int64_t size = length(object);
    const int64_t index = key.integer() < 0 ? key.integer() + size : key.integer();
    if (index >= 0 && index < size) {
      if (object.list() != nullptr) return object.list()->items[static_cast<size_t>(index)];
      const size_t at = character_offset(object.string(), index);
      return Value::text(object.string().substr(at, code_point_at(object.string(), at).length));
    }
  }
  if (key.is_string()) return get_attribute(object, key.string());
  return Value::undefined(joined_text("'", object.type_name(), " object' has no element ", repr(key)));
}

}  // namespace arkit::text::jinja
