#pragma once
// An output that is held to a grammar: what may come next, token by token.

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include <arkit/engine/output_grammar.h>

namespace arkit {

class Constraint {
 public:
  Constraint() = default;  // anything may come
  // `ends`: tokens that end an output, allowed where the text is complete and nowhere else.
  Constraint(std::shared_ptr<const OutputGrammar> grammar, std::span<const int64_t> ends);

  // The logits, or a copy in which those of tokens that may not come are minus infinity; valid until the next call.
  // Throws ErrorCode::unsupported for a grammar that has become too ambiguous: those of schemas do not.
  [[nodiscard]] std::span<const float> allowed(std::span<const float> logits);
  // The token was picked. Throws ErrorCode::input for one that was not allowed, which only happens where no logit is a
  // number.
  void add(int64_t token);
  // Nothing may follow.
  [[nodiscard]] bool complete() const { return complete_; }

 private:
  void follow();  // after the state was made anew
  [[nodiscard]] bool is_end(int64_t token) const;

  std::shared_ptr<const OutputGrammar> grammar_;
  std::vector<int64_t> ends_, text_;
  uint64_t epoch_ = std::numeric_limits<uint64_t>::max();
  int32_t set_ = 0;
  bool complete_ = false;
  std::vector<float> masked_;
};

}  // namespace arkit
