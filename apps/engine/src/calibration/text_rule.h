#pragma once
// From a row of a data set to a document: which field holds its text (docs/spec/calibration.md 2.3).

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::calibration {

// Text, a conversation (which a chat template can render), or both: the text is then the turns' contents, joined.
struct Document {
  std::string text;
  json::Array messages;   // of {"role", "content"}
  size_t item = 0;        // its number in the data set, from 1
  bool answered = false;  // the conversation ends with an answer: a template asks for no further one
};

// What makes the text; all empty = the usual names are looked for, row by row.
struct TextRule {
  std::vector<std::string> fields;  // a member, or a path into objects ("answers.text")
  std::string joint;                // between them
  std::string pattern;              // "{question} {answer}"; {{ and }} are braces
  std::string user, assistant;      // fields that are the two turns of a conversation; their text is joined too

  [[nodiscard]] bool automatic() const { return fields.empty() && pattern.empty() && user.empty(); }
};

// Keeps a row when the member is one of `values`, and not below `min` or above `max`.
struct RowFilter {
  std::string field;
  json::Array values;  // empty = any
  std::optional<double> min, max;
};

class ARKIT_EXPORT TextPicker {
 public:
  // `what` names the data set in messages. Throws ErrorCode::usage for a pattern with open braces or without a field.
  TextPicker(TextRule rule, std::vector<RowFilter> filters, std::string what);

  // Whether the filters let the row pass. Throws ErrorCode::input when it lacks the member a filter asks for.
  [[nodiscard]] bool keeps(const json::Value& row) const;
  // Throws ErrorCode::input, naming the row's members and what to do, when no text is found.
  [[nodiscard]] Document document(const json::Value& row, size_t item);
  // Of a file's columns, those that document() and keeps() may look at; empty = all.
  [[nodiscard]] std::vector<std::string> columns(const std::vector<std::string>& all) const;
  // What the first document was made of: "field 'text'", "fields 'question' and 'answer'".
  [[nodiscard]] const std::string& chosen() const { return chosen_; }

 private:
  struct Part {
    std::string text, field;  // text, then a field
  };
  [[nodiscard]] std::optional<Document> named(const json::Value& row) const;
  [[nodiscard]] std::optional<Document> found(const json::Value& row, std::string& how) const;
  [[noreturn]] void no_text(const json::Value& row, size_t item) const;

  TextRule rule_;
  std::vector<Part> parts_;  // of the pattern
  std::vector<RowFilter> filters_;
  std::string what_, chosen_;
};

}  // namespace arkit::calibration
