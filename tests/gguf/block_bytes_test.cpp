// Rounding and packing together give the bytes that ggml gives.
#include <cmath>
#include <cstring>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <arkit/json.h>
#include <arkit/kernel_set.h>

#include "ggml_rows.h"
#include "gguf_encode.h"

namespace arkit {
namespace {

using gguf::TensorType;
using gguf_k::BlockType;

struct Pair {
  BlockType block;
  TensorType tensor;
};
const std::map<std::string, Pair, std::less<>> kTypes{
    {"Q4_0", {BlockType::q4_0, TensorType::q4_0}}, {"Q4_1", {BlockType::q4_1, TensorType::q4_1}},
    {"Q5_0", {BlockType::q5_0, TensorType::q5_0}}, {"Q5_1", {BlockType::q5_1, TensorType::q5_1}},
    {"Q8_0", {BlockType::q8_0, TensorType::q8_0}}, {"IQ4_NL", {BlockType::iq4_nl, TensorType::iq4_nl}},
    {"Q2_K", {BlockType::q2_k, TensorType::q2_k}}, {"Q3_K", {BlockType::q3_k, TensorType::q3_k}},
    {"Q4_K", {BlockType::q4_k, TensorType::q4_k}}, {"Q5_K", {BlockType::q5_k, TensorType::q5_k}},
    {"Q6_K", {BlockType::q6_k, TensorType::q6_k}}, {"IQ4_XS", {BlockType::iq4_xs, TensorType::iq4_xs}}};

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

std::string blocks_of(const Pair& type, const gguf_k::Searches& searches, const std::vector<float>& x,
                      const std::optional<std::vector<float>>& importance) {
  const gguf_k::BlockShape shape = gguf_k::shape_of(type.block);
  const gguf::TypeInfo& info = *gguf::find_type(static_cast<uint32_t>(type.tensor));
  const size_t blocks = x.size() / static_cast<size_t>(shape.block),
               groups = x.size() / static_cast<size_t>(shape.group);
  std::vector<uint8_t> codes(x.size()), minima(groups);
  std::vector<float> d(blocks), dmin(blocks);
  std::vector<int8_t> scales(groups);
  gguf_k::RowRounder(type.block, searches)
      .round(x.data(), static_cast<int64_t>(x.size()), importance ? importance->data() : nullptr,
             {codes.data(), d.data(), dmin.data(), scales.data(), minima.data()});
  std::string bytes(blocks * static_cast<size_t>(info.block_bytes), '\0');
  const size_t each = groups / blocks;
  for (size_t b = 0; b < blocks; ++b)
    gguf::encode_block(type.tensor,
                       {codes.data() + b * static_cast<size_t>(shape.block), d[b], dmin[b], scales.data() + b * each,
                        minima.data() + b * each},
                       reinterpret_cast<std::byte*>(bytes.data()) + b * static_cast<size_t>(info.block_bytes));
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
  ASSERT_EQ(vectors.size(), 412U);
  for (const json::Value& vector : vectors) {
    std::optional<std::vector<float>> importance;
    if (const json::Value& name = vector.at("imatrix"); !name.is_null())
      importance = floats(file.at("imatrices").at(name.as_string()));
    const std::vector<float> row = floats(file.at("rows").at(vector.at("row").as_string()));
    for (const gguf_k::Searches* searches : sets())
      EXPECT_TRUE(blocks_of(kTypes.at(std::string(vector.at("type").as_string())), *searches, row, importance) ==
                  from_hex(vector.at("bytes").as_string()))
          << vector.at("type") << " of row " << vector.at("row") << ", importance " << json::dump(vector.at("imatrix"))
          << ", " << searches->name;
  }
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
        const std::string judge = blocks_of(type, gguf_k::searches_ref, row, given);
        for (const gguf_k::Searches* searches : sets())
          EXPECT_TRUE(blocks_of(type, *searches, row, given) == judge) << name << ", " << searches->name;
      }
    }
}

}  // namespace
}  // namespace arkit
