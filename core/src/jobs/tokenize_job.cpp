// `arkit tokenize`: the token ids of a text file, special tokens included as the model's tokenizer adds them.

#include <fstream>
#include <iterator>
#include <string>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/jobs.h>
#include <arkit/model_source.h>
#include <arkit/str.h>
#include <arkit/tokenizer.h>

#include "jobs/token_source.h"

namespace arkit {
namespace {

constexpr uintmax_t kMaxTextBytes = uintmax_t{1} << 30;

std::string read_text(const std::filesystem::path& file) {
  std::error_code error;
  const auto size = std::filesystem::file_size(file, error);
  if (error) throw_input(str("'", file.string(), "': cannot be read (", error.message(), ")"));
  if (size > kMaxTextBytes)
    throw_input(str("'", file.string(), "': has ", size, " bytes, at most ", kMaxTextBytes, " are accepted"));
  std::ifstream in(file, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in || text.size() != size) throw_input(str("'", file.string(), "': read error"));
  return text;
}

}  // namespace

json::Object tokenize(const std::string& model, const std::filesystem::path& text_file, const Registry& registry) {
  const std::string text = read_text(text_file);
  const auto source = open_source(model, registry);
  const auto tokenizer = tokenizer_of(*source);
  const auto ids = tokenizer.encode(without_byte_order_mark(text));
  json::Object result;
  result["model"] = model;
  result["file"] = text_file.string();
  result["bytes"] = static_cast<int64_t>(text.size());
  result["tokens"] = static_cast<int64_t>(ids.size());
  result["vocab_size"] = tokenizer.vocab_size();
  result["ids"] = json::Array(ids.begin(), ids.end());
  return result;
}

}  // namespace arkit
