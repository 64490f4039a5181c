#include "calibration/text_rule.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::calibration {
namespace {

// Names that hold a text or a conversation, likely ones first; a question with its answer comes before the rest. (A
// local file of the reference knows text and input_ids.)
constexpr std::string_view kIds = "input_ids";
constexpr std::array<std::string_view, 8> kTexts{"text",          "content",      kIds,       "messages",
                                                 "conversations", "conversation", "dialogue", "dialog"};
constexpr std::array<std::string_view, 7> kOtherTexts{"document", "article",  "body",   "code",
                                                      "story",    "sentence", "caption"};
// A question and the names of its answer.
struct Pair {
  std::string_view question, more;
  std::array<std::string_view, 5> answers;
};
constexpr std::array<Pair, 5> kPairs{Pair{"instruction", "input", {"output", "response", "answer", "completion", ""}},
                                     Pair{"prompt", "", {"response", "completion", "answer", "output", "chosen"}},
                                     Pair{"question", "context", {"answer", "response", "answers", "output", ""}},
                                     Pair{"query", "", {"answer", "response", "output", "", ""}},
                                     Pair{"input", "", {"output", "target", "response", "", ""}}};
constexpr std::string_view kPairJoint = "\n\n";

const json::Value* member(const json::Value& row, std::string_view path) {
  if (!row.is_object()) return nullptr;
  if (const json::Value* value = json::find(row.get_object(), path)) return value;
  const size_t dot = path.find('.');
  if (dot == std::string_view::npos) return nullptr;
  const json::Value* inner = json::find(row.get_object(), path.substr(0, dot));
  return inner == nullptr ? nullptr : member(*inner, path.substr(dot + 1));
}

bool has_member(const json::Value& row, std::string_view name) {
  return row.is_object() && row.get_object().contains(name);
}

std::string_view usual_role(std::string_view role) {
  if (role == "human") return "user";
  if (role == "gpt" || role == "bot" || role == "model") return "assistant";
  return role;
}

const json::Value* first_text(const json::Object& object, std::initializer_list<std::string_view> names) {
  for (const std::string_view name : names)
    if (const json::Value* value = json::find(object, name); value != nullptr && value->is_string()) return value;
  return nullptr;
}

// [{"role", "content"}] or [{"from", "value"}]. Turns without a text keep their members and add none to the text.
std::optional<Document> conversation(const json::Value& value) {
  if (!value.is_array() || value.get_array().empty()) return std::nullopt;
  Document document;
  for (const json::Value& item : value.get_array()) {
    if (!item.is_object()) return std::nullopt;
    const json::Value* role = first_text(item.get_object(), {"role", "from"});
    if (role == nullptr) return std::nullopt;
    json::Object turn = item.get_object();
    const json::Value* content = first_text(item.get_object(), {"content", "value", "text"});
    turn["role"] = usual_role(std::string_view(role->get_string()));
    if (content != nullptr) {
      turn["content"] = *content;
      document.text += content->get_string();
    }
    document.messages.push_back(std::move(turn));
  }
  return document;
}

// A text, a conversation, or texts to join by lines.
std::optional<Document> from_value(const json::Value& value) {
  Document document;
  if (value.is_string()) {
    document.text = value.get_string();
    return document;
  }
  if (auto turns = conversation(value)) return turns;
  if (!value.is_array()) return std::nullopt;
  for (const json::Value& item : value.get_array()) {
    if (!item.is_string()) return std::nullopt;
    if (!document.text.empty()) document.text += '\n';
    document.text += item.get_string();
  }
  return document;
}

std::string as_text(const json::Value& value) {
  if (value.is_string()) return std::string(value.get_string());
  if (auto document = from_value(value)) return std::move(document->text);
  return json::dump(value);
}

Document pair(std::string question, std::string answer, std::string_view joint) {
  Document document;
  document.messages.push_back(json::Object{{"role", "user"}, {"content", question}});
  document.messages.push_back(json::Object{{"role", "assistant"}, {"content", answer}});
  document.text = std::move(question) + std::string(joint) + answer;
  document.answered = true;
  return document;
}

std::string quoted_members(const json::Value& row) {
  std::vector<std::string> names;
  for (const auto& entry : row.get_object()) names.push_back(printable(std::string(entry.key()), 40));
  if (names.size() > 12) names.resize(12);
  return quoted_list(names);
}

std::string joined_names(const std::vector<std::string>& names) {
  return str(names.size() == 1 ? "field " : "fields ", quoted_list(names));
}

}  // namespace

