#include "mlx_experts.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/scheme.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "mlx_classes.h"

namespace arkit::mlx {
namespace {

constexpr std::string_view kExperts = ".experts.";
constexpr std::string_view kStack = ".switch_mlp.";
constexpr std::string_view kSparse = "block_sparse_moe";  // Mixtral's name for the module, with projections by number
constexpr std::array<std::pair<std::string_view, std::string_view>, 3> kByNumber = {
    {{"w1", "gate_proj"}, {"w2", "down_proj"}, {"w3", "up_proj"}}};

std::string_view spelled(std::string_view projection) {
  for (const auto& [number, name] : kByNumber)
    if (projection == number) return name;
  return projection;
}

std::string_view numbered(std::string_view parent, std::string_view projection) {
  if (!parent.ends_with(kSparse)) return projection;
  for (const auto& [number, name] : kByNumber)
    if (projection == name) return number;
  return projection;
}

struct ExpertName {
  std::string_view parent;  // "model.layers.0.mlp"
  int64_t expert = 0;
  std::string_view projection, suffix;  // "up_proj"; ".weight" or empty
};

std::optional<ExpertName> expert_name(std::string_view name) {
  const size_t at = name.find(kExperts);
  if (at == std::string_view::npos) return std::nullopt;
  ExpertName found{.parent = name.substr(0, at)};
  const char* begin = name.data() + at + kExperts.size();
  const char* end = name.data() + name.size();
  const auto [stop, error] = std::from_chars(begin, end, found.expert);
  if (error != std::errc() || stop == end || *stop != '.' || found.expert < 0) return std::nullopt;
  const std::string_view rest(stop + 1, static_cast<size_t>(end - stop - 1));
  const size_t dot = rest.find('.');
  found.projection = rest.substr(0, dot);
  if (dot != std::string_view::npos) found.suffix = rest.substr(dot);
  return found;
}

std::string stacked_layer(const ExpertName& name) {
  return str(name.parent, kStack, spelled(name.projection));
}

struct StackName {
  std::string_view parent, projection, suffix;  // suffix with its dot
};

std::optional<StackName> stack_name(const TensorInfo& info) {
  const std::string_view name = info.name;
  const size_t at = name.find(kStack);
  if (at == std::string_view::npos || info.shape.size() < 2) return std::nullopt;
  const std::string_view rest = name.substr(at + kStack.size());
  const size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  return StackName{name.substr(0, at), rest.substr(0, dot), rest.substr(dot)};
}

class UnstackedWeights final : public WeightSource {
 public:
  explicit UnstackedWeights(const WeightSource& stored) : stored_(stored) {
    std::vector<TensorInfo> tensors;
    for (const TensorInfo& info : stored.tensors()) {
      const std::optional<StackName> stack = stack_name(info);
      if (!stack) {
        tensors.push_back(info);
        continue;
      }
      constexpr int64_t kMostExperts = 65536;
      if (info.shape[0] < 1 || info.shape[0] > kMostExperts)
        throw_input(str("tensor '", printable(info.name), "' stacks ", info.shape[0], " experts, expected 1 to ",
                        kMostExperts));
      for (int64_t expert = 0; expert < info.shape[0]; ++expert) tensors.push_back(slice_of(info, *stack, expert));
    }
    set_tensors(std::move(tensors));
  }
  at::Tensor load(std::string_view name) const override {
    const auto found = slices_.find(name);
    return found == slices_.end() ? stored_.load(name)
                                  : stored_.load(found->second.first).select(0, found->second.second);
  }
  // Experts are neighbours in the file: its pages go with the last of them.
  void release(std::string_view name) const noexcept override {
    const auto found = slices_.find(name);
    if (found == slices_.end()) return stored_.release(name);
    const TensorInfo* whole = stored_.find(found->second.first);
    if (whole != nullptr && found->second.second == whole->shape[0] - 1) stored_.release(found->second.first);
  }

