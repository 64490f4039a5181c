// Speed of the schemes, `int` beside the same arithmetic in plain LibTorch operators. GB/s counts each array once, as a
// single pass over memory would touch it.
//
//   fake_quant_bench [threads]
//
// Sizes are SmolLM2-135M's: one block has 3.54 M weights, the whole model 106 M in its blocks.

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/str.h>

#include "fp8_scheme.h"
#include "int_tensors.h"
#include "mx_fp_scheme.h"
#include "nv_fp4_scheme.h"
#include "schemes/aten_int_scheme.h"

namespace {

using namespace arkit;

// Best of `repeats`, in seconds: the machine may be shared.
double seconds(int repeats, const std::function<void()>& work) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

void print(const char* name, double time, double bytes) {
  std::printf("%-34s %9.2f ms %8.2f GB/s\n", name, time * 1e3, bytes / time / 1e9);
}

void bench_passes(const sdk::SignRoundScheme& scheme, const char* name, const TensorQuant& quant, int repeats) {
  const int64_t out = 6150, in = 576, n = out * in;  // as many elements as a block
  const at::Tensor weight = (at::randn({out, in}) * 0.05).to(at::kBFloat16),
                   grad = at::randn({out, in}).to(at::kBFloat16);
  sdk::WeightTuning tuning = scheme.begin_tuning(weight, quant, {});
  tuning.v.uniform_(-0.5, 0.5);
  at::Tensor y = at::empty({out, in}, at::kBFloat16);
  sdk::WeightGradient gradient;
  const auto label = [&](const char* pass) { return arkit::str(name, quant.sym ? " sym " : " asym ", pass); };
  print(label("forward").c_str(), seconds(repeats, [&] { scheme.fake_quant_weight(weight, tuning, quant, y); }),
        8.0 * n);
  print(label("backward, += ").c_str(),
        seconds(repeats, [&] { scheme.fake_quant_weight_backward(weight, tuning, quant, grad, gradient); }), 16.0 * n);
}

// Weights forward and backward, the search, and activations of a batch of 8 x 2048 tokens.
void bench_scaled(const sdk::SignRoundScheme& scheme, const char* name, const TensorQuant& quant) {
  bench_passes(scheme, name, quant, 20);
  const at::Tensor weight = (at::randn({6150, 576}) * 0.05).to(at::kBFloat16);
  if (scheme.traits({.weight = quant}).searches)
    print(str(name, " search").c_str(),
          seconds(3, [&] { (void)scheme.quantize_rtn(weight, quant, RtnMode::searched, {}, 0, {}); }),
          3.0 * static_cast<double>(weight.numel()));
  const at::Tensor x = at::randn({8, 2048, 576}).to(at::kBFloat16);
  print(str(name, " activations").c_str(), seconds(5, [&] { (void)scheme.fake_quant_act(x, quant, {}); }),
        4.0 * static_cast<double>(x.numel()));
}

void bench_model(const TensorQuant& quant) {
  const int64_t out = 46080, in = 2304, n = out * in;  // 106 M
  const at::Tensor weight = at::empty({out, in}, at::kBFloat16);
  for (int64_t row = 0; row < out; row += 512) weight.slice(0, row, row + 512).normal_(0, 0.05);
  const int_scheme::IntScheme scheme;
  const auto rtn = [&](RtnMode mode) { (void)scheme.quantize_rtn(weight, quant, mode, {}, 0, {}); };
  print("whole model rtn, codes u8", seconds(3, [&] { rtn(RtnMode::plain); }), 3.0 * n);
  print("whole model opt-rtn search", seconds(1, [&] { rtn(RtnMode::searched); }), 3.0 * n);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::atoi(argv[1]));
  std::printf("kernels %s, %d threads\n", int_scheme::kernels().name, at::get_num_threads());
  TensorQuant quant;
  quant.bits = 4;
  quant.group_size = 64;
  for (const bool sym : {true, false}) {
    quant.sym = sym;
    bench_passes(int_scheme::IntScheme(), "fused", quant, 20);
    bench_passes(arkit::testing::AtenIntScheme(), "ATen ", quant, 3);
  }
  quant.sym = true;
  const auto scaled = [](const char* data_type, int bits, int64_t group_size) {
    TensorQuant q;
    q.data_type = data_type;
    q.bits = bits;
    q.group_size = group_size;
    return q;
  };
  bench_scaled(mx_fp::MxFpScheme(), "mxfp4", scaled("mx_fp", 4, 32));
  bench_scaled(mx_fp::MxFpScheme(), "mxfp8", scaled("mx_fp", 8, 32));
  bench_scaled(nv_fp4::NvFp4Scheme(), "nvfp4", scaled("nv_fp", 4, 16));
  bench_scaled(fp8::Fp8Scheme(), "fp8", scaled("fp", 8, -1));
  bench_model(quant);
  return 0;
}
