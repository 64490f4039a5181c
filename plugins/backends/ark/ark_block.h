#pragma once
// A decoder block, ready to run: everything from the hidden state in to the hidden state out, in float32 between the
// products, without LibTorch.

#include <array>
#include <string>
#include <vector>

#include <arkit/sdk/backend.h>

#include "kernels/block_kernels.h"
#include "layer_group.h"

namespace arkit::ark {

// Why the block cannot be run; empty = it can. Its layers have been asked about.
std::string why_no_block(const sdk::BlockSpec& block);

class ArkBlock final : public sdk::PreparedBlock {
 public:
  // `layers` and norms as the request has them.
  ArkBlock(const Kernels& kernels, const BlockKernels& between, int threads, const sdk::BlockRequest& request,
           std::vector<ArkLayer> layers);

  [[nodiscard]] int64_t bytes() const override;
  [[nodiscard]] ArkitType x_type() const override { return type_; }
  void run(const sdk::BlockRun& run, ArkitStream*) override;
  void save(const sdk::BlobSink& sink) const override;

 private:
  struct Part;  // rows of one sequence
  struct Rows;  // some rows and what is computed of them
  struct Shape {
    int64_t hidden, heads, kv_heads, head_dim, rope_half, window, width;
    int64_t query_width, kv_width;
    float attention_scale, residual_scale, epsilon, offset;
    bool neighbours;
    Activation activation;
  };

  [[nodiscard]] size_t bytes_for(int64_t rows, int threads) const;
  void run_rows(Rows& rows, int64_t me, int64_t of) const;
  void norm_row(int place, const float* x, int64_t n, float* out) const;
  void turn_row(const Rows& rows, const Part& part, int64_t row) const;
  void keep(const Rows& rows, const Part& part, int64_t position, const float* key, const float* value) const;
  void attend(const Rows& rows, int64_t task, float* scratch) const;
  void add_output(const Rows& rows, int place, const float* sublayer, int64_t row, float* scratch) const;

  const Kernels& kernels_;
  const BlockKernels& between_;
  int threads_;
  ArkitType type_;
  Shape shape_;
  std::array<std::vector<float>, ARKIT_NORM_COUNT> norms_;  // empty = absent
  std::vector<ArkitRole> roles_;                            // of the layers as they came
  LayerGroup attention_in_, attention_out_, feed_in_, feed_out_;
};

}  // namespace arkit::ark
