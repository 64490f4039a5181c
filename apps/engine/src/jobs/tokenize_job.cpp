// `arkit tokenize`: the token ids of a text file, special tokens included as the model's tokenizer adds them.

#include <string>

#include <arkit/engine/reported_jobs.h>
#include <arkit/engine/tokenizer.h>

#include "jobs/token_source.h"

namespace arkit {

json::Object tokenize(const std::string& model, const std::filesystem::path& text_file, const Registry& registry) {
  Reporter nobody;
  return tokenize(model, text_file, registry, nobody);
}

json::Object tokenize(const std::string& model, const std::filesystem::path& text_file, const Registry& registry,
                      Reporter& reporter) {
  const std::string text = read_text_file(text_file);
  const Tokenizer tokenizer = tokenizer_in(model, registry, reporter);
  const auto ids = tokenizer.encode(text);
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
