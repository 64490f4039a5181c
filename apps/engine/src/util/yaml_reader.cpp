#include "util/yaml_reader.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>
#include <optional>
#include <sstream>
#include <utility>
#include <vector>

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/parser.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr size_t kMaxBytes = size_t{256} << 10;
constexpr size_t kMaxDepth = 32;           // a recipe needs eight levels
constexpr int64_t kMaxWeight = 1'000'000;  // nodes and characters, aliases expanded

constexpr std::string_view kPython = "tag:yaml.org,2002:python/object/apply:";

bool one_of(std::string_view text, std::initializer_list<std::string_view> words) {
  return std::find(words.begin(), words.end(), text) != words.end();
}

template <typename T>
std::optional<T> number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

json::Value plain_scalar(const std::string& text) {
  if (one_of(text, {"true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON"})) return true;
  if (one_of(text, {"false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF"})) return false;
  if (text.empty() || std::string_view("+-.0123456789").find(text.front()) == std::string_view::npos)
    return json::Value(text);
  if (const auto whole = number<int64_t>(text)) return *whole;
  // from_chars also takes "inf" and "nan", which no field of a recipe may be.
  if (text.find_first_not_of("+-.0123456789eE") == std::string::npos)
    if (const auto real = number<double>(text)) return *real;
  return json::Value(text);
}

// A standard tag without its prefix; empty for untagged nodes.
std::string_view short_tag(std::string_view tag) {
  constexpr std::string_view kStandard = "tag:yaml.org,2002:";
  if (tag == "?" || tag == "!") return {};
  if (tag.starts_with(kStandard)) tag.remove_prefix(kStandard.size());
  return tag;
}

class Builder final : public YAML::EventHandler {
 public:
  explicit Builder(const std::string& where) : where_(where) {}

  [[nodiscard]] json::Value take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}

  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { add(mark, anchor, nullptr, 1); }

  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    const auto found = anchors_.find(anchor);
    if (found == anchors_.end()) fail(mark, "an alias stands for a node that contains it");
    add(mark, YAML::NullAnchor, found->second.first, found->second.second);
  }

  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    const auto weight = static_cast<int64_t>(value.size()) + 1;
    const std::string_view name = short_tag(tag);
    if (!one_of(name, {"", "str", "int", "float", "bool"})) refuse_tag(mark, tag);
    add(mark, anchor, tag == "!" || name == "str" ? json::Value(value) : plain_scalar(value), weight);
  }

  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    const bool names = tag.starts_with(kPython);
    if (!names && !one_of(short_tag(tag), {"", "seq"})) refuse_tag(mark, tag);
    open({.value = json::Array{}, .mark = mark, .anchor = anchor, .one_name = names});
  }
  void OnSequenceEnd() override { close(); }

  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    if (!one_of(short_tag(tag), {"", "map"})) refuse_tag(mark, tag);
    open({.value = json::Object{}, .mark = mark, .anchor = anchor});
  }
  void OnMapEnd() override { close(); }

 private:
  struct Frame {
    json::Value value;
    YAML::Mark mark;
    YAML::anchor_t anchor = YAML::NullAnchor;
    bool one_name = false;  // a tagged list that stands for the one string in it
    std::optional<std::string> key = std::nullopt;
    int64_t weight = 1;
  };

  [[noreturn]] void fail(const YAML::Mark& mark, std::string_view what) const {
    throw_input(str(where_, ": line ", mark.line + 1, ": ", what));
  }

  [[noreturn]] void refuse_tag(const YAML::Mark& mark, const std::string& tag) const {
    fail(mark, str("the tag '", printable(tag), "' is not accepted; a recipe is plain data"));
  }

  void open(Frame frame) {
    if (frames_.size() >= kMaxDepth) fail(frame.mark, str("nested deeper than ", kMaxDepth, " levels"));
    count(frame.mark, 1);
    frames_.push_back(std::move(frame));
  }

  void close() {
    Frame frame = std::move(frames_.back());
    frames_.pop_back();
    if (frame.key) fail(frame.mark, "a mapping ends after a key");
    if (frame.one_name) {
      const json::Array& names = frame.value.get_array();
      if (names.size() != 1 || !names.front().is_string())
        fail(frame.mark, "a Python tag is accepted around a list of one name only");
      frame.value = json::Value(names.front());
    }
    place(frame.mark, frame.anchor, std::move(frame.value), frame.weight);
  }

  void count(const YAML::Mark& mark, int64_t weight) {
    total_ += weight;
    if (total_ > kMaxWeight) fail(mark, "it expands to more than a recipe can hold; write aliases out");
  }

  void add(const YAML::Mark& mark, YAML::anchor_t anchor, json::Value value, int64_t weight) {
    count(mark, weight);
    place(mark, anchor, std::move(value), weight);
  }

  // Puts a finished node where it belongs.
  void place(const YAML::Mark& mark, YAML::anchor_t anchor, json::Value value, int64_t weight) {
    if (anchor != YAML::NullAnchor) anchors_[anchor] = {value, weight};
    if (frames_.empty()) {
      root_ = std::move(value);
      return;
    }
    Frame& parent = frames_.back();
    parent.weight += weight;
    if (parent.value.is_array()) {
      parent.value.get_array().push_back(std::move(value));
    } else if (!parent.key) {
      if (!value.is_string()) fail(mark, "a key must be a text");
      parent.key = std::string(value.get_string());
      if (*parent.key == "<<") fail(mark, "merge keys ('<<') are not accepted; write the fields out");
      if (parent.value.get_object().contains(*parent.key))
        fail(mark, str("the key '", printable(*parent.key), "' is given twice"));
    } else {
      parent.value.get_object()[*parent.key] = std::move(value);
      parent.key.reset();
    }
  }

  const std::string& where_;
  std::vector<Frame> frames_;
  std::map<YAML::anchor_t, std::pair<json::Value, int64_t>> anchors_;
  json::Value root_;
  int64_t total_ = 0;
};

