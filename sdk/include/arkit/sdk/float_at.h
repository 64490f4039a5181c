#pragma once
// Numbers of a tensor that the host gives a backend.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

#include <arkit/sdk/backend.h>
#include <arkit/sdk/float16.h>

namespace arkit::sdk {

// Element i of a tensor in the host's memory, of any floating point type the host has: float32, float16, bfloat16, FP8 E4M3 (without infinities, a
// NaN of each sign). i is not checked. Throws BackendError: ARKIT_MISUSED without memory of the host, ARKIT_UNSUPPORTED for other types.
inline float float_at(const TensorView& tensor, size_t i) {
  if (tensor.host == nullptr) throw BackendError(ARKIT_MISUSED, "weights are not in memory of the host");
  const auto* bytes = static_cast<const std::byte*>(tensor.host);
  const auto value = [&](auto sample) {
    std::memcpy(&sample, bytes + i * sizeof(sample), sizeof(sample));
    return sample;
  };
  switch (tensor.type) {
    case ARKIT_FLOAT32:
      return value(0.0F);
    case ARKIT_FLOAT16:
      return float16_to_float(value(uint16_t{}));
    case ARKIT_BFLOAT16:
      return bfloat16_to_float(value(uint16_t{}));
    case ARKIT_FLOAT8_E4M3: {
      const uint8_t code = value(uint8_t{});
      if ((code & 0x7FU) == 0x7FU) return __builtin_nanf("");
      const int exponent = code >> 3 & 15, mantissa = code & 7;
      const float size = exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -9)
                                       : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
      return (code & 0x80U) != 0 ? -size : size;
    }
    default:
      throw BackendError(ARKIT_UNSUPPORTED,
                         "floats of tensor type " + std::to_string(tensor.type) + " are not known here");
  }
}

}  // namespace arkit::sdk
