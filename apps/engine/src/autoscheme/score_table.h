#pragma once
// What scoring and the program of AutoScheme talk in: the options of every layer, what each costs the model, and the
// groups of layers that change together. No LibTorch here.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <arkit/descriptors.h>

// The room's namespace is auto_scheme: arkit::auto_scheme is the job (jobs.h).
namespace arkit::auto_scheme {

// The cost of an option that a group cannot have: no budget pays it, and sums with it do not overflow.
inline constexpr int64_t kNotOffered = int64_t{1} << 50;

// One scheme a layer may get. Both sides with 16 bits or more = the layer is left alone and loses nothing.
struct SchemeOption {
  std::string name;  // as typed
  LayerQuant quant;
};

// A layer the program decides on. `plan.quant` is not looked at.
struct PoolLayer {
  LayerPlan plan;
  // What each option means for this layer, in the order of the options: the option's own quant, another one where the
  // layer's shape asks for it, or 16 bits where it cannot be quantized so.
  std::vector<LayerQuant> quants;
};

// How much worse the model is expected to get when one layer is quantized. The unit depends on the score: "default" is
// the divergence from the float model in nats a token, "compat" is AutoRound's number, of which only ratios mean
// something. Losses of different layers are added.
struct ScoreTable {
  std::vector<std::string> options;       // names
  std::vector<std::string> layers;        // names, in the order of the pool
  std::vector<std::vector<double>> loss;  // [layer][option], >= 0; 0 where the layer is left alone
};

// Layers that get one option together, and what each option costs of the budget, in whatever unit the budget has.
struct ChoiceGroup {
  std::vector<size_t> layers;  // indices into the pool
  std::vector<int64_t> bits;   // by option; kNotOffered = cannot be taken
  size_t choice = 0;           // the option taken
};

}  // namespace arkit::auto_scheme
