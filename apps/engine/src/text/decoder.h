#pragma once
// Decoders of tokenizer.json: a list of token strings becomes text.

#include <memory>
#include <optional>
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
  // What becomes of a token amid others, as bytes: of one that holds a part of a character, too. False where that
  // depends on the others. `joined`: a step before has made one text of all tokens, and this one sees its ends alone.
  [[nodiscard]] virtual bool to_bytes(std::string& token, bool& joined) const = 0;
};

class Decoder {
 public:
  // `spec` is the "decoder" member. Throws ErrorCode::unsupported naming an unknown type.
  explicit Decoder(const json::Value* spec);
  // Without a decoder tokens are joined with blanks, as the crate does.
  [[nodiscard]] std::string decode(TokenStrings tokens) const;
  // What a token adds to a text that has begun, as bytes; nullopt where that depends on the tokens around it.
  [[nodiscard]] std::optional<std::string> bytes_of(std::string token) const;

 private:
  std::vector<std::unique_ptr<DecoderStep>> steps_;
};

}  // namespace arkit::text
