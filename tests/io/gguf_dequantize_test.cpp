#include "gguf_dequantize.h"

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/json.h>

namespace arkit {
namespace {

std::string from_hex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

gguf::TensorType type_named(std::string_view name) {
  for (uint32_t id = 0; id < 64; ++id)
    if (const gguf::TypeInfo* info = gguf::find_type(id); info != nullptr && info->name == name) return info->type;
  ADD_FAILURE() << "no type " << name;
  return {};
}

TEST(GgufDequantize, EqualsGgmlInBits) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/gguf/dequantize.json");
  const json::Array& vectors = file.at("vectors").as_array();
  ASSERT_EQ(vectors.size(), 119u);
  for (const json::Value& vector : vectors) {
    const std::string bytes = from_hex(vector.at("bytes").as_string()),
                      expected = from_hex(vector.at("dequant").as_string());
    const auto elements = static_cast<int64_t>(expected.size() / sizeof(float));
    std::vector<float> out(static_cast<size_t>(elements)), want(out.size());
    std::memcpy(want.data(), expected.data(), expected.size());
    const auto type = type_named(vector.at("type").as_string());
    ASSERT_EQ(bytes.size(), static_cast<size_t>(elements / gguf::find_type(static_cast<uint32_t>(type))->block_size *
                                                gguf::find_type(static_cast<uint32_t>(type))->block_bytes));
    gguf::dequantize(type, reinterpret_cast<const std::byte*>(bytes.data()), elements, out.data());
    for (size_t i = 0; i < out.size(); ++i)
      ASSERT_EQ(out[i], want[i]) << vector.at("type") << " " << vector.at("row") << " element " << i;
  }
}

TEST(GgufDequantize, ReadsEveryHalf) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    float out = 0;
    gguf::dequantize(gguf::TensorType::f16, reinterpret_cast<const std::byte*>(&half), 1, &out);
    const int exponent = (half >> 10) & 31, mantissa = half & 1023;
    const float magnitude = exponent == 31  ? (mantissa == 0 ? HUGE_VALF : NAN)
                            : exponent == 0 ? std::ldexp(static_cast<float>(mantissa), -24)
                                            : std::ldexp(static_cast<float>(1024 + mantissa), exponent - 25);
    const float expected = (half & 0x8000) != 0 ? -magnitude : magnitude;
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(out));
    } else {
      ASSERT_EQ(out, expected) << bits;
      ASSERT_EQ(std::signbit(out), std::signbit(expected)) << bits;
    }
  }
}

}  // namespace
}  // namespace arkit
