#pragma once
// A model ready to compute logits: plain layers in full precision, packed layers through the best backend. Blocks can
// stay resident (generation) or come and go one by one (evaluation).

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/inference_backend.h>
#include <arkit/log.h>
#include <arkit/model_adapter.h>
#include <arkit/registry.h>
#include <arkit/sdk/sequence_cache.h>

#include "inference/attention_quantizer.h"
#include "inference/backend_choice.h"
#include "inference/prepared_cache.h"

namespace arkit {

// "float32", "bfloat16", "auto" (bfloat16 where the CPU multiplies it, else float32). Throws ErrorCode::usage.
[[nodiscard]] at::ScalarType compute_dtype(const std::string& name);

class Engine {
 public:
  // All of them outlive the engine. Throws ErrorCode::unsupported with every backend's reason when a packed layer finds
  // none. `reporter` is told which backend stands in for another one, what runs in full size and what would be better.
  Engine(const ModelSource& source, const Registry& registry, at::ScalarType dtype, const BackendWish& wish,
         Reporter& reporter);
  // Tells nobody.
  Engine(const ModelSource& source, const Registry& registry, at::ScalarType dtype, const std::string& backend);
  ~Engine();

  [[nodiscard]] Model& model() const { return *model_; }
  [[nodiscard]] at::ScalarType dtype() const { return dtype_; }

  void load_block(int64_t block);
  void release_block(int64_t block) noexcept;
  void load_all();  // every block and the rest
  // From now on release_block does nothing and the head is converted as a whole. The numbers are the same.
  void keep_resident() noexcept { keeps_ = true; }
  // From now on blocks that a backend takes whole are made ready and run by it, in run_whole alone; with one at least
  // and `head_bits` below 16, the head too, rounded to integers of so many bits where it is stored in 16. To be called
  // before anything is loaded. `kv_cache_dtype` is "auto", "float32", "bfloat16" or "int8"; ErrorCode::unsupported where
  // a block's keys and values cannot be kept so.
  void use_whole_blocks(int64_t head_bits, const std::string& kv_cache_dtype = "auto");
  // Positions of a page of a cache, `wanted` at least.
  [[nodiscard]] int64_t page_size(int64_t wanted) const;
  [[nodiscard]] int64_t whole_blocks() const { return static_cast<int64_t>(whole_.size()); }
  [[nodiscard]] bool has_packed_head() const { return !packed_head_.empty(); }
  // What the whole blocks of one forward share; empty at its beginning.
  struct WholeStep {
    std::vector<BlockStep::Span> spans;
    std::map<int64_t, std::pair<at::Tensor, at::Tensor>> turns;  // cos and sin in float32, by rope
  };
  // Whether `block` is one of them: `hidden` [1, rows, hidden_size] becomes its output, the sequences of `context` grow
  // in `cache`.
  [[nodiscard]] bool run_whole(int64_t block, at::Tensor& hidden, const ForwardContext& context,
                               sdk::SequenceCache& cache, WholeStep& shared) const;
  void load_rest();  // embeddings, final norm and head

  // These run without gradients. `forward` needs load_all; rows, attention_mask and position_ids as in Model::context.
  // With `last_only` the logits are those of the last position, [batch, 1, vocab].
  [[nodiscard]] at::Tensor run_block(int64_t block, const at::Tensor& hidden, const ForwardContext& context) const;
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden);
  // logits() for a part of the vocabulary, from rows of the head; see HeadStrips. Where has_head_strips is false only
  // the whole head is.
  [[nodiscard]] bool has_head_strips() const;
  [[nodiscard]] Linear head_strip(int64_t first, int64_t count) const;
  [[nodiscard]] at::Tensor strip_logits(const at::Tensor& hidden, const Linear& strip) const;
  [[nodiscard]] at::Tensor forward(const at::Tensor& input_ids, const at::Tensor& attention_mask,
                                   const at::Tensor& position_ids, bool last_only);

  // What hooks with caches wrap: packed layers on their backends. Between it and them comes QuantizedAttention.
  [[nodiscard]] BlockHook& layers() const;
  [[nodiscard]] const AttentionQuantizer& attention() const { return attention_; }

  // Throws ErrorCode::input naming `what` when an id is not a row of the embeddings.
  void check_ids(const at::Tensor& input_ids, const std::string& what) const;

  // Packed layers by the backend that was chosen for them.
  [[nodiscard]] const std::map<std::string, int64_t>& layers_by_backend() const { return layers_by_backend_; }
  // What backends have made ready: layers that are fed one input and run together count once.
  [[nodiscard]] int64_t prepared() const;
  [[nodiscard]] const PreparedCache* prepared_cache() const { return cache_.get(); }  // null = none was wished for

 private:
  struct PackedLayer;
  struct PackedUnit;
  class Hook;

  struct WholeBlock;

  void choose_backends(const BackendWish& wish, Reporter& reporter);
  void choose_units();
  [[nodiscard]] bool one_unit(const std::vector<PackedLayer*>& layers) const;
  void make_ready(const std::string& layer);
  [[nodiscard]] LayerWeights weights_of(PackedLayer& layer, const std::function<QuantizedWeight()>& codes) const;
  [[nodiscard]] std::unique_ptr<QuantLinear> make_linears(const PackedLayer& first,
                                                          std::span<const LayerWeights> weights) const;
  void release_parts(const PackedLayer& layer) const noexcept;
  [[nodiscard]] const QuantLinear& alone(PackedLayer& layer);
  void make_whole(WholeBlock& block);
  void find_whole_blocks();
  void choose_cache(const std::string& dtype);
  void plan_packed_head(int64_t bits);
  void make_packed_head();
  [[nodiscard]] QuantizedWeight rounded_head(const LinearSpec& spec) const;

  std::unique_ptr<ModelSource> plain_tables_;  // null = no embedding is packed
  const ModelSource& source_;
  const Registry& registry_;
  at::ScalarType dtype_;
  std::unique_ptr<Model> model_;
  AttentionQuantizer attention_;
  std::map<std::string, PackedLayer, std::less<>> packed_;
  std::map<std::string, PackedUnit, std::less<>> units_;  // by fused group
  std::unique_ptr<Hook> hook_;
  std::unique_ptr<QuantizedAttention> dense_;  // hook_ with attention over whole rows
  ModelLayout layout_;                         // what whole_ points into
  std::map<int64_t, WholeBlock> whole_;        // by block
  std::optional<at::ScalarType> cache_dtype_;  // of whole blocks' keys and values; unset = dtype_
  std::string packed_head_;                    // its name, where its codes are made here; empty = they are not
  std::map<std::string, int64_t> layers_by_backend_;
  std::unique_ptr<PreparedCache> cache_;
  bool keeps_ = false;
};

}  // namespace arkit
