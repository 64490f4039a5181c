// A CUDA backend's 4-bit layer beside torch's bfloat16 product, for 1, 16 and 128 rows:
//   cuda_bench libarkit_backend_marlin.so [4096x4096 8192x8192 ...]     (outputs x inputs)
// Needs an NVIDIA GPU; torch's column needs a LibTorch that was built for CUDA. Times are of runs that follow each other on a
// stream, their launches included.
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Context.h>

#include "cuda/door.h"

namespace {

using namespace arkit::cuda::tests;

double torch_seconds(int64_t rows, int64_t inputs, int64_t outputs, int repeats) {
  if (!at::hasCUDA()) return 0;
  const auto options = at::TensorOptions(at::kCUDA).dtype(at::kBFloat16);
  const at::Tensor x = at::randn({rows, inputs}, options), w = at::randn({outputs, inputs}, options).t();
  double best = 1e9;
  for (int turn = 0; turn < 3; ++turn) {
    const auto begin = std::chrono::steady_clock::now();
    at::Tensor y;
    for (int i = 0; i < repeats; ++i) y = at::mm(x, w);
    (void)y[0][0].item<float>();  // waits for the last
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / repeats);
  }
  return best;
}

Layer layer_of(int64_t outputs, int64_t inputs) {
  Layer layer;
  layer.outputs = outputs;
  layer.inputs = inputs;
  layer.group = 128;
  std::vector<uint8_t> codes(static_cast<size_t>(outputs * inputs));
  uint32_t state = 1;
  for (uint8_t& code : codes) code = static_cast<uint8_t>((state = state * 1664525U + 1013904223U) >> 28);
  layer.unpacked["codes"] = Tensor(ARKIT_UINT8, {outputs, inputs}, codes);
  layer.unpacked["scale"] = Tensor(ARKIT_FLOAT32, {outputs, inputs / 128},
                                   std::vector<float>(static_cast<size_t>(outputs * inputs / 128), 0.0078125F));
  return layer;
}

int run(int count, char** words) {
  if (count < 2) throw std::runtime_error("usage: cuda_bench BACKEND.so [OUTPUTSxINPUTS ...]");
  const Door door(words[1]);
  if (door.count == 0) {
    std::printf("cuda_bench needs an NVIDIA GPU: %s\n", door.why_none.c_str());
    return 0;
  }
  std::vector<std::string> sizes(words + 2, words + count);
  if (sizes.empty()) sizes = {"4096x4096", "8192x8192", "14336x4096"};
  std::printf("%s on %s%s\n", door.manifest->name, door.devices[0]->name,
              at::hasCUDA() ? "" : "; this LibTorch has no CUDA, so there is nothing to compare with");
  std::printf("outputs x inputs   rows   backend us   weight GB/s   torch bf16 us   ratio\n");
  for (const std::string& size : sizes) {
    const size_t x = size.find('x');
    if (x == std::string::npos) throw std::runtime_error("'" + size + "' is no OUTPUTSxINPUTS");
    const int64_t outputs = std::stoll(size.substr(0, x)), inputs = std::stoll(size.substr(x + 1));
    if (outputs < 1 || inputs < 128 || inputs % 128 != 0)
      throw std::runtime_error("'" + size + "': inputs have to be a multiple of 128");
    const Layer layer = layer_of(outputs, inputs);
    for (const int64_t rows : {1, 16, 128}) {
      const std::vector<std::byte> ones(static_cast<size_t>(rows * inputs) * 2, std::byte{0x3C});
      double seconds = 1e9;
      for (int turn = 0; turn < 3; ++turn)
        seconds = std::min(seconds, door.seconds(layer, ones, rows, ARKIT_BFLOAT16, 200));
      const double other = torch_seconds(rows, inputs, outputs, 200);
      std::printf("%16s %6lld %12.1f %13.0f %15.1f %7.2f\n", size.c_str(), static_cast<long long>(rows), seconds * 1e6,
                  static_cast<double>(outputs * inputs) / 2 / seconds / 1e9, other * 1e6, other / seconds);
    }
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run(count, words);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cuda_bench: %s\n", error.what());
    return 1;
  }
}
