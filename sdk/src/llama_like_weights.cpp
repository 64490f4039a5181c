// LlamaLikeModel: which tensors there must be, and their loading block by block.
#include <algorithm>
#include <map>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/llama_like.h>
#include <arkit/sdk/tied_embeddings.h>
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

LlamaLikeModel::LlamaLikeModel(LlamaLikeConfig config, const ModelSource& source, at::ScalarType dtype)
    : config_(std::move(config)), source_(source), dtype_(dtype), prefix_("model.") {
  ARKIT_CHECK(dtype == at::kFloat || dtype == at::kBFloat16, "a model runs in float32 or bfloat16");
  if (source.weights().find("model.embed_tokens.weight") == nullptr &&
      source.weights().find("embed_tokens.weight") != nullptr)
    prefix_.clear();
  blocks_.resize(static_cast<size_t>(config_.num_blocks));
  final_norm_.name = prefix_ + "norm.weight";
  for (const LinearSpec& spec : source.packed_layers()) packed_.insert(spec.name);
  tied_ = find_tied_embeddings(source).tied;
  check_tensors();
  frequencies_ = rope_frequencies(config_.rope, 1);
}

LlamaLikeModel::~LlamaLikeModel() = default;

std::string LlamaLikeModel::block_name(int64_t block) const {
  return str(prefix_, "layers.", block);
}

// Module-definition order, which is the order AutoRound sees (docs/spec/decoder.md 1).
std::vector<LayerPlan> LlamaLikeModel::block_plans(int64_t block) const {
  const LlamaLikeConfig& c = config_;
  const std::string name = block_name(block), attention = name + ".self_attn.", mlp = name + ".mlp.";
  const auto plan = [&](const std::string& layer, int64_t out, int64_t in, bool bias, std::string fused) {
    LayerPlan p;
    p.name = layer;
    p.out_features = out;
    p.in_features = in;
    p.has_bias = bias;
    p.block = block;
    p.fused_group = std::move(fused);
    return p;
  };
  const int64_t d = c.hidden_size, query = c.heads * c.head_dim, key = c.kv_heads * c.head_dim;
  return {plan(attention + "q_proj", query, d, c.qkv_bias, attention + "qkv"),
          plan(attention + "k_proj", key, d, c.qkv_bias, attention + "qkv"),
          plan(attention + "v_proj", key, d, c.qkv_bias, attention + "qkv"),
          plan(attention + "o_proj", d, query, c.o_bias, ""),
          plan(mlp + "gate_proj", c.intermediate_size, d, c.mlp_bias, mlp + "gate_up"),
          plan(mlp + "up_proj", c.intermediate_size, d, c.mlp_bias, mlp + "gate_up"),
          plan(mlp + "down_proj", d, c.intermediate_size, c.mlp_bias, "")};
}

LayerPlan LlamaLikeModel::head_plan() const {
  LayerPlan p;
  p.name = "lm_head";
  p.out_features = config_.vocab_size;
  p.in_features = config_.hidden_size;
  return p;
}

std::vector<LayerPlan> LlamaLikeModel::linears() const {
  std::vector<LayerPlan> out;
  for (int64_t block = 0; block < config_.num_blocks; ++block)
    for (LayerPlan& plan : block_plans(block)) out.push_back(std::move(plan));
  out.push_back(head_plan());
  return out;
}

std::vector<AttentionPlan> LlamaLikeModel::attentions() const {
  std::vector<AttentionPlan> out;
  for (int64_t block = 0; block < config_.num_blocks; ++block)
    out.push_back({.name = block_name(block) + ".self_attn",
                   .block = block,
                   .heads = config_.heads,
                   .kv_heads = config_.kv_heads,
                   .key_dim = config_.head_dim,
                   .value_dim = config_.head_dim});
  return out;
}

