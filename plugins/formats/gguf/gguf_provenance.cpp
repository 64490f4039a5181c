#include "gguf_provenance.h"

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_tool.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr std::array<std::string_view, 11> kCarried{"general.author",  "general.organization", "general.description",
                                                    "general.license", "general.license.name", "general.license.link",
                                                    "general.url",     "general.doi",          "general.repo_url",
                                                    "general.tags",    "general.languages"};
constexpr std::array<std::string_view, 3> kCarriedGroups{"general.source.", "general.base_model.", "general.dataset."};
constexpr std::string_view kHub = "https://huggingface.co/";

bool is_carried(std::string_view key) {
  return std::find(kCarried.begin(), kCarried.end(), key) != kCarried.end() ||
         std::any_of(kCarriedGroups.begin(), kCarriedGroups.end(), [&](auto group) { return key.starts_with(group); });
}

template <typename Read>
auto readable(const Read& read) -> decltype(read()) {
  try {
    return read();
  } catch (const Error&) {
    return {};
  }
}

std::string text_in(const Metadata& metadata, std::string_view key) {
  return readable([&] { return metadata.text(key); }).value_or("");
}

// A number, a text or texts, all of it UTF-8.
bool is_readable(const Metadata& metadata, const std::string& key, const Value& value) {
  if (value.type == ValueType::array) return !readable([&] { return metadata.texts(key); }).empty();
  return value.type != ValueType::string || !text_in(metadata, key).empty();
}

// In quotes; nothing for what would need more than them.
std::string scalar_line(std::string_view key, std::string_view value) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return static_cast<unsigned char>(c) >= ' ' && c != '"' && c != '\\' && c != '\x7f';
  });
  return plain ? str(key, "\"", value, "\"\n") : std::string();
}

// "owner/name" of the first base model.
std::string base_model(const Metadata& metadata) {
  const std::string prefix = "general.base_model.0.", name = text_in(metadata, prefix + "name");
  const std::string repo = text_in(metadata, prefix + "repo_url"), owner = text_in(metadata, prefix + "organization");
  if (repo.starts_with(kHub)) return repo.substr(kHub.size());
  return owner.empty() || name.empty() ? name : str(owner, "/", name);
}

}  // namespace

SourceKeys::SourceKeys(const ModelSource& source) {
  std::error_code error;
  if (source.path().extension() != ".gguf" || !fs::is_regular_file(source.path(), error)) return;
  map_.emplace(source.path());
  file_.emplace(parse_gguf(map_->bytes(), str("'", source.path().string(), "'")));
}

std::string SourceKeys::text_or(std::string_view key, std::string otherwise) const {
  std::string text = file_ ? text_in(file_->metadata, key) : std::string();
  return text.empty() ? std::move(otherwise) : text;
}

void SourceKeys::carry_into(KeyValues& keys) const {
  if (!file_) return;
  for (const auto& [key, value] : pairs_of(file_->metadata))
    if (is_carried(key) && is_readable(file_->metadata, key, value)) keys.put(key, value);
}

std::string card_of(const Metadata& metadata) {
  std::string lines;
  constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kLicence{
      {{"license: ", "general.license"},
       {"license_name: ", "general.license.name"},
       {"license_link: ", "general.license.link"}}};
  for (const auto& [name, key] : kLicence) lines += scalar_line(name, text_in(metadata, key));
  lines += scalar_line("base_model: ", base_model(metadata));
  std::string languages;
  for (const std::string_view language : readable([&] { return metadata.texts("general.languages"); }))
    languages += scalar_line("- ", language);
  if (!languages.empty()) lines += "language:\n" + languages;
  return lines.empty() ? lines : str("---\n", lines, "---\n");
}

}  // namespace arkit::gguf
