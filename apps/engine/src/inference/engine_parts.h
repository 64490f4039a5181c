#pragma once
// What an Engine keeps of packed layers; its sources include this and no one else.

#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/scheme.h>

#include "inference/engine.h"

namespace arkit {

struct Engine::PackedLayer {
  LinearSpec spec;  // see for_backends
  InferenceBackend* backend = nullptr;
  size_t device = 0;             // of the backend
  bool exact = false;            // LayerWeights::exact
  Scheme* act_scheme = nullptr;  // null = the backend is given activations as they are
  at::Tensor act_max;            // calibrated maximum of static activations; undefined = dynamic
  PackedUnit* unit = nullptr;    // runs it with others
  std::unique_ptr<QuantLinear> linear;
  std::vector<std::string> parts;  // names of its tensors

  [[nodiscard]] at::Tensor input(const at::Tensor& x) const {
    return act_scheme == nullptr ? x : act_scheme->fake_quant_act(x, spec.quant.act, act_max);
  }
};

// Layers that are fed one input and made ready together.
struct Engine::PackedUnit {
  std::vector<PackedLayer*> layers;
  std::unique_ptr<QuantLinear> linears;

  [[nodiscard]] bool is(std::span<const Linear* const> asked) const {
    return std::equal(asked.begin(), asked.end(), layers.begin(), layers.end(),
                      [](const Linear* one, const PackedLayer* other) { return one->name == other->spec.name; });
  }
};

// A decoder block that its backend runs as one.
struct Engine::WholeBlock {
  BlockSpec spec;
  std::vector<PackedLayer*> layers;  // all of one backend and device
  bool cache_int8 = false;           // see BackendVerdict
  std::unique_ptr<QuantBlock> ready;
};

}  // namespace arkit
