#pragma once
// What a GGUF file says of where its model comes from, for what is made of it: another file has its keys, a folder a card
// (docs/spec/gguf-writing.md 3).

#include <optional>
#include <string>
#include <string_view>

#include <arkit/mapped_file.h>
#include <arkit/model_source.h>

#include "gguf_file.h"
#include "gguf_key_values.h"

namespace arkit::gguf {

// Keys of the file that a source is; none of folders.
class SourceKeys {
 public:
  explicit SourceKeys(const ModelSource& source);

  [[nodiscard]] bool is_file() const noexcept { return file_.has_value(); }
  // The text of a key, `otherwise` where the file has none that could be read.
  [[nodiscard]] std::string text_or(std::string_view key, std::string otherwise) const;
  // Author, licence, links, base models, data sets, tags, languages, as they are. What the new file says itself (name,
  // size, types, who quantized it) is not among them; neither are values that are no UTF-8.
  void carry_into(KeyValues& keys) const;

 private:
  std::optional<MappedFile> map_;
  std::optional<File> file_;
};

// The front matter of a model card: licence, base model, languages. Empty where a file says nothing of them.
[[nodiscard]] std::string card_of(const Metadata& metadata);

}  // namespace arkit::gguf
