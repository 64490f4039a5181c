#pragma once
// What every exporter must satisfy, for the tests of any plugin: include this in a GoogleTest source and call
// check_exporter. Random codes of many schemes and shapes go through pack and unpack and must come back unchanged; a
// refusal must say why.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <arkit/exporter.h>
#include <arkit/sdk/group.h>
#include <arkit/str.h>

namespace arkit::sdk::conformance {

struct ExporterScheme {
  int bits = 4;
  bool sym = true;
  int64_t group_size = 128;
  int64_t out = 64, in = 128;
};

// 2 to 8 bits, both symmetries, several groupings (also a ragged one), shapes that fill words and shapes that do not.
inline std::vector<ExporterScheme> int_schemes() {
  std::vector<ExporterScheme> schemes;
  for (int bits = 2; bits <= 8; ++bits)
    for (const bool sym : {true, false})
      for (const int64_t group : {int64_t{-1}, int64_t{32}, int64_t{128}})
        for (const auto& [out, in] : {std::pair{64, 128}, {32, 96}, {96, 160}, {40, 64}, {33, 100}})
          schemes.push_back({bits, sym, group, out, in});
  return schemes;
}

inline QuantPlan plan_for(const ExporterScheme& scheme) {
  QuantPlan plan;
  plan.global.weight = {.bits = scheme.bits, .group_size = scheme.group_size, .sym = scheme.sym};
  plan.block_lists = {"model.layers"};
  plan.num_blocks = 1;
  LayerPlan layer{.name = "model.layers.0.proj", .out_features = scheme.out, .in_features = scheme.in, .block = 0};
  layer.quant = plan.global;
  plan.layers.push_back(layer);
  return plan;
}

// Codes over the whole range. Zero points start at 1: the oldest layouts have no code for 0.
inline QuantizedWeight random_weight(const ExporterScheme& scheme) {
  const GroupShape groups = group_shape(scheme.out, scheme.in, scheme.group_size);
  QuantizedWeight weight;
  weight.codes = at::randint(0, int64_t{1} << scheme.bits, {scheme.out, scheme.in}, at::kLong).to(at::kByte);
  weight.scale = at::rand({groups.out, groups.per_row}).add(0.01).to(at::kHalf);
  if (!scheme.sym)
    weight.zero_point = at::randint(1, int64_t{1} << scheme.bits, {groups.out, groups.per_row}, at::kFloat);
  return weight;
}

// Checks one scheme; returns whether the exporter accepts it.
inline bool check_scheme(const Exporter& exporter, std::string_view variant, const ExporterScheme& scheme) {
  SCOPED_TRACE(str(exporter.info().name, " as '", variant, "', ", scheme.bits, " bits, sym ", scheme.sym, ", group ",
                   scheme.group_size, ", [", scheme.out, ", ", scheme.in, "]"));
  const QuantPlan plan = plan_for(scheme);
  const LayerPlan& layer = plan.layers.front();
  const Verdict verdict = exporter.supports(layer, variant);
  if (!verdict) {
    EXPECT_GT(verdict.why_not.size(), 20U) << "a refusal names what was found and what to do";
    return false;
  }
  const QuantizedWeight weight = random_weight(scheme);
  const TensorMap packed = exporter.pack(LayerRecord{.plan = layer, .quantized = weight}, plan, variant);
  int64_t bytes = 0;
  for (const auto& [suffix, tensor] : packed) {
    EXPECT_TRUE(tensor.is_contiguous()) << suffix;
    bytes += static_cast<int64_t>(tensor.nbytes());
  }
  EXPECT_EQ(bytes, exporter.packed_bytes(layer, variant)) << "packed_bytes is what pack writes";
  const QuantizedWeight back = exporter.unpack(layer, packed, plan, variant);
  EXPECT_TRUE(back.codes.equal(weight.codes)) << "unpack(pack(codes)) == codes";
  EXPECT_TRUE(back.scale.equal(weight.scale)) << "unpack(pack(scale)) == scale";
  EXPECT_EQ(back.zero_point.defined(), weight.zero_point.defined());
  if (back.zero_point.defined() && weight.zero_point.defined())
    EXPECT_TRUE(back.zero_point.equal(weight.zero_point)) << "unpack(pack(zero_point)) == zero_point";
  return true;
}

// Every scheme under every name of the exporter, which must accept something under one of them.
inline void check_exporter(const Exporter& exporter, const std::vector<ExporterScheme>& schemes) {
  std::vector<std::string_view> names = {exporter.info().name};
  for (const std::string_view variant : exporter.variants()) names.push_back(variant);
  int64_t accepted = 0;
  for (const std::string_view name : names)
    for (const ExporterScheme& scheme : schemes) accepted += check_scheme(exporter, name, scheme) ? 1 : 0;
  EXPECT_GT(accepted, 0) << "'" << exporter.info().name << "' accepts none of the schemes it was asked about";
}

}  // namespace arkit::sdk::conformance
