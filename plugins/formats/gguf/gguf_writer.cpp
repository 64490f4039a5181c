#include "gguf_writer.h"

#include <limits>
#include <span>
#include <utility>

#include <arkit/error.h>
#include <arkit/str.h>

#include "gguf_parts.h"

namespace arkit::gguf {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kFixedHeader = 24;  // magic, version, two counts

// Those that say which part it is; the first has the model's own before them.
KeyValues keys_of_part(const KeyValues& keys, size_t number, size_t count, size_t tensors, int64_t alignment) {
  KeyValues own = number == 0 ? keys : KeyValues();
  if (count == 1) return own;
  if (number > 0 && alignment != kAlignment) own.put_u32("general.alignment", alignment);
  own.put_u16("split.no", static_cast<int64_t>(number));
  own.put_u16("split.count", static_cast<int64_t>(count));
  own.put_i32("split.tensors.count", static_cast<int64_t>(tensors));
  return own;
}

// What a part takes, whose header is padded as a whole.
struct Filling {
  int64_t keys, table = 0, data = 0, alignment;
  [[nodiscard]] int64_t bytes() const { return padded(kFixedHeader + keys + table, alignment) + data; }
  void add(const StoredTensor& tensor) {
    table += header_bytes(tensor);
    data += padded(tensor.bytes, alignment);
  }
};

[[noreturn]] void too_small(const CutRule& rule, const std::string& what, int64_t needed) {
  throw_usage(str(rule.option, ": ", what, " in one part takes ", needed, " bytes; give a size of at least that"));
}

}  // namespace

std::vector<size_t> cut(const KeyValues& keys, std::vector<StoredTensor> tensors, const CutRule& rule,
                        int64_t alignment) {
  lay_out(tensors, alignment);
  const int64_t most = rule.bytes.value_or(std::numeric_limits<int64_t>::max());
  const auto most_tensors = static_cast<size_t>(rule.tensors.value_or(std::numeric_limits<int64_t>::max()));
  const auto key_bytes = [&](size_t part, size_t count) {
    return static_cast<int64_t>(keys_of_part(keys, part, count, tensors.size(), alignment).bytes().size());
  };
  Filling whole{.keys = key_bytes(0, 1), .alignment = alignment};
  for (const StoredTensor& tensor : tensors) whole.add(tensor);
  if (whole.bytes() <= most && tensors.size() <= most_tensors) return {tensors.size()};

  Filling part{.keys = key_bytes(0, 2), .alignment = alignment};
  if (part.bytes() > most) too_small(rule, "what the model and its tokenizer say", part.bytes());
  std::vector<size_t> counts{0};
  for (const StoredTensor& tensor : tensors) {
    Filling with = part;
    with.add(tensor);
    if (with.bytes() > most || counts.back() == most_tensors) {
      counts.push_back(0);
      with = {.keys = key_bytes(1, 2), .alignment = alignment};
      with.add(tensor);
      if (with.bytes() > most) too_small(rule, str("tensor '", tensor.name, "'"), with.bytes());
    }
    part = with;
    ++counts.back();
  }
  if (counts.size() > static_cast<size_t>(kMostParts))
    throw_usage(str(rule.option, ": makes ", counts.size(), " parts, and at most ", kMostParts, " can be counted"));
  return counts;
}

int64_t bytes_of(const KeyValues& keys, std::vector<StoredTensor> tensors, const std::vector<size_t>& parts,
                 int64_t alignment) {
  int64_t bytes = 0;
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto own = std::span(tensors).subspan(first, parts[i]);
    bytes += lay_out(own, alignment);
    bytes += static_cast<int64_t>(
        header_of(keys_of_part(keys, i, parts.size(), tensors.size(), alignment), own, alignment).size());
    first += parts[i];
  }
  return bytes;
}

std::vector<std::string> Writer::names(const std::string& stem, size_t parts) {
  if (parts == 1) return {stem + ".gguf"};
  std::vector<std::string> names;
  for (size_t i = 1; i <= parts; ++i)
    names.push_back(part_name(stem, static_cast<int64_t>(i), static_cast<int64_t>(parts)));
  return names;
}

Writer::Writer(const fs::path& folder, const std::string& stem, const KeyValues& keys,
               std::vector<StoredTensor> tensors, const std::vector<size_t>& parts, int64_t alignment)
    : tensors_(std::move(tensors)) {
  const std::vector<std::string> names = Writer::names(stem, parts.size());
  size_t first = 0;
  for (size_t i = 0; i < parts.size(); ++i) {
    const auto own = std::span(tensors_).subspan(first, parts[i]);
    const int64_t data = lay_out(own, alignment);
    const std::string header =
        header_of(keys_of_part(keys, i, parts.size(), tensors_.size(), alignment), own, alignment);
    const auto data_at = static_cast<int64_t>(header.size());
    targets_.push_back({PartFile(folder / names[i]), data_at});
    targets_.back().file.reserve(data_at + data);
    targets_.back().file.write_at(0, header.data(), data_at);
    target_of_.insert(target_of_.end(), parts[i], i);
    bytes_ += data_at + data;
    first += parts[i];
  }
  ARKIT_CHECK(first == tensors_.size(), "parts of another list of tensors");
}

void Writer::write(size_t tensor, int64_t offset, const void* data, int64_t bytes) {
  Target& target = targets_[target_of_[tensor]];
  target.file.write_at(target.data_at + tensors_[tensor].offset + offset, data, bytes);
}

void Writer::publish() {
  for (Target& target : targets_) target.file.sync();
  // The first part comes last: whoever finds it finds all of them.
  for (auto target = targets_.rbegin(); target != targets_.rend(); ++target) target->file.commit();
  sync_folder(targets_.front().file.final_path().parent_path());
}

std::vector<fs::path> Writer::files() const {
  std::vector<fs::path> files;
  for (const Target& target : targets_) files.push_back(target.file.final_path());
  return files;
}

}  // namespace arkit::gguf
