#include "tuning/gemm.h"

#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>

#include <arkit/error.h>
#include <arkit/fixed_order.h>
#include <arkit/inference_backend.h>
#include <arkit/sdk/fixed_product.h>
#include <arkit/str.h>

#include "tuning/gemm_onednn.h"
#include "util/cpu_limit.h"

namespace arkit {
namespace {

std::atomic<GemmLibrary> g_library{GemmLibrary::automatic};

onednn::Type onednn_type(at::ScalarType dtype) {
  return dtype == at::kFloat ? onednn::Type::f32 : onednn::Type::bf16;
}

// The module's function, or null when it is not installed or cannot be loaded. Never closed: it may own threads.
onednn::Multiply onednn_multiply() {
#ifdef __SANITIZE_ADDRESS__
  return nullptr;  // AddressSanitizer refuses RTLD_DEEPBIND
#else
  static const onednn::Multiply entry = [] {
    void* module = dlopen(onednn::kModule, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    return module == nullptr ? nullptr : reinterpret_cast<onednn::Multiply>(dlsym(module, onednn::kEntry));
  }();
  return entry;
#endif
}

constexpr int64_t kFixedWidth = 256;  // of a strip when results must not depend on the number of threads

// c [m, n] = op(a) op(b); op transposes when told so.
struct Factors {
  const at::Tensor &a, &b;
  bool trans_a, trans_b;
  [[nodiscard]] at::Tensor left() const { return trans_a ? a.t() : a; }
  [[nodiscard]] at::Tensor right() const { return trans_b ? b.t() : b; }
  [[nodiscard]] int64_t m() const { return a.size(trans_a ? 1 : 0); }
  [[nodiscard]] int64_t n() const { return b.size(trans_b ? 0 : 1); }
  [[nodiscard]] int64_t k() const { return a.size(trans_a ? 0 : 1); }
  [[nodiscard]] int64_t longer() const { return std::max(m(), n()); }
};

// A strip of c: `count` of its rows or columns.
struct Strip {
  bool of_rows;
  int64_t first, count;
};

std::byte* moved(const at::Tensor& x, int64_t elements) {
  return static_cast<std::byte*>(x.data_ptr()) + elements * static_cast<int64_t>(x.element_size());
}

void onednn_strip(const Factors& f, at::Tensor& c, const Strip& strip) {
  const int64_t lda = f.a.size(1), ldb = f.b.size(1), n = f.n();
  onednn::Product product{.m = f.m(),
                          .n = n,
                          .k = f.k(),
                          .lda = lda,
                          .ldb = ldb,
                          .ldc = n,
                          .trans_a = f.trans_a,
                          .trans_b = f.trans_b,
                          .in = onednn_type(f.a.scalar_type()),
                          .out = onednn_type(c.scalar_type())};
  int64_t a = 0, b = 0, to = strip.first;
  if (strip.of_rows) {
    product.m = strip.count;
    a = f.trans_a ? strip.first : strip.first * lda;
    to *= n;
  } else {
    product.n = strip.count;
    b = f.trans_b ? strip.first * ldb : strip.first;
  }
  const char* why = onednn_multiply()(product, moved(f.a, a), moved(f.b, b), moved(c, to));
  ARKIT_CHECK(why == nullptr, str("oneDNN: ", why == nullptr ? "" : why));
}

void torch_strip(const Factors& f, const at::Tensor& c, const Strip& strip) {
  const at::NoGradGuard no_grad;
  at::Tensor out = c.narrow(strip.of_rows ? 0 : 1, strip.first, strip.count);
  if (strip.of_rows)
    at::mm_out(out, f.left().narrow(0, strip.first, strip.count), f.right());
  else
    at::mm_out(out, f.left(), f.right().narrow(1, strip.first, strip.count));
}

// Cuts c along its longer side and gives the strips to the threads there are, each product to one thread. Strips of a
// fixed width have the same sums whatever the number of threads.
template <typename Multiply>
void in_strips(const Factors& f, bool fixed, const Multiply& multiply) {
  constexpr int64_t kUnit = 64, kSmall = int64_t{1} << 20;
  const bool of_rows = f.m() >= f.n();
  const int64_t length = f.longer(), threads = at::get_num_threads();
  const int64_t share = ((length + threads - 1) / threads + kUnit - 1) / kUnit * kUnit;
  const int64_t width = fixed ? kFixedWidth : f.m() * f.n() * f.k() < kSmall ? length : share;
  const int64_t strips = (length + width - 1) / width;
  const auto run = [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) multiply(Strip{of_rows, i * width, std::min(width, length - i * width)});
  };
  at::parallel_for(0, strips, 1, run);
}

bool multiplies_bf16() {
  return host_info().avx512_bf16 || host_info().amx_bf16;
}

// As the instruction does it, pair by pair (fixed_product_kernels.h): equal to it up to the order of chunks of inputs.
void emulate_bf16(const Factors& f, at::Tensor& c) {
  c.copy_(fixed_linear(f.left().to(at::kFloat), f.right().t(), {}));
}

void multiply(const Factors& f, at::Tensor& c) {
  const at::NoGradGuard no_grad;
  const bool fixed = at::globalContext().deterministicAlgorithms(), wide = c.scalar_type() != f.a.scalar_type();
  // The sums of MKL's kernels depend on the number of threads on some CPUs, in a parallel region of strips, too.
  const bool exact = fixed && f.a.scalar_type() == at::kFloat && onednn_multiply() != nullptr;
  if (f.a.numel() > 0 && (exact || gemm_library_for(f.a.scalar_type()) == GemmLibrary::onednn)) {
    in_strips(f, fixed, [&](const Strip& strip) { onednn_strip(f, c, strip); });
  } else if (f.a.numel() > 0 && f.a.scalar_type() == at::kBFloat16 && (!multiplies_bf16() || wide)) {
    emulate_bf16(f, c);
  } else if (fixed && f.longer() > kFixedWidth) {
    in_strips(f, fixed, [&](const Strip& strip) { torch_strip(f, c, strip); });
  } else if (fixed) {
    const OneThread one;  // no parallel region around it: LibTorch would open its own
    at::mm_out(c, f.left(), f.right());
  } else if (wide) {
    c.copy_(at::mm(f.left().to(at::kFloat), f.right().to(at::kFloat)));
  } else {
    at::mm_out(c, f.left(), f.right());
  }
}

}  // namespace

void use_gemm_library(GemmLibrary library) {
  g_library = library;
}

GemmLibrary gemm_library_for(at::ScalarType dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16) return GemmLibrary::torch;
  const GemmLibrary wanted = g_library;
  if (wanted == GemmLibrary::torch) return wanted;
  const bool able = onednn_multiply() != nullptr && (dtype == at::kFloat || host_info().avx512f);
  if (wanted == GemmLibrary::onednn) return able ? wanted : GemmLibrary::torch;
  const bool better = dtype == at::kBFloat16 ? multiplies_bf16() : !intel_cpu();
  return better && able ? GemmLibrary::onednn : GemmLibrary::torch;
}

std::string_view gemm_library_name(GemmLibrary library) {
  switch (library) {
    case GemmLibrary::automatic:
      return "automatic";
    case GemmLibrary::torch:
      return "LibTorch";
    case GemmLibrary::onednn:
      return "oneDNN";
  }
  return "unknown";
}

at::Tensor linear_forward(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  // The sum is rounded once, with its bias.
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, bias.defined() ? x.options().dtype(at::kFloat) : x.options());
  multiply({x, weight, false, true}, y);
  return bias.defined() ? y.add_(bias.to(at::kFloat)).to(x.scalar_type()) : y;
}

at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  at::Tensor dx = at::empty({dy.size(0), weight.size(1)}, dy.options());
  multiply({dy, weight, false, false}, dx);
  return dx;
}

void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dw) {
  ARKIT_CHECK(dw.scalar_type() == at::kFloat && dw.is_contiguous(), "weight gradients are dense f32");
  multiply({dy, x, true, false}, dw);
}

}  // namespace arkit
