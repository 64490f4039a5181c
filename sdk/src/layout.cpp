#include <arkit/sdk/layout.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/sdk/old_buffers.h>
#include <arkit/str.h>

#include "family_table.h"
#include "norm_names.h"

namespace arkit::sdk {
namespace {

constexpr std::string_view kWeight = ".weight", kBias = ".bias";

std::string shape_text(const std::vector<int64_t>& shape) {
  std::string out = "[";
  for (const int64_t d : shape) out += (out.size() > 1 ? ", " : "") + std::to_string(d);
  return out + "]";
}

// Scales that calibration made for keys, values and queries, whatever the file they are in says of them.
bool is_attention_scale(std::string_view name) {
  constexpr std::string_view kEndings[] = {".k_scale",        ".v_scale",        ".q_scale",
                                           ".k_global_scale", ".v_global_scale", ".q_global_scale"};
  return std::any_of(std::begin(kEndings), std::end(kEndings),
                     [&](std::string_view end) { return name.ends_with(end); });
}

bool usable_dtype(at::ScalarType type) {
  return type == at::kFloat || type == at::kBFloat16 || type == at::kHalf || type == at::kDouble;
}

class TensorCheck {
 public:
  TensorCheck(const ModelLayout& layout, const ModelSource& source) : layout_(layout), source_(source) {
    for (const LinearSpec& spec : packed_layers(source)) packed_.emplace(spec.name, &spec);
  }

  void needed() const {
    for (const BlockLayout& block : layout_.blocks) {
      for (const LayerPlan& plan : block.layers) layer(plan);
      block_norms(block);
    }
    if (!layout_.tokens.final_norm.empty() && !layout_.blocks.empty())
      norm(layout_.tokens.final_norm, width(), layout_.blocks.front().norms.bias);
    ends();
  }

  void nothing_else() const {
    std::set<std::string, std::less<>> layers, norms;
    for (const BlockLayout& block : layout_.blocks) {
      for (const LayerPlan& plan : block.layers) layers.insert(plan.name);
      for (const std::string& name : norm_weights(block.norms)) {
        norms.insert(name);
        if (block.norms.bias) norms.insert(norm_bias(name));
      }
    }
    std::set<std::string, std::less<>> made;  // by calibration
    for (const AttentionSpec& spec : attention_modules(source_)) made.insert(spec.tensors.begin(), spec.tensors.end());
    for (const TensorInfo& tensor : source_.weights().tensors()) {
      const std::string_view name = tensor.name;
      if (!in_blocks(name) || norms.contains(name) || made.contains(name)) continue;
      if (is_old_buffer(tensor) || is_attention_scale(name)) continue;
      const std::string_view module = name.substr(0, std::min(name.size(), name.rfind('.')));
      if (layers.contains(module) || packed_.contains(module))
        continue;  // what a layer stores is its format's business
      if (std::any_of(layout_.ignored.begin(), layout_.ignored.end(),
                      [&](const std::string& pattern) { return fits_pattern(name, pattern); }))
        continue;
      throw_input(str(source_.path().string(), ": tensor '", printable(name), "' of file '", printable(tensor.file),
                      "' is read by no slot of the model's family, which would compute as if it were not there; give "
                      "the family file a slot for it, or name it under [ignore] tensors (docs/FAMILIES.md)"));
    }
  }

 private:
  [[nodiscard]] int64_t width() const { return layout_.lists.empty() ? 0 : layout_.lists.front().hidden_size; }

  void tensor(const std::string& name, const std::vector<int64_t>& shape) const {
    const TensorInfo* info = source_.weights().find(name);
    if (info == nullptr)
      throw_input(str(source_.path().string(), ": tensor '", name, "' is missing; config.json asks for it with shape ",
                      shape_text(shape)));
    if (info->shape != shape)
      throw_input(str(source_.path().string(), ": tensor '", name, "' has shape ", shape_text(info->shape),
                      "; config.json asks for ", shape_text(shape)));
    if (!usable_dtype(info->dtype))
      throw_unsupported(str(source_.path().string(), ": tensor '", name, "' is stored as ",
                            printable(info->stored_type),
                            "; expected F32, F16 or BF16 ('arkit list formats' shows the packed formats arkit reads)"));
  }