 private:
  TensorInfo slice_of(const TensorInfo& info, const StackName& stack, int64_t expert) {
    TensorInfo slice = info;
    slice.name = str(stack.parent, kExperts, expert, ".", numbered(stack.parent, stack.projection), stack.suffix);
    slice.shape.erase(slice.shape.begin());
    slice.stored_bytes = info.stored_bytes / info.shape[0];
    slices_.emplace(slice.name, std::pair(info.name, expert));
    return slice;
  }

  const WeightSource& stored_;
  std::map<std::string, std::pair<std::string, int64_t>, std::less<>> slices_;
};

class UnstackedSource final : public sdk::ForwardingSource {
 public:
  explicit UnstackedSource(std::unique_ptr<ModelSource> folder)
      : ForwardingSource(std::move(folder)), weights_(inner().weights()) {}
  const WeightSource& weights() const override { return weights_; }

 private:
  UnstackedWeights weights_;
};

}  // namespace

ExpertStacks::ExpertStacks(const QuantPlan& plan) : stacks_(model_class(plan.model_type).experts == Experts::stacked) {
  if (!stacks_) return;
  for (const LayerPlan& layer : plan.layers)
    if (const auto name = expert_name(layer.name)) {
      int64_t& count = experts_[stacked_layer(*name)];
      count = std::max(count, name->expert + 1);
    }
}

sdk::TensorPlace ExpertStacks::place(std::string_view name) const {
  const std::optional<ExpertName> expert = stacks_ ? expert_name(name) : std::nullopt;
  if (!expert) return {.name = std::string(name)};
  const std::string layer = stacked_layer(*expert);
  const auto found = experts_.find(layer);
  if (found == experts_.end()) return {.name = std::string(name)};
  return {.name = str(layer, expert->suffix), .slice = expert->expert, .slices = found->second};
}

Verdict supports_experts(const QuantPlan& plan) {
  const Experts how = model_class(plan.model_type).experts;
  struct Stack {
    const LayerPlan* first = nullptr;
    int64_t count = 0, last = -1;
  };
  std::map<std::string, Stack> stacks;
  for (const LayerPlan& layer : plan.layers) {
    const auto name = expert_name(layer.name);
    if (!name) continue;
    if (layer.quantized() && how == Experts::refused)
      return Verdict::no(str("mlx-lm's class for model_type '", printable(plan.model_type),
                             "' builds its experts from weights of 16 bits, and '", layer.name,
                             "' would be packed; pass --ignore_layers experts"));
    Stack& stack = stacks[stacked_layer(*name)];
    if (stack.first == nullptr) stack.first = &layer;
    ++stack.count;
    stack.last = std::max(stack.last, name->expert);
    const LayerPlan& first = *stack.first;
    if (layer.quant.weight != first.quant.weight || layer.out_features != first.out_features ||
        layer.in_features != first.in_features || layer.has_bias != first.has_bias)
      return Verdict::no(str("mlx-lm keeps the experts of a layer in one tensor, and '", first.name, "' and '",
                             layer.name, "' differ in their schemes or shapes; give them the same"));
  }
  for (const auto& [layer, stack] : stacks)
    if (stack.count != stack.last + 1)
      return Verdict::no(str("mlx-lm keeps the experts of a layer in one tensor, and of '", layer, "' ",
                             stack.last + 1 - stack.count, " are missing"));
  return Verdict::yes();
}

std::string stacked_name(const std::string& layer) {
  const auto name = expert_name(layer);
  return name ? stacked_layer(*name) : layer;
}

std::unique_ptr<ModelSource> unstack_experts(std::unique_ptr<ModelSource> folder) {
  const auto tensors = folder->weights().tensors();
  if (std::none_of(tensors.begin(), tensors.end(), [](const TensorInfo& info) { return stack_name(info).has_value(); }))
    return folder;
  return std::make_unique<UnstackedSource>(std::move(folder));
}

}  // namespace arkit::mlx
