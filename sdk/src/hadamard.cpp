#include <arkit/sdk/hadamard.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <random>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/sdk/fixed_product.h>
#include <arkit/str.h>

#include "hadamard_orders.h"
#include "walsh_kernels.h"

namespace arkit {
namespace {

// The reference looks for the first that fits in this order.
constexpr std::array<int64_t, 11> kReferenceOrders = {172, 156, 140, 108, 60, 52, 40, 36, 28, 20, 12};
constexpr int64_t kLargestOrder = 256;
constexpr int64_t kElementsOfTask = 1 << 15;  // a thread's least work

bool is_power_of_two(int64_t n) {
  return n > 0 && std::has_single_bit(static_cast<uint64_t>(n));
}

// (-1)^popcount(i & j), the order being a power of two.
at::Tensor sylvester(int64_t order) {
  at::Tensor h = at::ones({1, 1}, at::kChar);
  while (h.size(0) < order) h = at::cat({at::cat({h, h}, 1), at::cat({h, -h}, 1)}, 0);
  return h;
}

std::optional<int64_t> reference_factor(int64_t size) {
  if (is_power_of_two(size)) return 1;
  for (const int64_t order : kReferenceOrders)
    if (size % order == 0 && is_power_of_two(size / order)) return order;
  return std::nullopt;
}

// scale * x S_n for x [rows, n], contiguous; a new tensor.
at::Tensor sylvester_transform(const at::Tensor& x, double scale) {
  const int64_t rows = x.size(0), n = x.size(1);
  at::Tensor out = at::empty_like(x);
  const auto run = [&]<typename T>(T factor) {
    const T* from = x.const_data_ptr<T>();
    T* to = out.mutable_data_ptr<T>();
    at::parallel_for(0, rows, std::max<int64_t>(1, kElementsOfTask / n), [&](int64_t begin, int64_t end) {
      rotation::kernels::walsh_transform(from + begin * n, to + begin * n, end - begin, n, factor);
    });
  };
  if (x.scalar_type() == at::kDouble)
    run(scale);
  else
    run(static_cast<float>(scale));
  return out;
}

// The same inside an autograd graph. S_n is symmetric, so the gradient takes the same way back.
struct SylvesterProduct : torch::autograd::Function<SylvesterProduct> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, double scale) {
    context->saved_data["scale"] = scale;
    return sylvester_transform(x, scale);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    return {sylvester_transform(gradients[0].contiguous(), context->saved_data["scale"].toDouble()), at::Tensor()};
  }
};

at::ScalarType compute_type(const at::Tensor& x) {
  return x.scalar_type() == at::kDouble ? at::kDouble : at::kFloat;
}

class MatrixRotation final : public InputRotation {
 public:
  explicit MatrixRotation(at::Tensor matrix) : matrix_(std::move(matrix)) {}
  [[nodiscard]] int64_t size() const override { return matrix_.size(0); }
  [[nodiscard]] at::Tensor apply(const at::Tensor& x) const override {
    const at::ScalarType type = compute_type(x);
    const at::Tensor blocks = x.reshape({-1, size()}).to(type);
    if (FixedOrder::active() && type == at::kFloat)
      return fixed_linear(blocks, single_.t(), {}).to(x.scalar_type()).reshape(x.sizes());
    return at::matmul(blocks, type == at::kDouble ? matrix_ : single_).to(x.scalar_type()).reshape(x.sizes());
  }

 private:
  at::Tensor matrix_;  // float64
  at::Tensor single_ = matrix_.to(at::kFloat);
};

}  // namespace

bool has_hadamard(int64_t order) {
  return is_power_of_two(order) || rotation::construct_hadamard(order).has_value();
}

at::Tensor hadamard_signs(int64_t order) {
  if (is_power_of_two(order)) return sylvester(order);
  const auto signs = rotation::construct_hadamard(order);
  if (!signs)
    throw_unsupported(str("no Hadamard matrix of order ", order,
                          " is known to arkit; orders are powers of two and most multiples of 4 up to 256"));
  return at::tensor(at::ArrayRef<int8_t>(*signs), at::kChar).reshape({order, order});
}

std::optional<int64_t> hadamard_factor(int64_t size) {
  if (const auto factor = reference_factor(size)) return factor;
  for (int64_t order = kLargestOrder; order >= 12; order -= 4)
    if (size > 0 && size % order == 0 && is_power_of_two(size / order) && has_hadamard(order)) return order;
  return std::nullopt;
}

bool is_reference_hadamard(int64_t size) {
  return reference_factor(size).has_value();
}

HadamardRotation::HadamardRotation(int64_t size, std::optional<uint64_t> seed) : size_(size) {
  const auto factor = hadamard_factor(size);
  if (!factor)
    throw_unsupported(str("no Hadamard rotation of size ", size,
                          " is known to arkit: it is not K * 2^m with K = 1 or an "
                          "order up to 256; rotate in blocks of a power of two that divides it"));
  factor_ = *factor;
  if (factor_ > 1) outer_ = hadamard_signs(factor_).to(at::kDouble);
  if (!seed) return;
  std::mt19937_64 random(*seed);
  random_ = at::empty({size}, at::kDouble);
  for (int64_t i = 0; i < size; ++i) random_.data_ptr<double>()[i] = (random() >> 63) != 0 ? 1.0 : -1.0;
}

at::Tensor HadamardRotation::transform(at::Tensor x) const {
  const int64_t inner = size_ / factor_;
  x = SylvesterProduct::apply(x.reshape({-1, inner}).contiguous(), 1.0 / std::sqrt(static_cast<double>(size_)));
  if (outer_.defined()) {
    x = x.reshape({-1, factor_, inner});
    x = FixedOrder::active() && x.scalar_type() == at::kFloat
            ? fixed_linear(x.transpose(1, 2), outer_.to(at::kFloat), {}).transpose(1, 2)
            : at::matmul(outer_.to(x.scalar_type()), x);
  }
  return x.reshape({-1, size_});
}

at::Tensor HadamardRotation::apply(const at::Tensor& x) const {
  ARKIT_CHECK(x.dim() > 0 && x.size(-1) % size_ == 0,
              str("a rotation of size ", size_, " does not divide ", x.size(-1), " features"));
  at::Tensor blocks = x.reshape({-1, size_}).to(compute_type(x));
  if (random_.defined()) blocks = blocks * random_.to(blocks.scalar_type());
  return transform(std::move(blocks)).to(x.scalar_type()).reshape(x.sizes());
}

at::Tensor HadamardRotation::signs() const {
  return apply(at::eye(size_, at::kDouble)).sign().to(at::kChar);
}

std::shared_ptr<const InputRotation> matrix_rotation(const at::Tensor& matrix, const std::string& what) {
  const bool square = matrix.dim() == 2 && matrix.size(0) == matrix.size(1) && matrix.size(0) > 0;
  if (!square) throw_input(arkit::str(what, ": is ", matrix.sizes(), ", expected a square matrix"));
  const int64_t n = matrix.size(0);
  at::Tensor r = matrix.to(at::kDouble);
  if (matrix.scalar_type() == at::kChar) r = r / std::sqrt(static_cast<double>(n));
  constexpr double kTolerance = 1e-2;  // bf16 entries
  const double off = at::matmul(r, r.t()).sub(at::eye(n, at::kDouble)).abs().max().item<double>();
  if (!(off < kTolerance)) throw_input(str(what, ": is not orthogonal (R R^T differs from 1 by ", off, ")"));
  return std::make_shared<MatrixRotation>(std::move(r));
}

}  // namespace arkit
