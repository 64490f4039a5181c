#include "text/component.h"

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::text {

std::string required_string(const json::Object& component, std::string_view key, std::string_view what) {
  auto value = json::get_string(component, key, what);
  if (!value) throw_input(str(what, ": has no '", key, "'"));
  return *std::move(value);
}

void unknown_component(std::string_view what, const std::string& type) {
  throw_unsupported(str(what, ": type '", printable(type, 60),
                        "' is not supported; arkit reads byte-level and SentencePiece-style BPE tokenizers"));
}

void for_each_component(const json::Value* spec, std::string_view what, std::string_view list_key,
                        const std::function<void(const std::string&, const json::Object&)>& visit) {
  if (spec == nullptr || spec->is_null()) return;
  const json::Object& component = json::as_object(*spec, what);
  const std::string type = required_string(component, "type", what);
  if (type != "Sequence") {
    visit(type, component);
    return;
  }
  const json::Value* list = json::find(component, list_key);
  if (list == nullptr) throw_input(str(what, ": a Sequence has no '", list_key, "'"));
  for (const json::Value& item : json::as_array(*list, what)) for_each_component(&item, what, list_key, visit);
}

std::unique_ptr<Pattern> component_pattern(const json::Object& component, std::string_view what) {
  const json::Value* pattern = json::find(component, "pattern");
  if (pattern == nullptr) throw_input(str(what, ": has no 'pattern'"));
  if (pattern->is_string()) return literal_pattern(std::string(pattern->get_string()));
  const json::Object& object = json::as_object(*pattern, what);
  if (auto literal = json::get_string(object, "String", what)) return literal_pattern(*std::move(literal));
  if (const auto regex = json::get_string(object, "Regex", what)) return regex_pattern(*regex, what);
  throw_input(str(what, ": 'pattern' is ", printable(json::dump(*pattern), 80),
                  "; expected {\"String\": ...} or {\"Regex\": ...}"));
}

}  // namespace arkit::text
