// LlamaLikeModel: which tensors there must be, and their loading block by block.
#include <map>
#include <variant>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/sdk/nn.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (const int64_t d : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(d);
  return out + "]";
}

bool usable_dtype(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf || type == at::kDouble;
}

}  // namespace

LlamaLikeModel::LlamaLikeModel(ModelLayout layout, const ModelSource& source, at::ScalarType dtype)
    : layout_(std::move(layout)), source_(source), dtype_(dtype) {
  ARKIT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "a model runs in float32 or bfloat16");
  check_layout();
  blocks_.resize(layout_.blocks.size());
  final_norm_.name = layout_.tokens.final_norm;
  for (const LinearSpec& spec : packed_layers(source)) packed_.insert(spec.name);
  check_tensors();
  for (const Rope& rope : layout_.ropes) frequencies_.push_back(rope_frequencies(rope, 1));
}

LlamaLikeModel::~LlamaLikeModel() = default;

// What this decoder does not have would be computed as if it were not there.
void LlamaLikeModel::check_layout() const {
  ARKIT_CHECK(layout_.lists.size() == 1 && layout_.outside.size() == 1 && !layout_.blocks.empty(),
              "a llama-like layout has one list of blocks and a head");
  int64_t window = 0;
  for (const BlockLayout& block : layout_.blocks) {
    const auto fail = [&](std::string_view what) {
      throw_unsupported(str(source_.path().string(), ": block '", block.name, "' ", what,
                            ", which the decoder of declared families does not have; such a family is a plugin "
                            "(docs/FAMILIES.md)"));
    };
    const auto* attention = std::get_if<Attention>(&block.mixer);
    const auto* dense = std::get_if<Dense>(&block.feed_forward);
    if (attention == nullptr) fail("has no plain attention");
    if (dense == nullptr || !find_activation(dense->activation)) fail("has no plain feed-forward network");
    if (block.norms.kind != "rms") fail(str("has norms of kind '", block.norms.kind, "'"));
    if (attention->key_dim != attention->value_dim) fail("has keys and values of different widths");
    if (attention->softcap != 0.0) fail("caps its attention scores");
    if (attention->window > 0 && window > 0 && attention->window != window) fail("has a second size of window");
    if (attention->window > 0) window = attention->window;
  }
}

std::vector<AttentionPlan> LlamaLikeModel::attentions() const {
  std::vector<AttentionPlan> out;
  for (size_t block = 0; block < layout_.blocks.size(); ++block) {
    const auto& a = std::get<Attention>(layout_.blocks[block].mixer);
    out.push_back({.name = a.module,
                   .block = static_cast<int64_t>(block),
                   .heads = a.heads,
                   .kv_heads = a.kv_heads,
                   .key_dim = a.key_dim,
                   .value_dim = a.value_dim});
  }
  return out;
}

std::vector<std::string> LlamaLikeModel::norm_names(int64_t block) const {
  const Norms& n = layout_of(block).norms;
  std::vector<std::string> out = {n.mixer_in, n.mixer_out, n.feed_forward_in, n.feed_forward_out, n.query, n.key};
  std::erase(out, std::string());
  return out;
}

void LlamaLikeModel::check_tensor(const std::string& name, std::vector<int64_t> shape) const {
  const TensorInfo* info = source_.weights().find(name);
  if (info == nullptr)
    throw_input(str(source_.path().string(), ": tensor '", name, "' is missing; config.json asks for it with shape ",
                    shape_text(shape)));
  if (info->shape != shape)
    throw_input(str(source_.path().string(), ": tensor '", name, "' has shape ", shape_text(info->shape),
                    "; config.json asks for ", shape_text(shape)));
  if (!usable_dtype(info->dtype))
    throw_unsupported(str(source_.path().string(), ": tensor '", name, "' is stored as ", printable(info->stored_type),
                          "; expected F32, F16 or BF16 ('arkit list formats' shows the packed formats arkit reads)"));
}

