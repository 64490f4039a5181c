#include "autoscheme/score_sums.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>

#include "autoscheme/score_kernels.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kPart = 64 * kernels::kChunk;

// Sum of part(first, count) over [0, n), part by part.
template <typename Part>
double sum_of_parts(int64_t n, const Part& part) {
  std::vector<double> sums(static_cast<size_t>((n + kPart - 1) / kPart));
  at::parallel_for(0, static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sums[static_cast<size_t>(i)] = part(i * kPart, std::min(kPart, n - i * kPart));
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

void check_alike(const at::Tensor& a, const at::Tensor& b) {
  ARKIT_CHECK(a.numel() == b.numel() && a.is_contiguous() && b.is_contiguous(), "sums need dense tensors of one size");
}

template <typename T>
const T* data(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <typename Float, typename Half>
double by_dtype(const at::Tensor& w, const at::Tensor& q, const Float& floats, const Half& halves) {
  ARKIT_CHECK(w.scalar_type() == q.scalar_type(), "sums need tensors of one dtype");
  if (w.scalar_type() == at::kFloat) return sum_of_parts(w.numel(), floats);
  ARKIT_CHECK(w.scalar_type() == at::kBFloat16, "sums are over f32 or bf16");
  return sum_of_parts(w.numel(), halves);
}

using kernels::BFloat16;

}  // namespace

void add_squares(const at::Tensor& g, at::Tensor& f) {
  check_alike(g, f);
  const auto* from = data<float>(g);
  auto* to = f.mutable_data_ptr<float>();
  at::parallel_for(0, g.numel(), kPart,
                   [&](int64_t begin, int64_t end) { kernels::add_squares(from + begin, end - begin, to + begin); });
}

double weighted_squared_error(const at::Tensor& f, const at::Tensor& w, const at::Tensor& q) {
  check_alike(f, w);
  check_alike(w, q);
  const auto sum = [&]<typename T>(const T* from, const T* back) {
    return [=, weights = data<float>(f)](int64_t at, int64_t n) {
      return kernels::weighted_squared_error(weights + at, from + at, back + at, n);
    };
  };
  return by_dtype(w, q, sum(data<float>(w), data<float>(q)), sum(data<BFloat16>(w), data<BFloat16>(q)));
}

double absolute_products(const at::Tensor& g, const at::Tensor& w, const at::Tensor& q) {
  check_alike(g, w);
  check_alike(w, q);
  const auto sum = [&]<typename T>(const T* from, const T* back) {
    return [=, gradient = data<float>(g)](int64_t at, int64_t n) {
      return kernels::absolute_products(gradient + at, from + at, back + at, n);
    };
  };
  return by_dtype(w, q, sum(data<float>(w), data<float>(q)), sum(data<BFloat16>(w), data<BFloat16>(q)));
}

double squared_products(const at::Tensor& g, const at::Tensor& x, const at::Tensor& q) {
  check_alike(g, x);
  check_alike(x, q);
  ARKIT_CHECK(g.scalar_type() == x.scalar_type(), "sums need tensors of one dtype");
  const auto sum = [&]<typename T>(const T* gradient, const T* from, const T* back) {
    return [=](int64_t at, int64_t n) { return kernels::squared_products(gradient + at, from + at, back + at, n); };
  };
  return by_dtype(x, q, sum(data<float>(g), data<float>(x), data<float>(q)),
                  sum(data<BFloat16>(g), data<BFloat16>(x), data<BFloat16>(q)));
}

}  // namespace arkit::auto_scheme