std::vector<std::string> LlamaLikeModel::norm_names(int64_t block) const {
  const std::string name = block_name(block);
  std::vector<std::string> out = {name + ".input_layernorm.weight", name + ".post_attention_layernorm.weight"};
  if (config_.qk_norm) {
    out.push_back(name + ".self_attn.q_norm.weight");
    out.push_back(name + ".self_attn.k_norm.weight");
  }
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

void LlamaLikeModel::check_tensors() const {
  const auto linear = [&](const LayerPlan& plan) {
    if (packed(plan.name)) return;
    check_tensor(plan.name + ".weight", {plan.out_features, plan.in_features});
    if (plan.has_bias) check_tensor(plan.name + ".bias", {plan.out_features});
  };
  std::map<std::string, LayerPlan, std::less<>> plans;
  if (!packed_.empty())
    for (LayerPlan& plan : linears()) plans.emplace(plan.name, std::move(plan));
  for (const LinearSpec& spec : source_.packed_layers()) {
    const auto found = plans.find(spec.name);
    if (found == plans.end()) continue;
    const LayerPlan* plan = &found->second;
    if (plan->out_features != spec.out_features || plan->in_features != spec.in_features)
      throw_input(str(source_.path().string(), ": packed layer '", spec.name, "' is ", spec.out_features, " x ",
                      spec.in_features, "; config.json asks for ", plan->out_features, " x ", plan->in_features));
    if (plan->has_bias && !spec.has_bias)
      throw_input(str(source_.path().string(), ": tensor '", spec.name,
                      ".bias' is missing; config.json asks for a bias of every layer of this kind"));
  }
  for (int64_t block = 0; block < config_.num_blocks; ++block) {
    for (const LayerPlan& plan : block_plans(block)) linear(plan);
    const std::vector<std::string> names = norm_names(block);
    for (size_t i = 0; i < names.size(); ++i) check_tensor(names[i], {i < 2 ? config_.hidden_size : config_.head_dim});
  }
  check_tensor(final_norm_.name, {config_.hidden_size});
  const std::vector<int64_t> table = {config_.vocab_size, config_.hidden_size};
  const std::string embeddings = prefix_ + "embed_tokens.weight";
  // A checkpoint may hold only one of the two tied tensors (docs/spec/checkpoints.md 3).
  const bool head_alone = tied_ && source_.weights().find(embeddings) == nullptr;
  if (!head_alone) check_tensor(embeddings, table);
  // A packed head may keep its codes under the name of the weight (fp8, mlx).
  if (packed("lm_head")) return;
  if (head_alone || !tied_ || source_.weights().find("lm_head.weight") != nullptr)
    check_tensor("lm_head.weight", table);
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
  linear.rotation = source_.input_rotation(plan.name);
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
  for (const LayerPlan& plan : block_plans(block)) fresh->linears.push_back(load_linear(plan));
  const std::vector<std::string> names = norm_names(block);
  const std::vector<Norm*> all = norms(*fresh);
  for (size_t i = 0; i < names.size(); ++i) *all[i] = {names[i], load(names[i])};
  slot = std::move(fresh);
}

void LlamaLikeModel::release_block(int64_t block) noexcept {
  if (block < 0 || block >= config_.num_blocks) return;
  const std::unique_ptr<Block> gone = std::move(blocks_[static_cast<size_t>(block)]);
  if (!gone) return;
  for (Linear& linear : gone->linears) release_linear(linear);
  for (Norm* norm : norms(*gone)) {
    norm->weight.reset();
    source_.weights().release(norm->name);
  }
}

// In the order of norm_names.
std::vector<LlamaLikeModel::Norm*> LlamaLikeModel::norms(Block& block) const {
  std::vector<Norm*> out = {&block.input, &block.post_attention};
  if (config_.qk_norm) out.insert(out.end(), {&block.q_norm, &block.k_norm});
  return out;
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
  final_norm_.weight = load(final_norm_.name);
  embeddings_ = source_.weights().load(table_name());
}

// A tied model may store its one matrix as the head.
std::string LlamaLikeModel::table_name() const {
  const std::string name = prefix_ + "embed_tokens.weight";
  return source_.weights().find(name) != nullptr ? name : "lm_head.weight";
}

void LlamaLikeModel::release_rest() noexcept {
  embeddings_.reset();
  final_norm_.weight.reset();
  head_ = Linear();
  stored_head_.reset();
  for (const std::string& name : {prefix_ + "embed_tokens.weight", std::string("lm_head.weight"), final_norm_.name})
    if (source_.weights().find(name) != nullptr) source_.weights().release(name);
}

Linear& LlamaLikeModel::materialised_head() const {
  ARKIT_CHECK(embeddings_.defined(), "the head is not loaded: call load_rest first");
  if (!head_.name.empty()) return head_;
  if (tied_) {
    const LayerPlan plan = head_plan();
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
  const LayerPlan plan = head_plan();
  Linear strip;
  strip.name = plan.name;
  strip.out_features = count;
  strip.in_features = plan.in_features;
  if (!tied_) strip.rotation = source_.input_rotation(plan.name);
  if (!head_.name.empty()) {
    strip.weight = head_.weight.narrow(0, first, count);
    return strip;
  }
  const std::string tensor = tied_ ? table_name() : plan.name + ".weight";
  if (!tied_ && !stored_head_.defined()) stored_head_ = source_.weights().load(tensor);
  const at::Tensor rows = (tied_ ? embeddings_ : stored_head_).narrow(0, first, count);
  strip.weight = rows.to(dtype_);
  if (rows.scalar_type() != dtype_) source_.weights().release(tensor);
  return strip;
}

}  // namespace arkit::sdk
