#include "gguf_card.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include <arkit/input_file.h>
#include <arkit/str.h>

#include "utf8.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr uintmax_t kMostCardBytes = uintmax_t{4} << 20;
constexpr size_t kMostValues = 1000, kMostValueBytes = 4000;

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1);
}

// A scalar without its quotes and without the comment behind it.
std::string scalar_text(std::string_view text) {
  text = trimmed(text);
  if (text.size() >= 2 && (text.front() == '"' || text.front() == '\'')) {
    const size_t end = text.find(text.front(), 1);
    return end == std::string_view::npos ? std::string() : std::string(text.substr(1, end - 1));
  }
  if (const size_t comment = text.find(" #"); comment != std::string_view::npos)
    text = trimmed(text.substr(0, comment));
  return std::string(text);
}

bool is_plain(std::string_view value) {
  return !value.empty() && value.size() <= kMostValueBytes && is_utf8(value) && value.front() != '{' &&
         value.front() != '|' && value.front() != '>' && value.front() != '&' && value.front() != '*';
}

void add_value(std::vector<std::string>& values, std::string_view text) {
  std::string value = scalar_text(text);
  if (is_plain(value) && values.size() < kMostValues) values.push_back(std::move(value));
}

}  // namespace

std::map<std::string, std::vector<std::string>, std::less<>> read_front_matter(std::string_view card) {
  std::map<std::string, std::vector<std::string>, std::less<>> found;
  std::vector<std::string>* list = nullptr;
  bool inside = false;
  for (const std::string& line : split(card, '\n')) {
    const std::string_view text = trimmed(line);
    if (text == "---") {
      if (inside) return found;
      inside = true;
      continue;
    }
    if (!inside) return {};  // no front matter
    if (text.starts_with("- ") && list != nullptr) {
      add_value(*list, text.substr(2));
      continue;
    }
    if (text.empty() || text.front() == '#') continue;
    const size_t colon = line.find(':');
    list = nullptr;
    if (colon == std::string::npos || line.front() == ' ' || line.front() == '-') continue;  // deeper YAML
    std::vector<std::string>& values = found[std::string(trimmed(line.substr(0, colon)))];
    const std::string rest(trimmed(std::string_view(line).substr(colon + 1)));
    if (rest.empty())
      list = &values;
    else if (rest.front() == '[' && rest.back() == ']')
      for (const std::string& item : split(std::string_view(rest).substr(1, rest.size() - 2), ','))
        add_value(values, item);
    else
      add_value(values, rest);
  }
  return {};  // without an end it is none
}

void put_card_keys(KeyValues& keys, const ModelSource& source) {
  std::error_code error;
  const fs::path card = source.path() / "README.md";
  if (!fs::is_directory(source.path(), error) || !fs::is_regular_file(card, error) ||
      fs::file_size(card, error) > kMostCardBytes)
    return;
  const auto said = read_front_matter(read_input_file(card, static_cast<int64_t>(kMostCardBytes)));
  const auto all = [&](std::string_view name) {
    const auto values = said.find(name);
    return values == said.end() ? std::vector<std::string>() : values->second;
  };
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kLicence{
      {{"license", "general.license"},
       {"license_name", "general.license.name"},
       {"license_link", "general.license.link"}}};
  for (const auto& [name, key] : kLicence)
    if (const auto values = all(name); !values.empty()) keys.put_text(key, values.front());
  const std::vector<std::string> bases = all("base_model");
  if (!bases.empty()) keys.put_u32("general.base_model.count", static_cast<int64_t>(bases.size()));
  for (size_t i = 0; i < bases.size(); ++i) {
    const std::string prefix = str("general.base_model.", i, ".");
    const size_t slash = bases[i].find('/');
    keys.put_text(prefix + "name", slash == std::string::npos ? bases[i] : bases[i].substr(slash + 1));
    if (slash == std::string::npos) continue;
    keys.put_text(prefix + "organization", bases[i].substr(0, slash));
    keys.put_text(prefix + "repo_url", "https://huggingface.co/" + bases[i]);
  }
  std::vector<std::string> tags = all("tags");
  for (const std::string& tag : all("pipeline_tag"))
    if (std::find(tags.begin(), tags.end(), tag) == tags.end()) tags.push_back(tag);
  keys.put_texts("general.tags", tags);
  keys.put_texts("general.languages", all("language"));
}

}  // namespace arkit::gguf
