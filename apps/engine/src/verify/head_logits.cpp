#include "verify/head_logits.h"

#include <ATen/ATen.h>

#include "inference/head_walk.h"

namespace arkit {

at::Tensor head_logits(const Model& model, const at::Tensor& hidden, BlockHook& hook, bool whole) {
  const HeadStrips* strips = whole ? nullptr : strips_of(model);
  if (strips == nullptr) return model.logits(hidden, hook);
  std::vector<int64_t> shape = hidden.sizes().vec();
  shape.back() = model.vocab_size();
  at::Tensor logits = at::empty(shape, hidden.options());
  for_each_strip(model.vocab_size(), model.hidden_size(), [&](int64_t first, int64_t count) {
    logits.narrow(-1, first, count).copy_(strips->strip_logits(hidden, strips->head_strip(first, count), hook));
  });
  return logits;
}

}  // namespace arkit
