#pragma once
// The head of a model from its first token to its last, in strips of the vocabulary.

#include <algorithm>
#include <cstdint>

#include <arkit/head_strips.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>

namespace arkit {

// Tokens of a strip, whose rows of the head take 32 MB in float32. The same whether the head is resident or not: a
// product cut otherwise may round otherwise.
[[nodiscard]] inline int64_t strip_tokens(int64_t hidden_size) {
  constexpr int64_t kElements = int64_t{1} << 23;
  return std::max<int64_t>(64, kElements / std::max<int64_t>(hidden_size, 1) / 64 * 64);
}

// call(first, count) for each strip.
template <typename Call>
void for_each_strip(int64_t vocab_size, int64_t hidden_size, const Call& call) {
  const int64_t tokens = strip_tokens(hidden_size);
  for (int64_t first = 0; first < vocab_size; first += tokens) {
    throw_if_interrupted();
    call(first, std::min(tokens, vocab_size - first));
  }
}

// Null where the family or this model's head has none.
[[nodiscard]] inline const HeadStrips* strips_of(const Model& model) {
  const auto* strips = dynamic_cast<const HeadStrips*>(&model);
  return strips != nullptr && strips->has_head_strips() ? strips : nullptr;
}

}  // namespace arkit
