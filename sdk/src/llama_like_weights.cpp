// LlamaLikeModel: what layouts it runs, and the loading of their tensors block by block.
#include <variant>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/sdk/nn.h>
#include <arkit/str.h>

#include "norm_names.h"

namespace arkit::sdk {

LlamaLikeModel::LlamaLikeModel(ModelLayout layout, const ModelSource& source, at::ScalarType dtype)
    : layout_(std::move(layout)), source_(source), dtype_(dtype) {
  ARKIT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "a model runs in float32 or bfloat16");
  require_llama_like(layout_, source.path().string());
  blocks_.resize(layout_.blocks.size());
  final_norm_.name = layout_.tokens.final_norm;
  for (const LinearSpec& spec : packed_layers(source)) packed_.insert(spec.name);
  check_tensors(layout_, source);
  for (const Rope& rope : layout_.ropes) frequencies_.push_back(rope_frequencies(rope, 1));
}

LlamaLikeModel::~LlamaLikeModel() = default;

void require_llama_like(const ModelLayout& layout, const std::string& what) {
  ARKIT_CHECK(layout.lists.size() == 1 && layout.outside.size() == 1 && !layout.blocks.empty(),
              "a llama-like layout has one list of blocks and a head");
  int64_t window = 0;
  for (const BlockLayout& block : layout.blocks) {
    const auto fail = [&](std::string_view missing) {
      throw_unsupported(str(what, ": block '", block.name, "' ", missing,
                            ", which the decoder of declared families does not have; such a family is a plugin "
                            "(docs/FAMILIES.md)"));
    };
    const auto* attention = std::get_if<Attention>(&block.mixer);
    const auto* dense = std::get_if<Dense>(&block.feed_forward);
    if (attention == nullptr) fail("has no plain attention");
    if (dense == nullptr || !find_activation(dense->activation)) fail("has no plain feed-forward network");
    if (block.norms.kind != "rms" && block.norms.kind != "layer")
      fail(str("has norms of kind '", block.norms.kind, "'"));
    if (attention->key_dim != attention->value_dim) fail("has keys and values of different widths");
    if (attention->window > 0 && window > 0 && attention->window != window) fail("has a second size of window");
    if (attention->window > 0) window = attention->window;
  }
}

std::vector<std::string> LlamaLikeModel::norm_names(int64_t block) const {
  return norm_weights(layout_of(block).norms);
}

// The mapped tensor itself when it has the model's dtype, else a converted copy, whose source pages are given back.
at::Tensor LlamaLikeModel::load(const std::string& tensor) const {
  const at::Tensor stored = source_.weights().load(tensor);
  if (stored.scalar_type() == dtype_) return stored;
  at::Tensor converted = stored.to(dtype_);
  source_.weights().release(tensor);
  return converted;
}

Linear LlamaLikeModel::load_linear(const LayerPlan& plan) const {
  Linear linear;
  linear.name = plan.name;
  linear.out_features = plan.out_features;
  linear.in_features = plan.in_features;
  linear.fused_group = plan.fused_group;
  linear.rotation = input_rotation(source_, plan.name);
  if (packed(plan.name)) return linear;
  linear.weight = load(plan.name + ".weight");
  if (plan.has_bias) linear.bias = load(plan.name + ".bias");
  return linear;
}

void LlamaLikeModel::release_linear(Linear& linear) const noexcept {
  const bool had_weight = linear.weight.defined(), had_bias = linear.bias.defined();
  linear.weight.reset();
  linear.bias.reset();
  if (had_weight) source_.weights().release(linear.name + ".weight");
  if (had_bias) source_.weights().release(linear.name + ".bias");
}

void LlamaLikeModel::load_block(int64_t block) {
  std::unique_ptr<Block>& slot = blocks_.at(static_cast<size_t>(block));
  if (slot) return;
  auto fresh = std::make_unique<Block>();
  for (const LayerPlan& plan : layout_of(block).layers) fresh->linears.push_back(load_linear(plan));
  const Norms& n = layout_of(block).norms;
  const std::string* names[] = {&n.mixer_in, &n.mixer_out, &n.feed_forward_in, &n.feed_forward_out, &n.query, &n.key};
  const std::vector<Norm*> all = norms(*fresh);
  for (size_t i = 0; i < all.size(); ++i)
    if (!names[i]->empty()) *all[i] = load_norm(*names[i]);
  slot = std::move(fresh);
}

