#include "calibration/documents.h"

#include <fstream>
#include <functional>
#include <limits>
#include <optional>
#include <utility>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMaxTextBytes = int64_t{1} << 30;
constexpr size_t kMaxLineBytes = size_t{64} << 20;

// Python's str.rstrip for the characters that occur.
std::string right_trimmed(std::string text) {
  while (!text.empty() && (text.back() == ' ' || (text.back() >= '\t' && text.back() <= '\r'))) text.pop_back();
  return text;
}

bool is_conversation(const json::Value& value) {
  if (!value.is_array() || value.get_array().empty()) return false;
  for (const json::Value& item : value.get_array())
    if (!item.is_object() || !item.get_object().contains("role")) return false;
  return true;
}

std::optional<Document> text_or_conversation(const json::Value& value) {
  if (value.is_string()) return Document{.text = right_trimmed(std::string(value.get_string())), .messages = {}};
  if (is_conversation(value)) return Document{.text = {}, .messages = value.get_array()};
  return std::nullopt;
}

std::optional<Document> local_document(const json::Value& item) {
  if (!item.is_object()) return item.is_string() ? text_or_conversation(item) : std::nullopt;
  const json::Object& object = item.get_object();
  if (object.size() == 1) return text_or_conversation(object.begin()->value());
  for (const std::string_view key : {"text", "input_ids", "messages"})
    if (const json::Value* value = json::find(object, key)) return text_or_conversation(*value);
  return std::nullopt;
}

std::optional<Document> known_document(const json::Value& item, const KnownDataset& dataset) {
  if (!item.is_object()) return std::nullopt;
  Document document;
  bool first = true;
  for (const std::string& field : split(dataset.fields, ' ')) {
    const json::Value* value = json::find(item.get_object(), field);
    if (value == nullptr) return std::nullopt;
    if (!std::exchange(first, false)) document.text += dataset.joint;
    if (value->is_string()) {
      document.text += value->get_string();
      continue;
    }
    if (!is_conversation(*value)) return std::nullopt;
    document.messages = value->get_array();
    for (const json::Value& message : value->get_array())
      if (const auto content = json::get_string(message.get_object(), "content", "a message"))
        document.text += *content;
  }
  return document;
}

using Reader = std::function<std::optional<Document>(const json::Value&)>;

[[noreturn]] void bad_item(const fs::path& file, size_t number, const json::Value& item, std::string_view expected) {
  throw_input(
      str("'", file.string(), "': item ", number, " is ", printable(json::dump(item), 80), "; expected ", expected));
}

std::vector<Document> read_items(const fs::path& file, const Reader& reader, std::string_view expected) {
  std::vector<Document> documents;
  const auto take = [&](const json::Value& item) {
    auto document = reader(item);
    if (!document) bad_item(file, documents.size() + 1, item, expected);
    document->item = documents.size() + 1;
    documents.push_back(*std::move(document));
  };
  if (lower(file.extension().string()) == ".json") {
    const json::Value value = json::read_file(file);
    if (value.is_object())
      for (const auto& member : value.get_object()) take(member.value());
    else
      for (const json::Value& item : json::as_array(value, str("'", file.string(), "'"))) take(item);
    return documents;
  }
  check_input_file(file, std::numeric_limits<int64_t>::max());
  std::ifstream in(file, std::ios::binary);
  if (!in) throw_input(str("'", file.string(), "': cannot be opened"));
  std::string line;
  for (size_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.size() > kMaxLineBytes)
      throw_input(str("'", file.string(), "': line ", number, " has ", line.size(), " bytes; at most ", kMaxLineBytes,
                      " are accepted"));
    take(json::parse(line, str("'", file.string(), "' line ", number), true));
  }
  if (in.bad()) throw_input(str("'", file.string(), "': read error"));
  return documents;
}

}  // namespace

std::vector<Document> read_documents(const fs::path& file) {
  return read_items(file, local_document, "a string, an object with one member, or an object with \"text\"");
}

std::vector<Document> read_known_documents(const fs::path& file, const KnownDataset& dataset) {
  return read_items(
      file, [&](const json::Value& item) { return known_document(item, dataset); },
      str("an object with the texts ", dataset.fields));
}

std::string read_running_text(const fs::path& file) {
  return std::string(without_byte_order_mark(read_input_file(file, kMaxTextBytes)));
}

}  // namespace arkit::calibration
