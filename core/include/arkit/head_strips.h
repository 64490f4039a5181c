#pragma once
// A side of a Model that is optional: its head, applied to a part of the vocabulary at a time. A head of 152,000 x 896
// takes 545 MB in float32; in strips it takes what one of them does. Callers ask for it with dynamic_cast.

#include <cstdint>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/model_adapter.h>

namespace arkit {

class ARKIT_EXPORT HeadStrips {
 public:
  virtual ~HeadStrips();
  // False where the head is packed: it then comes in one piece, from Model::logits. Valid after load_rest.
  [[nodiscard]] virtual bool has_head_strips() const = 0;
  // Rows first .. first + count - 1 of the head in the model's dtype. Cut from the converted head where Model::head()
  // has made one, else converted for this call.
  [[nodiscard]] virtual Linear head_strip(int64_t first, int64_t count) const = 0;
  // What Model::logits gives for the tokens of the strip: [..., count].
  [[nodiscard]] virtual at::Tensor strip_logits(const at::Tensor& hidden, const Linear& strip,
                                                BlockHook& hook) const = 0;
};

}  // namespace arkit