void LlamaLikeModel::release_block(int64_t block) noexcept {
  if (block < 0 || block >= num_blocks()) return;
  const std::unique_ptr<Block> gone = std::move(blocks_[static_cast<size_t>(block)]);
  if (!gone) return;
  for (Linear& linear : gone->linears) release_linear(linear);
  for (Norm* norm : norms(*gone)) release_norm(*norm);
}

LlamaLikeModel::Norm LlamaLikeModel::load_norm(const std::string& name) const {
  Norm norm{.name = name, .weight = load(name), .bias = {}};
  if (layout_.blocks.front().norms.bias) norm.bias = load(norm_bias(name));
  return norm;
}

void LlamaLikeModel::release_norm(Norm& norm) const noexcept {
  if (norm.name.empty()) return;
  const bool had_bias = norm.bias.defined();
  norm.weight.reset();
  norm.bias.reset();
  source_.weights().release(norm.name);
  if (had_bias) source_.weights().release(norm_bias(norm.name));
}

// All places, also those where the block has none.
std::vector<LlamaLikeModel::Norm*> LlamaLikeModel::norms(Block& block) {
  return {&block.mixer_in, &block.mixer_out, &block.feed_forward_in, &block.feed_forward_out, &block.query, &block.key};
}

const LlamaLikeModel::Block& LlamaLikeModel::loaded(int64_t block) const {
  const std::unique_ptr<Block>& slot = blocks_.at(static_cast<size_t>(block));
  ARKIT_CHECK(slot != nullptr, str("block ", block, " is not loaded"));
  return *slot;
}

std::vector<Linear*> LlamaLikeModel::block_linears(int64_t block) {
  (void)loaded(block);
  std::vector<Linear*> out;
  for (Linear& linear : blocks_[static_cast<size_t>(block)]->linears) out.push_back(&linear);
  return out;
}

void LlamaLikeModel::load_rest() {
  if (embeddings_.defined()) return;
  if (!final_norm_.name.empty()) final_norm_ = load_norm(final_norm_.name);
  embeddings_ = source_.weights().load(table_name());
}

// A tied model may store its one matrix as the head.
std::string LlamaLikeModel::table_name() const {
  const std::string& name = layout_.tokens.embedding;
  return source_.weights().find(name) != nullptr ? name : head_plan().name + ".weight";
}

void LlamaLikeModel::release_rest() noexcept {
  embeddings_.reset();
  release_norm(final_norm_);
  head_ = Linear();
  stored_head_.reset();
  for (const std::string& name : {layout_.tokens.embedding, head_plan().name + ".weight", head_plan().name + ".bias"})
    if (source_.weights().find(name) != nullptr) source_.weights().release(name);
}

Linear& LlamaLikeModel::materialised_head() const {
  ARKIT_CHECK(embeddings_.defined(), "the head is not loaded: call load_rest first");
  if (!head_.name.empty()) return head_;
  if (tied_embeddings()) {
    const LayerPlan& plan = head_plan();
    head_.out_features = plan.out_features;
    head_.in_features = plan.in_features;
    head_.weight = embeddings_.to(dtype_);
    if (plan.has_bias) head_.bias = load(plan.name + ".bias");
    head_.name = plan.name;
  } else {
    head_ = load_linear(head_plan());
  }
  return head_;
}

Linear& LlamaLikeModel::head() {
  return materialised_head();
}

Linear LlamaLikeModel::head_strip(int64_t first, int64_t count) const {
  ARKIT_CHECK(embeddings_.defined(), "the head is not loaded: call load_rest first");
  ARKIT_CHECK(has_head_strips(), "a packed head has no strips");
  const LayerPlan& plan = head_plan();
  const bool tied = tied_embeddings();
  Linear strip;
  strip.name = plan.name;
  strip.out_features = count;
  strip.in_features = plan.in_features;
  if (!tied) strip.rotation = input_rotation(source_, plan.name);
  if (plan.has_bias) strip.bias = load(plan.name + ".bias").narrow(0, first, count);
  if (!head_.name.empty()) {
    strip.weight = head_.weight.narrow(0, first, count);
    return strip;
  }
  const std::string tensor = tied ? table_name() : plan.name + ".weight";
  if (!tied && !stored_head_.defined()) stored_head_ = source_.weights().load(tensor);
  const at::Tensor rows = (tied ? embeddings_ : stored_head_).narrow(0, first, count);
  strip.weight = rows.to(dtype_);
  if (rows.scalar_type() != dtype_) source_.weights().release(tensor);
  return strip;
}

}  // namespace arkit::sdk