TextPicker::TextPicker(TextRule rule, std::vector<RowFilter> filters, std::string what)
    : rule_(std::move(rule)), filters_(std::move(filters)), what_(std::move(what)) {
  const std::string& text = rule_.pattern;
  if (text.empty()) return;
  const auto bad = [&](std::string_view why) {
    throw_usage(str(what_, ": template '", printable(text), "' ", why, "; expected such as \"{question} {answer}\""));
  };
  parts_.emplace_back();
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      parts_.back().text += c;
      ++i;
    } else if (c == '}') {
      bad("closes a brace that is not open");
    } else if (c == '{') {
      const size_t end = text.find('}', i);
      if (end == std::string::npos) bad("leaves a brace open");
      parts_.back().field = text.substr(i + 1, end - i - 1);
      if (parts_.back().field.empty()) bad("has {} without a name");
      parts_.emplace_back();
      i = end;
    } else {
      parts_.back().text += c;
    }
  }
  if (parts_.size() == 1) bad("names no field");
}

bool TextPicker::keeps(const json::Value& row) const {
  for (const RowFilter& filter : filters_) {
    const json::Value* value = member(row, filter.field);
    if (value == nullptr) {
      if (has_member(row, filter.field)) return false;  // null
      throw_input(str(what_, ": a row has no '", printable(filter.field), "', which its filter asks for",
                      row.is_object() ? str("; it has ", quoted_members(row)) : std::string()));
    }
    if (!filter.values.empty() && std::find(filter.values.begin(), filter.values.end(), *value) == filter.values.end())
      return false;
    if (!filter.min && !filter.max) continue;
    const double number = value->is_number() ? value->to_number<double>() : 0;
    if (!value->is_number() || (filter.min && number < *filter.min) || (filter.max && number > *filter.max))
      return false;
  }
  return true;
}

// A named member that is null is an empty text; one that is missing is a mistake.
std::optional<Document> TextPicker::named(const json::Value& row) const {
  const auto text_of = [&](const std::string& field) -> std::optional<std::string> {
    if (const json::Value* value = member(row, field)) return as_text(*value);
    return has_member(row, field) ? std::optional<std::string>("") : std::nullopt;
  };
  Document document;
  if (!parts_.empty()) {
    for (const Part& part : parts_) {
      document.text += part.text;
      if (part.field.empty()) continue;
      const auto text = text_of(part.field);
      if (!text) return std::nullopt;
      document.text += *text;
    }
    return document;
  }
  if (!rule_.user.empty()) {
    auto question = text_of(rule_.user), answer = text_of(rule_.assistant);
    if (!question || !answer) return std::nullopt;
    return pair(*std::move(question), *std::move(answer), rule_.joint);
  }
  for (size_t i = 0; i < rule_.fields.size(); ++i) {
    const json::Value* value = member(row, rule_.fields[i]);
    if (rule_.fields.size() == 1 && value != nullptr) return from_value(*value);
    const auto text = text_of(rule_.fields[i]);
    if (!text) return std::nullopt;
    if (i != 0) document.text += rule_.joint;
    document.text += *text;
  }
  return document;
}

