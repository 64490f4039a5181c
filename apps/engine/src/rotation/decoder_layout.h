#pragma once
// Where the tensors of a llama-like decoder are, as rotations of the whole model need them.

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit::rotation {

// Families whose blocks are: residual += o(attention(q, k, v of norm)), residual += down(act(gate) * up of norm), with
// RMSNorm gains that multiply what they norm.
[[nodiscard]] const std::vector<std::string>& rotated_families();

struct BlockNames {  // layers without ".weight", norms with it
  std::string q, k, v, o, gate, up, down;
  std::string attention_norm, mlp_norm;
};

struct DecoderLayout {
  std::string embedding, final_norm;          // full tensor names
  std::string embedding_origin, head_origin;  // where the checkpoint keeps their values
  bool tied = false;                          // one tensor serves both
  int64_t hidden = 0, intermediate = 0, head_dim = 0;
  std::vector<BlockNames> blocks;
  std::set<std::string, std::less<>> readers;  // every q, k, v, gate and up
  std::set<std::string, std::less<>> downs;
};

// Throws ErrorCode::unsupported naming the family when it is none of rotated_families(), or its blocks hold other
// layers than these.
[[nodiscard]] DecoderLayout read_layout(const ModelSource& source, const Registry& registry);

}  // namespace arkit::rotation
