#include "tuning/gemm.h"

#include <dlfcn.h>

#include <atomic>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/inference_backend.h>
#include <arkit/str.h>

#include "tuning/gemm_onednn.h"

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

void multiply(const onednn::Product& product, const at::Tensor& a, const at::Tensor& b, at::Tensor& c) {
  const char* why = onednn_multiply()(product, a.const_data_ptr(), b.const_data_ptr(), c.mutable_data_ptr());
  ARKIT_CHECK(why == nullptr, str("oneDNN: ", why == nullptr ? "" : why));
}

bool with_onednn(const at::Tensor& a) {
  return gemm_library_for(a.scalar_type()) == GemmLibrary::onednn && a.numel() > 0;
}

}  // namespace

void use_gemm_library(GemmLibrary library) {
  g_library = library;
}

GemmLibrary gemm_library_for(at::ScalarType dtype) {
  if (dtype != at::kFloat && dtype != at::kBFloat16) return GemmLibrary::torch;
  const GemmLibrary wanted = g_library;
  if (wanted == GemmLibrary::torch) return wanted;
  if (wanted == GemmLibrary::onednn) return onednn_multiply() != nullptr ? wanted : GemmLibrary::torch;
  static const bool amd = host_info().cpu_name.find("AMD") != std::string::npos;
  const bool better = dtype == at::kBFloat16 ? host_info().avx512_bf16 || host_info().amx_bf16 : amd;
  return better && onednn_multiply() != nullptr ? GemmLibrary::onednn : GemmLibrary::torch;
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
  if (!with_onednn(x)) return bias.defined() ? at::addmm(bias, x, weight.t()) : at::mm(x, weight.t());
  const onednn::Type type = onednn_type(x.scalar_type());
  at::Tensor y = at::empty({x.size(0), weight.size(0)}, x.options());
  multiply({x.size(0), weight.size(0), x.size(1), false, true, type, type}, x, weight, y);
  return bias.defined() ? y.add_(bias) : y;
}

at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight) {
  if (!with_onednn(dy)) return at::mm(dy, weight);
  const onednn::Type type = onednn_type(dy.scalar_type());
  at::Tensor dx = at::empty({dy.size(0), weight.size(1)}, dy.options());
  multiply({dy.size(0), weight.size(1), weight.size(0), false, false, type, type}, dy, weight, dx);
  return dx;
}

void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dw) {
  ARKIT_CHECK(dw.scalar_type() == at::kFloat && dw.is_contiguous(), "weight gradients are dense f32");
  if (with_onednn(dy)) {
    multiply({dy.size(1), x.size(1), dy.size(0), true, false, onednn_type(dy.scalar_type()), onednn::Type::f32}, dy, x,
             dw);
  } else if (dy.scalar_type() == at::kFloat) {
    at::mm_out(dw, dy.t(), x);
  } else {
    at::mm_out(dw, dy.to(at::kFloat).t(), x.to(at::kFloat));
  }
}

}  // namespace arkit