// Well-formed UTF-8 without control characters but tabs and line ends.
bool is_text(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    if (lead < 0x80) {
      if ((lead < 0x20 && lead != '\t' && lead != '\n' && lead != '\r') || lead == 0x7F) return false;
      ++i;
      continue;
    }
    const size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return false;
    uint32_t point = lead & (0xFFU >> (length + 1));
    for (size_t k = 1; k < length; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xC0U) != 0x80U) return false;
      point = (point << 6) | (next & 0x3FU);
    }
    constexpr std::array<uint32_t, 5> kLeast = {0, 0, 0x80, 0x800, 0x10000};
    if (point < kLeast[length] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return false;
    i += length;
  }
  return true;
}

}  // namespace

std::optional<std::string_view> front_matter(std::string_view text) {
  const auto is_fence = [](std::string_view line) { return line.starts_with("---") || line.starts_with("+++"); };
  size_t begin = std::string_view::npos;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (is_fence(text.substr(at, end - at))) {
      if (begin != std::string_view::npos) return text.substr(begin, at - begin);
      begin = std::min(end + 1, text.size());
    }
    at = end + 1;
  }
  return std::nullopt;
}

json::Value parse_yaml(std::string_view text, const std::string& where) {
  if (text.size() > kMaxBytes) throw_input(str(where, ": larger than ", kMaxBytes >> 10, " KiB, which is too much"));
  if (!is_text(text)) throw_input(str(where, ": not UTF-8 text"));
  Builder builder(where);
  std::istringstream in{std::string(text)};
  try {
    YAML::Parser parser(in);
    if (!parser.HandleNextDocument(builder)) throw_input(str(where, ": empty"));
    Builder another(where);
    if (parser.HandleNextDocument(another)) throw_input(str(where, ": holds several YAML documents, expected one"));
  } catch (const YAML::Exception& error) {
    throw_input(str(where, ": line ", error.mark.line + 1, ": not YAML: ", printable(error.msg)));
  }
  return builder.take();
}

}  // namespace arkit
