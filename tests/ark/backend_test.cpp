// The ark backend through the door, over the schemes whose codes it takes.
#include <algorithm>

#include <gtest/gtest.h>

#include <arkit/registry.h>

#include "conformance/backend_suite.h"
#include "inference/support.h"

namespace arkit::conformance {
namespace {

InferenceBackend& ark() {
  return tests::registry().backend("ark");
}

struct Kind {
  const char* name;
  TensorQuant quant;
};

const Kind kKinds[] = {
    {"int2", {.bits = 2, .group_size = 32}},
    {"int3", {.bits = 3, .group_size = 64}},
    {"int4", {.bits = 4, .group_size = 64}},
    {"int4_asym", {.bits = 4, .group_size = 32, .sym = false}},
    {"int4_channel", {.bits = 4, .group_size = -1}},
    {"int5", {.bits = 5, .group_size = 64}},
    {"int6_asym", {.bits = 6, .group_size = 48, .sym = false}},
    {"int7", {.bits = 7, .group_size = 64}},
    {"int8", {.bits = 8, .group_size = -1}},
    {"int8_asym", {.bits = 8, .group_size = 64, .sym = false}},
    {"mxfp4", {.data_type = "mx_fp", .bits = 4, .group_size = 32}},
    {"mxint4", {.data_type = "mx_int", .bits = 4, .group_size = 32}},
    {"mxint8", {.data_type = "mx_int", .bits = 8, .group_size = 32}},
    {"nvfp4", {.data_type = "nv_fp", .bits = 4, .group_size = 16}},
};

// The scheme's own rounding of random weights; what the codes stand for is the exact weight.
BackendCase layer_of(const Kind& kind, int64_t out, int64_t in, bool bias) {
  BackendCase c = random_layer(ark, std::string(kind.name) + (bias ? "_bias" : ""), out, in, bias);
  Scheme& scheme = tests::registry().scheme_for(kind.quant.data_type);
  c.spec.quant.weight = kind.quant;
  const QuantizedWeight codes = scheme.quantize_rtn(c.weight, kind.quant, RtnMode::plain, {}, 0, {});
  c.weight = scheme.dequantize(codes, kind.quant, at::kFloat);
  c.codes = [codes] { return codes; };
  // Activations are rounded to 127 steps of the greatest of a block, which of 128 normal ones is about 2.8: errors of
  // 0.0064 in the mean, which add up at random; the greatest of some thousand sums is six times that.
  c.atol = 0.04 * c.weight.square().sum(1).sqrt().max().item<double>();
  return c;
}

std::vector<BackendCase> cases() {
  std::vector<BackendCase> all;
  for (const Kind& kind : kKinds) {
    all.push_back(layer_of(kind, 96, 192, false));
    all.push_back(layer_of(kind, 70, 256, true));
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Ark, BackendSuite, testing::ValuesIn(cases()), backend_case_name);

}  // namespace
}  // namespace arkit::conformance
