#pragma once
// Normalizers of tokenizer.json: text in, text out, before anything is split.

#include <memory>
#include <string>
#include <vector>

#include <arkit/json.h>

namespace arkit::text {

class Normalizer {
 public:
  virtual ~Normalizer();
  virtual void apply(std::string& piece) const = 0;  // valid UTF-8, not empty; stays valid
};

using Normalizers = std::vector<std::unique_ptr<Normalizer>>;

// The steps of the "normalizer" member in order, nested sequences flattened. Throws ErrorCode::unsupported naming an
// unknown type.
[[nodiscard]] Normalizers make_normalizers(const json::Value* spec);

void normalize(const Normalizers& steps, std::string& piece);

}  // namespace arkit::text
