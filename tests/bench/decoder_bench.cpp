// The pieces of a decoder block (arkit/sdk/nn.h, attention.h) beside the same arithmetic in plain LibTorch operators,
// forward and backward, at SmolLM2-135M's shapes: batch 8 x 512 tokens.
//
//   decoder_bench [threads] [float32|bfloat16]
//
// Prints the CPU time of all threads, best of the repeats: it means something on a busy machine too.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/sdk/attention.h>
#include <arkit/sdk/nn.h>

namespace {

using namespace arkit::sdk;
using Inputs = std::vector<at::Tensor>;
using Op = std::function<at::Tensor(const Inputs&)>;

constexpr int64_t kBatch = 8, kSeqlen = 512, kHidden = 576, kMlp = 1536, kHeads = 9, kKvHeads = 3, kHeadDim = 64;

double cpu_seconds() {
  timespec t{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

double best(int repeats, const std::function<void()>& work) {
  double least = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const double start = cpu_seconds();
    work();
    least = std::min(least, cpu_seconds() - start);
  }
  return 1e3 * least;
}

void compare(const char* name, const Op& fused, const Op& plain, Inputs inputs) {
  for (at::Tensor& x : inputs)
    if (x.scalar_type() != at::kLong) x.requires_grad_(true);
  const auto time = [&](const Op& op, bool with_backward) {
    return best(5, [&] {
      const at::Tensor y = op(inputs);
      if (!with_backward) return;
      y.backward(at::ones_like(y));
      for (at::Tensor& x : inputs) x.mutable_grad().reset();
    });
  };
  const double f = time(fused, false), fb = time(fused, true), p = time(plain, false), pb = time(plain, true);
  std::printf("%-12s forward %7.1f ms (plain %7.1f)   with backward %7.1f ms (plain %7.1f)   ratio %.2f\n", name, f, p,
              fb, pb, fb / pb);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1) at::set_num_threads(std::max(1, std::atoi(argv[1])));
  const at::ScalarType dtype = argc > 2 && std::string(argv[2]) == "bfloat16" ? at::kBFloat16 : at::kFloat;
  const auto random = [&](at::IntArrayRef shape) { return at::randn(shape, dtype); };

  compare(
      "rms_norm", [](const Inputs& x) { return rms_norm(x[0], x[1], 1e-5); },
      [](const Inputs& x) { return rms_norm_ref(x[0], x[1], 1e-5); },
      {random({kBatch, kSeqlen, kHidden}), random({kHidden})});
  const at::Tensor angle = at::randn({1, kSeqlen, kHeadDim / 2});
  const at::Tensor cos = angle.cos().to(dtype), sin = angle.sin().to(dtype);
  compare(
      "rope (query)", [&](const Inputs& x) { return apply_rope(x[0], cos, sin); },
      [&](const Inputs& x) { return apply_rope_ref(x[0], cos, sin); }, {random({kBatch, kSeqlen, kHeads, kHeadDim})});
  compare(
      "silu_mul", [](const Inputs& x) { return silu_mul(x[0], x[1]); },
      [](const Inputs& x) { return silu_mul_ref(x[0], x[1]); },
      {random({kBatch, kSeqlen, kMlp}), random({kBatch, kSeqlen, kMlp})});
  const auto heads = [&](int64_t count) { return random({kBatch, kSeqlen, count, kHeadDim}).transpose(1, 2); };
  compare(
      "attention", [](const Inputs& x) { return attention(x[0], x[1], x[2], {}, 0.125); },
      [](const Inputs& x) { return attention_ref(x[0], x[1], x[2], {}, 0.125); },
      {heads(kHeads), heads(kKvHeads), heads(kKvHeads)});
  return 0;
}