void LlamaLikeModel::check_packed() const {
  if (packed_.empty()) return;
  std::map<std::string, LayerPlan, std::less<>> plans;
  for (LayerPlan& plan : linears()) plans.emplace(plan.name, std::move(plan));
  for (const LinearSpec& spec : packed_layers(source_)) {
    const auto found = plans.find(spec.name);
    if (found == plans.end()) continue;
    const LayerPlan& plan = found->second;
    if (plan.out_features != spec.out_features || plan.in_features != spec.in_features)
      throw_input(str(source_.path().string(), ": packed layer '", spec.name, "' is ", spec.out_features, " x ",
                      spec.in_features, "; config.json asks for ", plan.out_features, " x ", plan.in_features));
    if (plan.has_bias && !spec.has_bias)
      throw_input(str(source_.path().string(), ": tensor '", spec.name,
                      ".bias' is missing; config.json asks for a bias of every layer of this kind"));
  }
}

void LlamaLikeModel::check_norms(const BlockLayout& block) const {
  const Norms& n = block.norms;
  const auto& a = std::get<Attention>(block.mixer);
  for (const std::string& name : {n.mixer_in, n.mixer_out, n.feed_forward_in, n.feed_forward_out})
    if (!name.empty()) check_tensor(name, {hidden_size()});
  if (!n.query.empty()) check_tensor(n.query, {n.whole_heads ? a.heads * a.key_dim : a.key_dim});
  if (!n.key.empty()) check_tensor(n.key, {n.whole_heads ? a.kv_heads * a.key_dim : a.key_dim});
}

void LlamaLikeModel::check_tensors() const {
  check_packed();
  for (const BlockLayout& block : layout_.blocks) {
    for (const LayerPlan& plan : block.layers) {
      if (packed(plan.name)) continue;
      check_tensor(plan.name + ".weight", {plan.out_features, plan.in_features});
      if (plan.has_bias) check_tensor(plan.name + ".bias", {plan.out_features});
    }
    check_norms(block);
  }
  if (!final_norm_.name.empty()) check_tensor(final_norm_.name, {hidden_size()});
  const std::vector<int64_t> table = {vocab_size(), hidden_size()};
  const std::string head = head_plan().name + ".weight";
  // A checkpoint may hold only one of the two tied tensors (docs/spec/checkpoints.md 3).
  const bool head_alone = tied_embeddings() && source_.weights().find(layout_.tokens.embedding) == nullptr;
  if (!head_alone) check_tensor(layout_.tokens.embedding, table);
  // A packed head may keep its codes under the name of the weight (fp8, mlx).
  if (packed(head_plan().name)) return;
  if (head_alone || !tied_embeddings() || source_.weights().find(head) != nullptr) check_tensor(head, table);
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
    if (!names[i]->empty()) *all[i] = {*names[i], load(*names[i])};
  slot = std::move(fresh);
}

void LlamaLikeModel::release_block(int64_t block) noexcept {
  if (block < 0 || block >= num_blocks()) return;
  const std::unique_ptr<Block> gone = std::move(blocks_[static_cast<size_t>(block)]);
  if (!gone) return;
  for (Linear& linear : gone->linears) release_linear(linear);
  for (Norm* norm : norms(*gone)) {
    norm->weight.reset();
    if (!norm->name.empty()) source_.weights().release(norm->name);
  }
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
  if (!final_norm_.name.empty()) final_norm_.weight = load(final_norm_.name);
  embeddings_ = source_.weights().load(table_name());
}

// A tied model may store its one matrix as the head.
std::string LlamaLikeModel::table_name() const {
  const std::string& name = layout_.tokens.embedding;
  return source_.weights().find(name) != nullptr ? name : head_plan().name + ".weight";
}

void LlamaLikeModel::release_rest() noexcept {
  embeddings_.reset();
  final_norm_.weight.reset();
  head_ = Linear();
  stored_head_.reset();
  for (const std::string& name : {layout_.tokens.embedding, head_plan().name + ".weight", final_norm_.name})
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
