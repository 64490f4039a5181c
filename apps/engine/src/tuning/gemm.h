#pragma once
// The three products of a tuned linear layer y = x W^T, on LibTorch (MKL) or oneDNN, whichever suits the CPU. Tensors
// are contiguous, two-dimensional and of one dtype (f32 or bf16) unless said otherwise. bf16 is summed in f32 and
// rounded once; CPUs without an instruction for it multiply in f32. While at::globalContext().deterministicAlgorithms()
// is set, results do not depend on the number of threads.

#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>

namespace arkit {

enum class GemmLibrary { automatic, torch, onednn };

// Overrides the choice for the whole process (tests, benchmarks). `automatic`: oneDNN for bf16 on CPUs that multiply it
// and for f32 on CPUs that are not Intel's, where the MKL inside LibTorch is slow; LibTorch otherwise.
ARKIT_EXPORT void use_gemm_library(GemmLibrary library);
[[nodiscard]] ARKIT_EXPORT GemmLibrary gemm_library_for(at::ScalarType dtype);  // never automatic
[[nodiscard]] ARKIT_EXPORT std::string_view gemm_library_name(GemmLibrary library);

// x [m, in] W^T [in, out] + bias -> [m, out]; bias may be undefined.
[[nodiscard]] ARKIT_EXPORT at::Tensor linear_forward(const at::Tensor& x, const at::Tensor& weight,
                                                     const at::Tensor& bias);
// dy [m, out] W [out, in] -> dx [m, in].
[[nodiscard]] ARKIT_EXPORT at::Tensor linear_input_gradient(const at::Tensor& dy, const at::Tensor& weight);
// dw [out, in] f32 <- dy^T x.
ARKIT_EXPORT void linear_weight_gradient(const at::Tensor& dy, const at::Tensor& x, at::Tensor& dw);

}  // namespace arkit
