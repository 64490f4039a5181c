#include "util/finite.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/str.h>

#include "util/finite_kernels.h"

namespace arkit::io {
namespace {

constexpr int64_t kGrain = int64_t{1} << 18;  // elements a thread takes at least

// Flat index of the first hit, or n.
template <typename Word>
int64_t search(const at::Tensor& tensor, Word exponent) {
  const auto* data = static_cast<const Word*>(tensor.const_data_ptr());
  const int64_t n = tensor.numel();
  std::atomic<int64_t> first{n};
  at::parallel_for(0, n, kGrain, [&](int64_t begin, int64_t end) {
    if (begin >= first.load()) return;
    const auto size = static_cast<size_t>(end - begin);
    const size_t hit = first_non_finite(data + begin, size, exponent);
    if (hit == size) return;
    int64_t known = first.load();
    while (begin + static_cast<int64_t>(hit) < known &&
           !first.compare_exchange_weak(known, begin + static_cast<int64_t>(hit))) {
    }
  });
  return first.load();
}

int64_t first_hit(const at::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case at::kBFloat16:
      return search<uint16_t>(tensor, 0x7F80);
    case at::kHalf:
      return search<uint16_t>(tensor, 0x7C00);
    case at::kFloat:
      return search<uint32_t>(tensor, 0x7F800000);
    case at::kDouble:
      return search<uint64_t>(tensor, 0x7FF0000000000000);
    default:
      return tensor.numel();
  }
}

// "[3, 17]"
std::string position(int64_t flat, at::IntArrayRef shape) {
  std::string out;
  for (size_t d = shape.size(); d-- > 0; flat /= shape[d])
    out = std::to_string(d == 0 ? flat : flat % shape[d]) + (out.empty() ? "" : ", ") + out;
  return "[" + out + "]";
}

}  // namespace

bool is_finite(const at::Tensor& tensor) {
  const at::Tensor plain = tensor.contiguous();
  return first_hit(plain) == plain.numel();
}

void check_finite(const at::Tensor& tensor, std::string_view name, int64_t first_row) {
  const at::Tensor plain = tensor.contiguous();
  const int64_t hit = first_hit(plain);
  if (hit == plain.numel()) return;
  const int64_t before = first_row == 0 ? 0 : first_row * (plain.numel() / plain.size(0));
  throw_input(str("tensor '", printable(name), "': element ", position(before + hit, plain.sizes()), " is ",
                  plain.view(-1)[hit].item<double>(),
                  ", expected finite weights; the checkpoint is damaged, copy it again"));
}

}  // namespace arkit::io
