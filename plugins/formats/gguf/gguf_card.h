#pragma once
// What the model card of a source says that files carry along: licence, base models, tags, languages
// (docs/spec/gguf-writing.md 3).

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/model_source.h>

#include "gguf_key_values.h"

namespace arkit::gguf {

// The scalars and plain lists of a card's front matter, the lines between two "---": key -> values. Other YAML is passed
// over, and so are keys whose values are no UTF-8.
[[nodiscard]] std::map<std::string, std::vector<std::string>, std::less<>> read_front_matter(std::string_view card);

// Keys of the README.md in the source's folder; none where there is no such file.
void put_card_keys(KeyValues& keys, const ModelSource& source);

}  // namespace arkit::gguf
