#pragma once
// Decoders of tokenizer.json: a list of token strings becomes text.

#include <memory>
#include <string>
#include <vector>

#include <arkit/json.h>

#include "text/effort.h"

namespace arkit::text {

using TokenStrings = std::vector<std::string>;

class DecoderStep {
 public:
  virtual ~DecoderStep();
  // What it adds is charged to `effort`.
  [[nodiscard]] virtual TokenStrings apply(TokenStrings tokens, Effort& effort) const = 0;
};

class Decoder {
 public:
  // `spec` is the "decoder" member. Throws ErrorCode::unsupported naming an unknown type.
  explicit Decoder(const json::Value* spec);
  // Without a decoder tokens are joined with blanks, as the crate does.
  [[nodiscard]] std::string decode(TokenStrings tokens) const;

 private:
  std::vector<std::unique_ptr<DecoderStep>> steps_;
};

}  // namespace arkit::text
