#include "gguf_parts.h"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <set>
#include <system_error>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kEnding = ".gguf";
constexpr size_t kDigits = 5;

// The digits at the end of `text`, five or more, which are taken off it; null = others, or none.
std::optional<int64_t> take_number(std::string_view& text) {
  const size_t begin = text.find_last_not_of("0123456789") + 1;
  const std::string_view digits = text.substr(begin);
  int64_t number = 0;
  const auto [rest, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.size() < kDigits || error != std::errc()) return std::nullopt;
  text.remove_suffix(digits.size());
  return number;
}

bool take_word(std::string_view& text, std::string_view word) {
  if (!text.ends_with(word)) return false;
  text.remove_suffix(word.size());
  return true;
}

std::string quoted_file(const fs::path& path) {
  return str("'", path.string(), "'");
}

// What the keys of a part say of its place among the others.
struct PartPlace {
  int64_t number, count;  // from 1
};
PartPlace part_place(const Metadata& metadata) {
  const int64_t count = metadata.integer("split.count").value_or(1);
  const int64_t number = metadata.integer("split.no").value_or(0);
  if (count < 0 || count > kMostParts || number < 0 || number >= std::max<int64_t>(count, 1))
    throw_input(str(metadata.file(), ": says that it is part ", number, " (from 0) of ", count,
                    ", which cannot be; copy it again"));
  return {number + 1, std::max<int64_t>(count, 1)};
}

// All parts but the first, which is there.
void open_others(Parts& parts, const fs::path& folder, const PartName& name) {
  for (int64_t number = 2; number <= name.count; ++number) {
    const fs::path path = folder / part_name(name.stem, number, name.count);
    std::error_code error;
    if (!fs::exists(path, error))
      throw_input(
          str(quoted_file(path), ": part ", number, " of ", name.count, " is missing; put all parts into one folder"));
    parts.maps.push_back(std::make_unique<MappedFile>(path));
    File file = parse_gguf(parts.maps.back()->bytes(), quoted_file(path));
    const PartPlace place = part_place(file.metadata);
    if (place.number != number || place.count != name.count)
      throw_input(str(quoted_file(path), ": says that it is part ", place.number, " of ", place.count,
                      ", and its name says ", number, " of ", name.count, "; it belongs to another model"));
    for (TensorEntry& tensor : file.tensors) {
      tensor.part = static_cast<size_t>(number - 1);
      parts.file.tensors.push_back(std::move(tensor));
    }
  }
}

void check_tensors(const Parts& parts) {
  const Metadata& metadata = parts.file.metadata;
  const auto count = static_cast<int64_t>(parts.file.tensors.size());
  if (const auto said = metadata.integer("split.tensors.count"); said && *said != count)
    throw_input(str(metadata.file(), ": says that all parts hold ", *said, " tensors, and they hold ", count,
                    "; one of them belongs to another model"));
  std::set<std::string_view> names;
  for (const TensorEntry& tensor : parts.file.tensors)
    if (!names.insert(tensor.name).second)
      throw_input(str(quoted_file(parts.map_of(tensor).path()), ": tensor '", printable(tensor.name),
                      "' is in another part, too; one of them belongs to another model"));
}

}  // namespace

std::string part_name(std::string_view stem, int64_t number, int64_t count) {
  char text[48];
  std::snprintf(text, sizeof(text), "-%05lld-of-%05lld", static_cast<long long>(number), static_cast<long long>(count));
  return str(stem, static_cast<const char*>(text), kEnding);
}

std::optional<PartName> read_part_name(std::string_view file_name) {
  std::string_view rest = file_name;
  if (!take_word(rest, kEnding)) return std::nullopt;
  const auto count = take_number(rest);
  if (!count || !take_word(rest, "-of-")) return std::nullopt;
  const auto number = take_number(rest);
  if (!number || !take_word(rest, "-") || *number < 1 || *number > *count || *count > kMostParts) return std::nullopt;
  return PartName{std::string(rest), *number, *count};
}

Parts::Parts(const fs::path& path) : file{.metadata = Metadata(quoted_file(path))} {
  maps.push_back(std::make_unique<MappedFile>(path));
  file = parse_gguf(maps.front()->bytes(), quoted_file(path));
}

Parts open_parts(const fs::path& path) {
  Parts parts(path);
  const PartPlace place = part_place(parts.file.metadata);
  if (place.count == 1) return parts;
  const auto name = read_part_name(path.filename().string());
  if (!name || name->number != place.number || name->count != place.count)
    throw_input(str(quoted_file(path), ": is part ", place.number, " of ", place.count,
                    ", and the others are not found by its name; expected a name such as '",
                    part_name("model", place.number, place.count), "'"));
  const fs::path folder = path.parent_path();
  if (place.number > 1) {
    const fs::path first = folder / part_name(name->stem, 1, name->count);
    std::error_code error;
    if (!fs::exists(first, error))
      throw_input(str(quoted_file(first), ": part 1 of ", name->count, " is missing; put all parts into one folder"));
    return open_parts(first);
  }
  open_others(parts, folder, *name);
  check_tensors(parts);
  return parts;
}

fs::path first_part_in(const fs::path& folder) {
  fs::path first;
  std::set<std::pair<std::string, int64_t>> models;
  std::error_code error;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(kEnding)) continue;
    const auto part = read_part_name(name);
    if (!part) return {};
    models.emplace(part->stem, part->count);
    if (part->number == 1) first = entry.path();
  }
  return models.size() == 1 ? first : fs::path();
}

}  // namespace arkit::gguf
