#include "jobs/memory_estimate.h"

#include <algorithm>
#include <map>

namespace arkit {
namespace {

constexpr int64_t kProcessBytes = int64_t{200} << 20;  // LibTorch, thread pools, small buffers; measured

struct BlockSize {
  int64_t weights = 0;          // elements of the block's linears
  int64_t largest = 0;          // elements of its largest linear
  int64_t output_features = 0;  // sum over linears: activations autograd keeps, per token
};

BlockSize largest_block(const QuantPlan& plan) {
  std::map<int64_t, BlockSize> blocks;
  for (const LayerPlan& layer : plan.layers) {
    if (layer.block < 0) continue;
    BlockSize& size = blocks[layer.block];
    const int64_t elements = layer.out_features * layer.in_features;
    size.weights += elements;
    size.largest = std::max(size.largest, elements);
    size.output_features += layer.out_features;
  }
  BlockSize worst;
  for (const auto& [block, size] : blocks)
    if (size.weights > worst.weights) worst = size;
  return worst;
}

}  // namespace

int64_t estimate_peak_bytes(const QuantPlan& plan, const ResolvedTuning& tuning, const ModelLayout& layout, bool tunes,
                            bool uses_samples, at::ScalarType dtype) {
  const BlockSize block = largest_block(plan);
  const auto element = static_cast<int64_t>(c10::elementSize(dtype));
  // Plain RTN opens as many layers as fit into the memory of the two largest (rounding/round_model.cpp).
  if (!uses_samples) return kProcessBytes + 2 * element * block.largest;
  const int64_t hidden = layout.lists.empty() ? 0 : layout.lists.front().hidden_size;
  const int64_t tokens = tuning.nsamples * tuning.seqlen;
  const int64_t caches = (tunes ? 3 : 2) * tokens * hidden * element;
  const int64_t batch_tokens = tuning.batch_size * tuning.seqlen;
  // Activations kept for the backward pass: every linear's input and output, attention and norms: about three times the
  // outputs.
  const int64_t activations = (tunes ? 3 : 1) * batch_tokens * (block.output_features + 4 * hidden) * element;
  // Tuning state: the weight, its fake-quantized copy, the gradient of both and the rounding offsets with their best
  // copy, f32.
  const int64_t state = block.weights * (tunes ? 2 * element + 16 : 2 * element);
  return kProcessBytes + state * tuning.nblocks + caches + activations + layout.tokens.vocab_size * hidden * element;
}

}  // namespace arkit
