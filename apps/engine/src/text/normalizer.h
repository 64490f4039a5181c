#pragma once
// Normalizers of tokenizer.json: text in, text out, before anything is split.

#include <memory>
#include <string>
#include <vector>

#include <arkit/json.h>

#include "text/effort.h"

namespace arkit::text {

class Normalizer {
 public:
  virtual ~Normalizer();
  // Valid UTF-8, not empty; stays valid. What it adds is charged to `effort`.
  virtual void apply(std::string& piece, Effort& effort) const = 0;
};

using Normalizers = std::vector<std::unique_ptr<Normalizer>>;

// The steps of the "normalizer" member in order, nested sequences flattened. Throws ErrorCode::unsupported naming an
// unknown type.
[[nodiscard]] Normalizers make_normalizers(const json::Value* spec);

void normalize(const Normalizers& steps, std::string& piece, Effort& effort);

}  // namespace arkit::text