std::optional<Document> TextPicker::found(const json::Value& row, std::string& how) const {
  if (row.is_string()) {
    how = "its texts";
    return from_value(row);
  }
  if (!row.is_object()) return std::nullopt;
  const json::Object& object = row.get_object();
  const auto take = [&](std::string_view name, const json::Value& value) {
    how = str("field '", printable(name, 60), "'");
    return from_value(value);
  };
  if (object.size() == 1) return take(object.begin()->key(), object.begin()->value());
  for (const std::string_view name : kTexts)
    if (const json::Value* value = json::find(object, name))
      if (auto document = take(name, *value)) return document;
  for (const Pair& names : kPairs) {
    const json::Value* question = json::find(object, names.question);
    if (question == nullptr || !question->is_string()) continue;
    for (const std::string_view name : names.answers) {
      const json::Value* answer = name.empty() ? nullptr : json::find(object, name);
      const auto text = answer == nullptr ? std::nullopt : from_value(*answer);
      if (!text) continue;
      std::string asked(question->get_string());
      std::vector<std::string> used{std::string(names.question)};
      const json::Value* more = names.more.empty() ? nullptr : json::find(object, names.more);
      if (more != nullptr && more->is_string() && !more->get_string().empty()) {
        asked = str(asked, kPairJoint, std::string_view(more->get_string()));
        used.emplace_back(names.more);
      }
      used.emplace_back(name);
      how = joined_names(used);
      return pair(std::move(asked), text->text, kPairJoint);
    }
  }
  for (const std::string_view name : kOtherTexts)
    if (const json::Value* value = json::find(object, name))
      if (auto document = take(name, *value)) return document;
  const auto is_text = [](const auto& entry) { return entry.value().is_string(); };
  if (std::count_if(object.begin(), object.end(), is_text) != 1) return std::nullopt;
  const auto only = std::find_if(object.begin(), object.end(), is_text);
  return take(only->key(), only->value());
}

void TextPicker::no_text(const json::Value& row, size_t item) const {
  if (!row.is_object() || row.get_object().empty())
    throw_input(str(what_, ": item ", item, " is ", printable(json::dump(row), 80),
                    "; expected a text or an object that holds one"));
  const std::string own = rule_.automatic() ? std::string("no member known to hold the text")
                                            : str("no text in ", rule_.pattern.empty() ? "the named field"
                                                                                       : "a field of "
                                                                                         "the template");
  throw_input(str(what_, ": item ", item, " has ", own, "; it has ", quoted_members(row),
                  ": name one with ':field=NAME', or several with ':template=\"{A} {B}\"'"));
}

Document TextPicker::document(const json::Value& row, size_t item) {
  std::string how;
  auto document = rule_.automatic() ? found(row, how) : named(row);
  if (!document) no_text(row, item);
  if (chosen_.empty()) {
    std::vector<std::string> names = rule_.fields;
    if (!rule_.user.empty()) names = {rule_.user, rule_.assistant};
    chosen_ = rule_.automatic() ? how
              : !parts_.empty() ? str("template '", printable(rule_.pattern), "'")
                                : joined_names(names);
  }
  document->item = item;
  return *std::move(document);
}

std::vector<std::string> TextPicker::columns(const std::vector<std::string>& all) const {
  std::vector<std::string> wanted;
  const auto want = [&](std::string_view path) {
    for (const std::string& name : all)
      if ((name == path || path.starts_with(name + ".")) &&
          std::find(wanted.begin(), wanted.end(), name) == wanted.end())
        wanted.push_back(name);
  };
  for (const RowFilter& filter : filters_) want(filter.field);
  const size_t filtering = wanted.size();
  for (const Part& part : parts_) want(part.field);
  for (const std::string& field : rule_.fields) want(field);
  for (const std::string& field : {rule_.user, rule_.assistant}) want(field);
  if (rule_.automatic()) {
    for (const std::string_view name : kTexts) want(name);
    const bool ids_alone = wanted.size() == filtering + 1 && wanted.back() == kIds;  // a list of numbers, mostly
    if (wanted.size() == filtering || ids_alone) {
      for (const Pair& names : kPairs) {
        want(names.question);
        want(names.more);
        for (const std::string_view name : names.answers) want(name);
      }
      for (const std::string_view name : kOtherTexts) want(name);
    }
  }
  if (wanted.size() == filtering) return {};
  std::vector<std::string> in_order = all;
  std::erase_if(in_order,
                [&](const std::string& name) { return std::find(wanted.begin(), wanted.end(), name) == wanted.end(); });
  return in_order;
}

}  // namespace arkit::calibration
