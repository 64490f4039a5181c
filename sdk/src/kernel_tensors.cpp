#include <arkit/sdk/kernel_tensors.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {

Dtype dtype_of(const at::Tensor& tensor, const char* what) {
  if (tensor.scalar_type() == at::kFloat) return Dtype::f32;
  if (tensor.scalar_type() == at::kBFloat16) return Dtype::bf16;
  ARKIT_CHECK(tensor.scalar_type() == at::kHalf,
              str(what, " must be f32, bf16 or f16, it is ", at::toString(tensor.scalar_type())));
  return Dtype::f16;
}

const float* f32_data(const at::Tensor& tensor, int64_t numel, const char* what) {
  if (!tensor.defined()) return nullptr;
  ARKIT_CHECK(tensor.scalar_type() == at::kFloat && tensor.is_contiguous() && tensor.numel() == numel,
              str(what, " must be contiguous f32 with ", numel, " elements, it has ", tensor.numel()));
  return tensor.const_data_ptr<float>();
}

}  // namespace arkit::sdk
