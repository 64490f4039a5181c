#pragma once
// What a backend says yes to, found out by asking it about many layers: what is shown is what it answers.

#include <cstdint>
#include <string>
#include <vector>

#include <arkit/inference_backend.h>
#include <arkit/registry.h>

namespace arkit {

// Layers of one kind of weight that get one answer. Every combination of the lists was asked and got it.
struct BackendRuns {
  std::string data_type;
  std::string activations;  // "16-bit", or how they are quantized
  std::vector<int64_t> bits;
  std::vector<int64_t> group_sizes;  // consecutive weights of a group; -1 = a row
  int64_t block_rows = 0;            // > 0: blocks of so many rows
  bool every_group_size = false;     // of those that were asked and that the data type can have
  bool sym = false, asym = false;
  int score = 0;
  bool own_activations = false;
  std::vector<std::string> packings;  // empty = whatever the packing
  // Numbers of outputs and inputs must be multiples of these; 0 = of nothing that was asked.
  int64_t out_multiple = 0, in_multiple = 0;
};

[[nodiscard]] std::vector<BackendRuns> probe_backend(const InferenceBackend& backend, size_t device,
                                                     const Registry& registry);

}  // namespace arkit