  void packed_layer(const LayerPlan& plan, const LinearSpec& spec) const {
    if (plan.out_features != spec.out_features || plan.in_features != spec.in_features)
      throw_input(str(source_.path().string(), ": packed layer '", spec.name, "' is ", spec.out_features, " x ",
                      spec.in_features, "; config.json asks for ", plan.out_features, " x ", plan.in_features));
    if (plan.has_bias && !spec.has_bias)
      throw_input(str(source_.path().string(), ": tensor '", spec.name,
                      ".bias' is missing; config.json asks for a bias of every layer of this kind"));
  }

  // Layers cut out of a larger tensor have none of their own name.
  void layer(const LayerPlan& plan) const {
    if (const auto packed = packed_.find(plan.name); packed != packed_.end()) {
      packed_layer(plan, *packed->second);
      return;
    }
    const std::string weight = plan.name + std::string(kWeight);
    if (plan.kind == LayerKind::expert && source_.weights().find(weight) == nullptr) return;
    const bool turned = plan.kind == LayerKind::conv1d;
    tensor(weight, turned ? std::vector{plan.in_features, plan.out_features}
                          : std::vector{plan.out_features, plan.in_features});
    if (plan.has_bias) tensor(plan.name + std::string(kBias), {plan.out_features});
  }

  void norm(const std::string& name, int64_t channels, bool bias) const {
    if (name.empty()) return;
    tensor(name, {channels});
    if (bias) tensor(norm_bias(name), {channels});
  }

  void block_norms(const BlockLayout& block) const {
    const Norms& n = block.norms;
    for (const std::string& name : {n.mixer_in, n.mixer_out, n.feed_forward_in, n.feed_forward_out})
      norm(name, width(), n.bias);
    const auto* a = std::get_if<Attention>(&block.mixer);
    if (a == nullptr) return;
    norm(n.query, n.whole_heads ? a->heads * a->key_dim : a->key_dim, n.bias);
    norm(n.key, n.whole_heads ? a->kv_heads * a->key_dim : a->key_dim, n.bias);
  }

  // Embeddings and head. A checkpoint may hold only one of two tied tensors (docs/spec/checkpoints.md 3); a packed head
  // may keep its codes under the name of the weight (fp8, mlx).
  void ends() const {
    const TokenInfo& tokens = layout_.tokens;
    if (layout_.lists.empty()) return;
    const std::vector<int64_t> table = {tokens.vocab_size, width()};
    const bool alone = tokens.tied && source_.weights().find(tokens.embedding) == nullptr;
    if (!alone && !tokens.embedding.empty()) tensor(tokens.embedding, table);
    for (const LayerPlan& plan : layout_.outside) {
      if (plan.role != LayerRole::head) {
        layer(plan);
        continue;
      }
      const std::string head = plan.name + std::string(kWeight);
      if (const auto packed = packed_.find(plan.name); packed != packed_.end()) {
        packed_layer(plan, *packed->second);
        continue;
      }
      if (alone || !tokens.tied || source_.weights().find(head) != nullptr) tensor(head, table);
      if (plan.has_bias) tensor(plan.name + std::string(kBias), {plan.out_features});
    }
  }

  [[nodiscard]] bool in_blocks(std::string_view name) const {
    for (const BlockList& list : layout_.lists) {
      if (!name.starts_with(list.name) || name.size() <= list.name.size() + 1 || name[list.name.size()] != '.')
        continue;
      std::string_view number = name.substr(list.name.size() + 1);
      number = number.substr(0, std::min(number.size(), number.find('.')));
      int64_t index = 0;
      const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), index);
      if (error == std::errc() && end == number.data() + number.size() && index < list.count) return true;
    }
    return false;
  }

  const ModelLayout& layout_;
  const ModelSource& source_;
  std::map<std::string, const LinearSpec*, std::less<>> packed_;
};

}  // namespace

std::vector<AttentionPlan> attention_plans(const ModelLayout& layout) {
  std::vector<AttentionPlan> all;
  for (size_t block = 0; block < layout.blocks.size(); ++block)
    if (const auto* a = std::get_if<Attention>(&layout.blocks[block].mixer))
      all.push_back({.name = a->module,
                     .block = static_cast<int64_t>(block),
                     .heads = a->heads,
                     .kv_heads = a->kv_heads,
                     .key_dim = a->key_dim,
                     .value_dim = a->value_dim});
  return all;
}

std::vector<std::string> block_list_names(const ModelLayout& layout) {
  std::vector<std::string> names;
  for (const BlockList& list : layout.lists) names.push_back(list.name);
  return names;
}

void check_tensors(const ModelLayout& layout, const ModelSource& source) {
  const TensorCheck check(layout, source);
  check.needed();
  if (layout.whole) check.nothing_else();
}

}  // namespace arkit::sdk
