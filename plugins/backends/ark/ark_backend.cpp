// Layers of whole-number codes on CPUs: activations become int8 while they are read, products are sums of integers.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <omp.h>

#include <arkit/sdk/backend.h>

#include "ark_block.h"
#include "ark_linears.h"
#include "layer_blob.h"
#include "layer_codes.h"

namespace {

using namespace arkit::ark;
namespace sdk = arkit::sdk;

struct Choice {
  const Kernels* kernels = nullptr;
  const BlockKernels* between = nullptr;
  int score = 0;
};

// The best set that the CPU has and the user allows.
Choice choose([[maybe_unused]] const ArkitHost& host) {
#if defined(__x86_64__)
  const bool v3 = (host.cpu & ARKIT_CPU_AVX2) != 0 && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool wide =
      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (v3 && wide && (host.cpu & ARKIT_CPU_AVX512_VNNI) != 0 && (host.cpu & ARKIT_CPU_AMX_INT8) != 0 && amx_permitted())
    return {&kernels_amx(), &block_kernels_avx512, 70};
  if (v3 && wide && (host.cpu & ARKIT_CPU_AVX512_VNNI) != 0) return {&kernels_avx512_vnni, &block_kernels_avx512, 60};
  // A CPU with AVX-512 that is not to use it is one that is asked for plain AVX2.
  if (v3 && __builtin_cpu_supports("avxvnni") && !__builtin_cpu_supports("avx512f"))
    return {&kernels_avx_vnni, &block_kernels_avx2, 50};
  if (v3) return {&kernels_avx2, &block_kernels_avx2, 40};
#endif
  return {};
}

class ArkBackend final : public sdk::Backend {
 public:
  explicit ArkBackend(const ArkitHost& host) : host_(host), choice_(choose(host)) {}

  std::vector<sdk::Device> devices(std::string& why_none) override {
    if (choice_.kernels == nullptr) {
      why_none = "its kernels need a CPU with AVX2, FMA and F16C, and ARKIT_CPU must allow them";
      return {};
    }
    return {{.kind = "cpu",
             .name = std::string(host_.cpu_name) + " (" + choice_.kernels->name + ")",
             .vendor = "",
             .index = 0,
             .memory = 0,
             .score = choice_.score}};
  }

  sdk::Answer supports(std::span<const sdk::LinearSpec> layers, const sdk::Device&) override {
    sdk::Answer answer = sdk::Answer::yes(choice_.score);
    answer.own_activations = true;
    for (const sdk::LinearSpec& layer : layers) {
      if (std::string why = why_no_codes(layer); !why.empty()) return sdk::Answer::no(std::move(why));
      const bool floats = is_float8(layer.weight);
      answer.own_activations =
          answer.own_activations &&
          (floats ? rounding_of(layer.activation, layer.in_features).has_value() : rounds_itself(layer.activation));
      answer.approximate = answer.approximate || !floats;
    }
    answer.exact_too = answer.approximate;
    return answer;
  }

  std::unique_ptr<sdk::PreparedLinears> prepare(const sdk::PrepareRequest& request) override {
    const ArkitType type = request.compute_type == ARKIT_BFLOAT16 ? ARKIT_BFLOAT16 : ARKIT_FLOAT32;
    return std::make_unique<ArkLinears>(*choice_.kernels, threads(), type, layers(request),
                                        levels_for(request.layers.front().activation), request.exact());
  }

  sdk::Answer supports_block(const sdk::BlockSpec& block, const sdk::Device& device) override {
    if (std::string why = why_no_block(block); !why.empty()) return sdk::Answer::no(std::move(why));
    sdk::Answer answer = supports(block.layers, device);
    answer.cache_int8 = true;
    return answer;
  }

  std::unique_ptr<sdk::PreparedBlock> prepare_block(const sdk::BlockRequest& request) override {
    return std::make_unique<ArkBlock>(*choice_.kernels, *choice_.between, threads(), request, layers(request));
  }

  std::string blob_compatibility(std::span<const sdk::LinearSpec>, const sdk::Device&) override {
    return "ark layout 2";  // the same for all sets of kernels
  }

 private:
  // Eight bits with a scale a token or finer are what the kernels make of any input; others the host rounds first.
  static bool rounds_itself(const sdk::QuantSpec& activation) {
    return !activation.quantized() || (activation.data_type == "int" && activation.bits == 8 && activation.sym &&
                                       activation.dynamic && activation.group_size != 0);
  }

  // The caller has rounded x to the activation's grid where rounds_itself() says no.
  static int32_t levels_for(const sdk::QuantSpec& activation) {
    if (rounds_itself(activation)) return kMostLevels;
    if (is_e2m1(activation)) return kLevelsOfE2m1;
    return activation.data_type == "mx_int" && activation.bits <= 6 ? kPowerOfTwo : kMostLevels;
  }

  // What OMP_NUM_THREADS and arkit itself asked of OpenMP counts as well.
  [[nodiscard]] int threads() const { return std::min(static_cast<int>(host_.threads), omp_get_max_threads()); }

  static std::vector<ArkLayer> layers(const sdk::PrepareRequest& request) {
    if (!request.blob.empty()) {
      std::shared_ptr<const void> keeper;
      if (sdk::HeldMemory held = request.hold_blob()) keeper = std::make_shared<sdk::HeldMemory>(std::move(held));
      return read_layers(request.blob, request.layers, keeper);
    }
    std::vector<ArkLayer> layers;
    for (size_t i = 0; i < request.layers.size(); ++i) {
      const sdk::LinearSpec& spec = request.layers[i];
      LayerCodes codes(spec, request.weights[i]);
      ArkLayer layer{PackedWeight(codes.view, spec.name), {}, std::move(codes.order), codes.rounding};
      if (spec.has_bias) {
        const auto bias = request.weights[i].packed("bias");
        if (!bias || bias->count() != static_cast<size_t>(spec.out_features))
          throw sdk::BackendError(ARKIT_BAD_INPUT,
                                  "packed layer '" + std::string(spec.name) + "' has no bias tensor of its size");
        layer.bias = floats_of(*bias);
      }
      layers.push_back(std::move(layer));
    }
    return layers;
  }

  const ArkitHost& host_;
  Choice choice_;
};

}  // namespace

ARKIT_BACKEND(ArkBackend, "org.arkit.backend.ark", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
              "ark", "int8 kernels for CPUs: weights of 2 to 8 bits stay packed");
