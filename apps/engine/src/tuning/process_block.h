#pragma once
// One decoder block from full precision to codes, in the order of docs/spec/signround.md 2: reference output,
// calibration, tuning (SignRound), search (OPT-RTN) or plain rounding (RTN), and the inputs of the next block.

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/scheme.h>

#include "quant/scheme_traits.h"
#include "tuning/block_folds.h"
#include "tuning/collect.h"
#include "tuning/context_cache.h"
#include "tuning/tune_block.h"
#include "tuning/tune_options.h"
#include "util/python_random.h"

namespace arkit {

// Inputs of the next block for all samples, [nsamples, seqlen, hidden] in the compute dtype. Never more than two such
// tensors exist: outputs overwrite inputs as soon as those are not needed.
struct BlockIo {
  at::Tensor full;       // of the full-precision chain; undefined = data-free RTN
  at::Tensor quantized;  // of the chain of quantized blocks; undefined before the first block
};

struct ProcessOptions {
  TuneOptions tune;  // iters 0: OPT-RTN or RTN
  bool enable_quanted_input = true;
  std::optional<bool> disable_opt_rtn;
  at::Tensor attention_mask;      // [nsamples, seqlen], 1 = real token; undefined = all real
  at::Tensor loss_mask;           // u8 [nsamples, seqlen], see loss_mask()
  bool want_dequantized = false;  // fill QuantizedLayer::dequantized even where nothing here needs it
  bool want_imatrix = false;      // measure QuantizedLayer::imatrix even where no rounding looks at it
  // A matrix from a file, by layer: f32 [in]; undefined for a layer it does not have, whose inputs count alike. Null =
  // importance is measured.
  std::function<at::Tensor(std::string_view)> importance;
  BlockFolds* folds = nullptr;  // what transforms weights first, one block at a time; null = nothing does
};

struct QuantizedLayer {
  const LayerPlan* plan = nullptr;
  QuantizedWeight quantized;
  at::Tensor dequantized;  // [out, in] in the model's dtype; undefined unless wanted or needed for the next input
  at::Tensor bias;         // tuned bias; undefined = as loaded
  at::Tensor act_max;      // static activations: calibrated (and tuned) maximum
  at::Tensor imatrix;      // as InputStatistics has it, where ProcessOptions::want_imatrix
  int64_t imatrix_count = 0, imatrix_tokens = 0;
};

struct BlockResult {
  std::vector<QuantizedLayer> layers;                    // in the order of Model::block_linears
  std::map<std::string, at::Tensor, std::less<>> norms;  // tuned or transformed norm weights
  std::map<std::string, at::Tensor, std::less<>> plain;  // transformed tensors of layers that stay in 16 bits
  std::vector<AttentionRanges> attention;                // of the blocks' modules, where plan.attention asks for them
  std::vector<double> losses;                            // one an iteration; empty = nothing was tuned
  int64_t best_iter = -1;
  double best_loss = -1;
  double seconds = 0, tokens_per_second = 0;  // the latter over tuning iterations
  TuneTimes times;
};

class ARKIT_EXPORT BlockProcessor {
 public:
  // `model`, `plan`, `reporter` and `random` outlive the processor; model belongs to the same thread.
  BlockProcessor(Model& model, const QuantPlan& plan, SchemeFor scheme_for, ProcessOptions options, Reporter& reporter,
                 PythonRandom& random);

  // Quantizes blocks first .. first + count - 1 together and moves io past them; loads them but leaves the release to
  // the caller. `propagate_quantized` false skips the last step, the quantized chain's output, when nobody reads it.
  [[nodiscard]] BlockResult process(int64_t first, int64_t count, BlockIo& io, bool propagate_quantized = true);

  // Quantizes the head, if planned, from the outputs of the last block (docs/spec/signround.md 8). io is used up.
  [[nodiscard]] BlockResult process_head(BlockIo& io);

 private:
  struct Layer;  // a planned layer with its schemes and what calibration found

  [[nodiscard]] std::vector<Layer> planned(std::span<Linear* const> linears) const;
  [[nodiscard]] bool tunes() const { return options_.tune.iters > 0; }
  [[nodiscard]] const ForwardContext& context(std::span<const int64_t> samples, int64_t seqlen);
  [[nodiscard]] BlockForward forward_of(int64_t first, int64_t count);
  [[nodiscard]] StatisticsHook watch(const std::vector<Layer>& layers, bool imatrix, bool act_max) const;
  [[nodiscard]] bool needs_imatrix(const Layer& layer) const;
  [[nodiscard]] bool measures_imatrix(const Layer& layer) const;
  [[nodiscard]] RtnMode mode_of(const LayerPlan& layer) const;
  // Gives the ranges of attention states, if the plan wants any.
  [[nodiscard]] std::vector<AttentionRanges> calibrate(std::vector<Layer>& layers, const BlockForward& forward,
                                                       const at::Tensor& full, const at::Tensor& input,
                                                       const at::Tensor& target, const std::string& what);
  void fill_act_max(std::vector<Layer>& layers);
  [[nodiscard]] std::vector<std::pair<std::string, at::Tensor>> norm_weights(int64_t first, int64_t count,
                                                                             const BlockForward& forward,
                                                                             const at::Tensor& input) const;
  void share_global_scales(std::vector<Layer>& layers) const;
  void round_layers(std::vector<Layer>& layers, bool need_weights, BlockResult& result) const;
  void tune_layers(std::vector<Layer>& layers, TuneTask task, BlockResult& result);
  void finish(QuantizedLayer& out, const Layer& layer, bool needs_weight) const;
  [[nodiscard]] QuantizedHook quantized_hook(const std::vector<Layer>& layers, const BlockResult& result) const;
  // Rounds without tuning and moves io past the blocks.
  void round_blocks(std::vector<Layer>& layers, const BlockForward& forward, BlockIo& io, const std::string& what,
                    bool propagate_quantized, BlockResult& result);
  void fold(int64_t block, std::span<Linear* const> linears, const BlockForward& forward, const at::Tensor& input);
  void report_folds(std::span<Linear* const> linears, BlockResult& result) const;

  Model& model_;
  const QuantPlan& plan_;
  SchemeFor scheme_for_;
  bool plain_by_default_ = false, outlier_free_ = false;  // what the global scheme says
  ProcessOptions options_;
  Reporter& reporter_;
  PythonRandom& random_;
  std::map<std::string_view, const LayerPlan*> by_name_;
  ContextCache contexts_;  // when no sample has a mask of its own
  ForwardContext masked_context_;
  FoldedBlock folded_;  // of the block under way
};

}  // namespace arkit
