#pragma once
// What one text may cost. The steps of a tokenizer.json run one after the other, and a few that each look harmless
// (a Replace of one character by ten, twenty times) multiply; so they are charged together, by the bytes they go
// through and make.

#include <cstddef>
#include <string>

namespace arkit::text {

// Most steps of a normalizer, pre-tokenizer or decoder; real files have up to ten.
constexpr size_t kMaxSteps = 64;

class Effort {
 public:
  // `bytes` is the length of the text. Real tokenizers go through ten times that.
  explicit Effort(size_t bytes) : bytes_(bytes), left_(kBase + kPerByte * bytes) {}
  // Throws ErrorCode::input naming tokenizer.json and the limit.
  void spend(size_t bytes) {
    if (bytes > left_) give_up();
    left_ -= bytes;
  }
  [[nodiscard]] size_t left() const { return left_; }

 private:
  static constexpr size_t kBase = size_t{4} << 20;
  static constexpr size_t kPerByte = 256;

  [[noreturn]] void give_up() const;

  size_t bytes_, left_;
};

// Throws ErrorCode::input when `count` is more than kMaxSteps. `what` names the component.
void check_steps(size_t count, const std::string& what);

}  // namespace arkit::text
