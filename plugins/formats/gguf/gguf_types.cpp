#include "gguf_types.h"

#include <algorithm>
#include <array>

namespace arkit::gguf {
namespace {

constexpr std::array kTypes{
    TypeInfo{TensorType::f32, "F32", 1, 4},         TypeInfo{TensorType::f16, "F16", 1, 2},
    TypeInfo{TensorType::q4_0, "Q4_0", 32, 18},     TypeInfo{TensorType::q4_1, "Q4_1", 32, 20},
    TypeInfo{TensorType::q5_0, "Q5_0", 32, 22},     TypeInfo{TensorType::q5_1, "Q5_1", 32, 24},
    TypeInfo{TensorType::q8_0, "Q8_0", 32, 34},     TypeInfo{TensorType::q2_k, "Q2_K", 256, 84},
    TypeInfo{TensorType::q3_k, "Q3_K", 256, 110},   TypeInfo{TensorType::q4_k, "Q4_K", 256, 144},
    TypeInfo{TensorType::q5_k, "Q5_K", 256, 176},   TypeInfo{TensorType::q6_k, "Q6_K", 256, 210},
    TypeInfo{TensorType::iq4_nl, "IQ4_NL", 32, 18}, TypeInfo{TensorType::iq4_xs, "IQ4_XS", 256, 136},
    TypeInfo{TensorType::bf16, "BF16", 1, 2},       TypeInfo{TensorType::tq1_0, "TQ1_0", 256, 54},
    TypeInfo{TensorType::tq2_0, "TQ2_0", 256, 66},  TypeInfo{TensorType::mxfp4, "MXFP4", 32, 17},
    TypeInfo{TensorType::nvfp4, "NVFP4", 64, 36},
};

}  // namespace

const TypeInfo* find_type(uint32_t id) noexcept {
  const auto it = std::find_if(kTypes.begin(), kTypes.end(),
                               [&](const TypeInfo& info) { return static_cast<uint32_t>(info.type) == id; });
  return it == kTypes.end() ? nullptr : &*it;
}

}  // namespace arkit::gguf
