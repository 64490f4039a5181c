#include "gguf_options.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

namespace arkit::gguf {
namespace {

constexpr std::array<std::string_view, 6> kNames{"type_rules",         "tensor_type",          "tensor_type_file",
                                                 "output_tensor_type", "token_embedding_type", "split_max_size"};
constexpr std::array kPlain{TensorType::f32, TensorType::f16, TensorType::bf16};
constexpr int64_t kMostFileBytes = int64_t{8} << 20;

std::string name_of_type(TensorType type) {
  return lower(std::string(find_type(static_cast<uint32_t>(type))->name));
}

// "q4_k", "Q4_K", "bf16".
TensorType type_named(std::string_view text, const std::string& where) {
  const std::string wanted = lower(text);
  std::vector<std::string> known;
  for (const TensorType type : kPlain) known.push_back(name_of_type(type));
  for (const std::string_view name : sdk::block_type_names()) known.emplace_back(name);
  for (uint32_t id = 0; id < 64; ++id)
    if (const TypeInfo* info = find_type(id); info != nullptr && lower(std::string(info->name)) == wanted)
      if (std::find(known.begin(), known.end(), wanted) != known.end()) return info->type;
  throw_usage(str(where, ": ", unknown_name("tensor type", text, known, "known are " + quoted_list(known))));
}

// llama-quantize takes names in either case, and names of tensors are in lower case. What stands behind a backslash is
// no name: \D is not \d.
std::string in_lower_case(std::string_view regex) {
  std::string out;
  bool escaped = false;
  for (const char c : regex) {
    out += !escaped && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    escaped = !escaped && c == '\\';
  }
  return out;
}

TypeWish wish_of(const std::string& text, const std::string& where) {
  const size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size())
    throw_usage(str(where, ": '", printable(text), "' is not REGEX=TYPE, as in 'ffn_down=q6_k'"));
  const std::string what = str(where, " '", printable(text), "'");
  return {text, Regex(in_lower_case(std::string_view(text).substr(0, equals)), what),
          type_named(std::string_view(text).substr(equals + 1), what)};
}

void read_wishes(const std::string& file, std::vector<TypeWish>& wishes) {
  const std::string text = read_input_file(file, kMostFileBytes);
  const std::string where = str("'", printable(file), "'");
  constexpr std::string_view kBlanks = " \t\r\n\v\f";
  for (size_t at = 0; (at = text.find_first_not_of(kBlanks, at)) != std::string::npos;) {
    const size_t end = std::min(text.find_first_of(kBlanks, at), text.size());
    wishes.push_back(wish_of(text.substr(at, end - at), where));
    at = end;
  }
}

int64_t part_size(const std::string& text) {
  int64_t bytes = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), bytes);
  if (error != std::errc() || rest != text.data() + text.size() || bytes <= 0)
    throw_usage(str("--split_max_size: '", printable(text), "' is no number of bytes"));
  return bytes;
}

}  // namespace

std::optional<TensorType> FileOptions::wish_for(std::string_view tensor, bool is_head) const {
  if (embedding && tensor == "token_embd.weight") return embedding;
  if (output && tensor == "output.weight") return output;
  for (const TypeWish& wish : wishes)
    if (wish.regex.search(tensor)) return wish.type;
  return is_head ? output : std::nullopt;
}

std::span<const std::string_view> file_option_names() {
  return kNames;
}

FileOptions read_file_options(const FormatWords& words) {
  FileOptions options;
  const auto last = [&](std::string_view name) -> const std::string* {
    const auto given = words.find(name);
    return given == words.end() || given->second.empty() ? nullptr : &given->second.back();
  };
  if (const std::string* rules = last("type_rules")) {
    const auto found = find_rules(*rules);
    if (!found) throw_usage(str("--type_rules: '", printable(*rules), "' is not one of 'llama.cpp', 'auto_round'"));
    options.rules = *found;
  }
  if (const auto given = words.find("tensor_type"); given != words.end())
    for (const std::string& text : given->second) options.wishes.push_back(wish_of(text, "--tensor_type"));
  if (const std::string* file = last("tensor_type_file")) read_wishes(*file, options.wishes);
  if (const std::string* type = last("output_tensor_type")) options.output = type_named(*type, "--output_tensor_type");
  if (const std::string* type = last("token_embedding_type"))
    options.embedding = type_named(*type, "--token_embedding_type");
  if (const std::string* size = last("split_max_size")) options.part_bytes = part_size(*size);
  return options;
}

std::optional<sdk::BlockType> block_type_of(TensorType type) {
  return sdk::find_block_type(name_of_type(type));
}

}  // namespace arkit::gguf
