// Rounding and packing together give the bytes that ggml gives.
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/kernel_set.h>
#include <arkit/sdk/gguf_scales.h>

#include "auto_round_rows.h"
#include "ggml_rows.h"
#include "gguf_dequantize.h"
#include "gguf_encode.h"
#include "least_error_rows.h"

namespace arkit {
namespace {

using gguf::TensorType;
using gguf_k::AutoRoundRounder;
using gguf_k::BlockType;
using gguf_k::LeastErrorRounder;
using gguf_k::RowRounder;

struct Pair {
  BlockType block;
  TensorType tensor;
};
const std::map<std::string, Pair, std::less<>> kTypes{
    {"Q4_0", {BlockType::q4_0, TensorType::q4_0}},    {"Q4_1", {BlockType::q4_1, TensorType::q4_1}},
    {"Q5_0", {BlockType::q5_0, TensorType::q5_0}},    {"Q5_1", {BlockType::q5_1, TensorType::q5_1}},
    {"Q8_0", {BlockType::q8_0, TensorType::q8_0}},    {"IQ4_NL", {BlockType::iq4_nl, TensorType::iq4_nl}},
    {"Q2_K", {BlockType::q2_k, TensorType::q2_k}},    {"Q3_K", {BlockType::q3_k, TensorType::q3_k}},
    {"Q4_K", {BlockType::q4_k, TensorType::q4_k}},    {"Q5_K", {BlockType::q5_k, TensorType::q5_k}},
    {"Q6_K", {BlockType::q6_k, TensorType::q6_k}},    {"IQ4_XS", {BlockType::iq4_xs, TensorType::iq4_xs}},
    {"MXFP4", {BlockType::mxfp4, TensorType::mxfp4}}, {"NVFP4", {BlockType::nvfp4, TensorType::nvfp4}},
    {"TQ1_0", {BlockType::tq1_0, TensorType::tq1_0}}, {"TQ2_0", {BlockType::tq2_0, TensorType::tq2_0}}};

std::string from_hex(std::string_view hex) {
  std::string out;
  for (size_t i = 0; i + 1 < hex.size(); i += 2)
    out += static_cast<char>(std::stoi(std::string(hex.substr(i, 2)), nullptr, 16));
  return out;
}

std::vector<float> floats(const json::Value& hex) {
  const std::string bytes = from_hex(hex.as_string());
  std::vector<float> values(bytes.size() / sizeof(float));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <typename Rounder>
std::string blocks_of(const Pair& type, const gguf_k::Searches& searches, const std::vector<float>& x,
                      const std::optional<std::vector<float>>& importance) {
  const gguf_k::BlockShape shape = gguf_k::shape_of(type.block);
  const gguf::TypeInfo& info = *gguf::find_type(static_cast<uint32_t>(type.tensor));
  const size_t blocks = x.size() / static_cast<size_t>(shape.block),
               groups = x.size() / static_cast<size_t>(shape.group);
  std::vector<uint8_t> codes(x.size()), minima(groups);
  std::vector<float> d(groups), dmin(blocks);
  std::vector<int8_t> scales(groups);
  Rounder(type.block, searches)
      .round(x.data(), static_cast<int64_t>(x.size()), importance ? importance->data() : nullptr,
             {codes.data(), d.data(), dmin.data(), scales.data(), minima.data()});
  std::string bytes(blocks * static_cast<size_t>(info.block_bytes), '\0');
  const size_t each = groups / blocks;
  if (type.block == BlockType::nvfp4)
    for (size_t g = 0; g < groups; ++g) scales[g] = static_cast<int8_t>(sdk::ue4m3_of(2 * d[g]));
  gguf::encode_blocks({.type = type.tensor,
                       .first = {codes.data(), 0, 0, scales.data(), minima.data()},
                       .d = d.data(),
                       .dmin = dmin.data(),
                       .count = static_cast<int64_t>(blocks),
                       .block = shape.block,
                       .groups = static_cast<int>(each),
                       .block_bytes = static_cast<int>(info.block_bytes)},
                      reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

// Every set that this machine runs and ARKIT_CPU allows.
std::vector<const gguf_k::Searches*> sets() {
  std::vector<const gguf_k::Searches*> all{&gguf_k::searches_ref, &gguf_k::searches_baseline};
#if defined(__x86_64__)
  if (kernel_set() >= KernelSet::avx2) all.push_back(&gguf_k::searches_avx2);
  if (kernel_set() >= KernelSet::avx512) all.push_back(&gguf_k::searches_avx512);
#endif
  return all;
}

TEST(BlockBytes, EqualGgmlsInEveryVector) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/gguf/quantize.json");
  const json::Array& vectors = file.at("vectors").as_array();
  ASSERT_EQ(vectors.size(), 492U);
  for (const json::Value& vector : vectors) {
    if (vector.at("type").as_string().ends_with("F16")) continue;
    std::optional<std::vector<float>> importance;
    if (const json::Value& name = vector.at("imatrix"); !name.is_null())
      importance = floats(file.at("imatrices").at(name.as_string()));
    const std::vector<float> row = floats(file.at("rows").at(vector.at("row").as_string()));
    for (const gguf_k::Searches* searches : sets())
      EXPECT_TRUE(blocks_of<RowRounder>(kTypes.at(std::string(vector.at("type").as_string())), *searches, row,
                                        importance) == from_hex(vector.at("bytes").as_string()))
          << vector.at("type") << " of row " << vector.at("row") << ", importance " << json::dump(vector.at("imatrix"))
          << ", " << searches->name;
  }
}

// As a file gets matrices that stay in 16 bits.
TEST(BlockBytes, OfHalvesEqualGgmls) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/gguf/quantize.json");
  int seen = 0;
  for (const json::Value& vector : file.at("vectors").as_array()) {
    if (!vector.at("type").as_string().ends_with("F16")) continue;
    std::vector<float> row = floats(file.at("rows").at(vector.at("row").as_string()));
    const auto dtype = vector.at("type").as_string() == "F16" ? at::kHalf : at::kBFloat16;
    std::string bytes(2 * row.size(), '\0');
    at::from_blob(bytes.data(), {static_cast<int64_t>(row.size())}, at::TensorOptions(dtype))
        .copy_(at::from_blob(row.data(), {static_cast<int64_t>(row.size())}, at::kFloat));
    EXPECT_TRUE(bytes == from_hex(vector.at("bytes").as_string())) << vector.at("type") << " " << vector.at("row");
    ++seen;
  }
  EXPECT_EQ(seen, 32);
}

double rms_error(const Pair& type, const std::string& bytes, const std::vector<float>& row) {
  std::vector<float> back(row.size());
  gguf::dequantize(type.tensor, reinterpret_cast<const std::byte*>(bytes.data()), static_cast<int64_t>(row.size()),
                   back.data());
  double sum = 0;
  for (size_t i = 0; i < row.size(); ++i) sum += std::pow(static_cast<double>(back[i]) - row[i], 2);
  return std::sqrt(sum / static_cast<double>(row.size()));
}

// Its sums run in an order of their own, so that near ties may fall otherwise: errors are held to 2 %.
TEST(BlockBytes, OfAutoRoundsSearchErrAsItDoes) {
  const json::Value file = json::read_file(std::string(ARKIT_TEST_DATA) + "/gguf/quantize.json");
  const json::Value auto_round = json::read_file(std::string(ARKIT_TEST_DATA) + "/gguf/auto_round.json");
  const json::Array& vectors = auto_round.at("vectors").as_array();
  ASSERT_EQ(vectors.size(), 240U);
  int same_bytes = 0;
  for (const json::Value& vector : vectors) {
    const std::string mode(vector.at("mode").as_string()), name(vector.at("type").as_string());
    std::optional<std::vector<float>> importance;
    if (mode != "rtn") importance = floats(file.at("imatrices").at(mode.substr(mode.find('_') + 1)));
    const std::vector<float> row = floats(file.at("rows").at(vector.at("row").as_string()));
    std::string upper = name;
    for (char& c : upper) c = static_cast<char>(std::toupper(c));
    const Pair& type = kTypes.at(upper);
    const std::string judge = blocks_of<AutoRoundRounder>(type, gguf_k::searches_ref, row, importance);
    for (const gguf_k::Searches* searches : sets())
      EXPECT_TRUE(blocks_of<AutoRoundRounder>(type, *searches, row, importance) == judge)
          << name << " of row " << vector.at("row") << ", " << mode << ", " << searches->name;
    const double expected = vector.at("rms_error").as_double();
    EXPECT_NEAR(rms_error(type, judge, row), expected, 0.02 * expected)
        << name << " of row " << vector.at("row") << ", " << mode;
    same_bytes += judge == from_hex(vector.at("bytes").as_string()) ? 1 : 0;
  }
  EXPECT_GE(same_bytes, 1);
}

// Rows of any length and numbers that no vector has: all sets give what the judge gives.
TEST(BlockBytes, AreTheSameFromEverySet) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.05F);
  for (const auto& [name, type] : kTypes)
    for (const int blocks : {1, 3, 5, 8}) {
      std::vector<float> row(static_cast<size_t>(blocks * gguf_k::shape_of(type.block).block)), importance(row.size());
      for (float& x : row) x = normal(random);
      for (float& q : importance) q = std::fabs(normal(random));
      for (size_t i = 0; i < row.size(); i += 37) row[i] = i % 2 == 0 ? 0 : 3 * row[i];
      for (const bool weighed : {false, true}) {
        const auto given = weighed ? std::optional(importance) : std::nullopt;
        const std::string judge = blocks_of<RowRounder>(type, gguf_k::searches_ref, row, given);
        for (const gguf_k::Searches* searches : sets())
          EXPECT_TRUE(blocks_of<RowRounder>(type, *searches, row, given) == judge) << name << ", " << searches->name;
        if (!sdk::has_auto_round_search(type.block)) continue;
        const std::string other = blocks_of<AutoRoundRounder>(type, gguf_k::searches_ref, row, given);
        for (const gguf_k::Searches* searches : sets())
          EXPECT_TRUE(blocks_of<AutoRoundRounder>(type, *searches, row, given) == other)
              << name << " of AutoRound, " << searches->name;
      }
    }
}

// Block by block the bytes of the search that loses less.
TEST(BlockBytes, OfLeastErrorAreThoseOfTheBetterSearch) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal(0, 0.05F);
  for (const auto& [name, type] : kTypes) {
    if (!LeastErrorRounder::knows_both(type.block)) continue;
    const auto block = static_cast<size_t>(gguf_k::shape_of(type.block).block), blocks = size_t{64};
    std::vector<float> x(blocks * block), importance(x.size());
    for (float& value : x) value = normal(random);
    for (float& q : importance) q = std::exp(40 * normal(random));
    const auto bytes = [&]<typename Rounder>(const std::optional<std::vector<float>>& given) {
      return blocks_of<Rounder>(type, gguf_k::searches_baseline, x, given);
    };
    const std::string ggml = bytes.operator()<RowRounder>(importance),
                      other = bytes.operator()<AutoRoundRounder>(importance),
                      least = bytes.operator()<LeastErrorRounder>(importance);
    EXPECT_EQ(bytes.operator()<LeastErrorRounder>(std::nullopt), bytes.operator()<RowRounder>(std::nullopt)) << name;
    const size_t size = least.size() / blocks;
    int of_ggml = 0, of_other = 0;
    for (size_t b = 0; b < blocks; ++b) {
      const auto error = [&](const std::string& of) {
        std::vector<float> value(block);
        gguf::dequantize(type.tensor, reinterpret_cast<const std::byte*>(of.data()) + b * size,
                         static_cast<int64_t>(block), value.data());
        double sum = 0;
        for (size_t i = 0; i < block; ++i) {
          const double difference = static_cast<double>(x[b * block + i]) - static_cast<double>(value[i]);
          sum += static_cast<double>(importance[b * block + i]) * difference * difference;
        }
        return sum;
      };
      const double smallest = std::min(error(ggml), error(other));
      EXPECT_LE(error(least), smallest * (1 + 1e-5)) << name << " " << b;
      const std::string_view made = std::string_view(least).substr(b * size, size);
      const bool is_ggml = made == std::string_view(ggml).substr(b * size, size);
      EXPECT_TRUE(is_ggml || made == std::string_view(other).substr(b * size, size)) << name << " " << b;
      ++(is_ggml ? of_ggml : of_other);
    }
    EXPECT_GT(of_ggml, 0) << name;
    EXPECT_GT(of_other, 0) << name;
  }
}

}  // namespace
}  // namespace arkit
