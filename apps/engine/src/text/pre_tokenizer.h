#pragma once
// Pre-tokenizers of tokenizer.json: a chain of steps, each of which cuts (and may rewrite) the pieces of the one
// before.

#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include <arkit/json.h>

#include "text/effort.h"

namespace arkit::text {

struct Piece {
  std::string_view text;
  bool at_start = false;  // begins at offset 0 of the whole text
};
using PieceSink = std::function<void(Piece)>;

class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep();
  // Hands the parts of `piece` (not empty) on; they are only valid during the call. [thread-safe]
  virtual void split(Piece piece, const PieceSink& sink) const = 0;
};

// Pieces run through the chain one by one, so that a long text never exists as a list of pieces.
class PreTokenizer {
 public:
  // `spec` is the "pre_tokenizer" member, null = none. Throws ErrorCode::unsupported naming an unknown type.
  explicit PreTokenizer(const json::Value* spec);

  void split(Piece piece, Effort& effort, const PieceSink& sink) const { run(0, piece, effort, sink); }

  // The last step turns bytes into the byte alphabet. That is left to the model (BpeModel's bytes_in), which does it
  // once a word; pieces come out as raw bytes then.
  [[nodiscard]] bool bytes_out() const { return bytes_out_; }

 private:
  void run(size_t step, Piece piece, Effort& effort, const PieceSink& sink) const;

  std::vector<std::unique_ptr<PreTokenizerStep>> steps_;
  bool bytes_out_ = false;
};

}  // namespace arkit::text
