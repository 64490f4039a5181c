#include <arkit/sdk/ste.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/group.h>

namespace arkit::sdk {

at::Tensor ste(const at::Tensor& x, const at::Tensor& value) {
  return x + (value - x).detach();
}

at::Tensor round_ste(const at::Tensor& x) {
  return ste(x, x.round());
}

at::Tensor to_groups(const at::Tensor& x, int64_t group_size, double pad) {
  const int64_t in = x.size(-1);
  const GroupShape shape = group_shape(in == 0 ? 0 : x.numel() / in, in, group_size);
  const at::Tensor rows = x.reshape({shape.out, in});
  const int64_t missing = shape.per_row * shape.group - in;
  return (missing == 0 ? rows : at::constant_pad_nd(rows, {0, missing}, pad)).reshape({shape.total(), shape.group});
}

at::Tensor from_groups(const at::Tensor& grouped, at::IntArrayRef sizes) {
  const int64_t in = sizes.back();
  int64_t rows = 1;
  for (const int64_t size : sizes.slice(0, sizes.size() - 1)) rows *= size;
  ARKIT_CHECK(rows > 0 && grouped.numel() % rows == 0, "grouped elements do not make whole rows");
  return grouped.reshape({rows, grouped.numel() / rows}).slice(1, 0, in).reshape(sizes);
}

}  // namespace arkit::sdk
