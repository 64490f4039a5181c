#include "autoscheme/score_compat.h"

#include <algorithm>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>

#include "autoscheme/score_kernels.h"
#include "tuning/gemm.h"

namespace arkit::auto_scheme {
namespace {

constexpr int64_t kPart = 64 * kernels::kChunk;

// Sum of part(first, count) over [0, n), part by part.
template <typename Part>
double sum_of_parts(int64_t n, const Part& part) {
  std::vector<double> sums(static_cast<size_t>((n + kPart - 1) / kPart));
  at::parallel_for(0, static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      sums[static_cast<size_t>(i)] = part(i * kPart, std::min(kPart, n - i * kPart));
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  return total;
}

void check_alike(const at::Tensor& a, const at::Tensor& b) {
  ARKIT_CHECK(a.numel() == b.numel() && a.is_contiguous() && b.is_contiguous(), "sums need dense tensors of one size");
}

template <typename T>
const T* data(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <typename Float, typename Half>
double by_dtype(const at::Tensor& w, const at::Tensor& q, const Float& floats, const Half& halves) {
  ARKIT_CHECK(w.scalar_type() == q.scalar_type(), "sums need tensors of one dtype");
  if (w.scalar_type() == at::kFloat) return sum_of_parts(w.numel(), floats);
  ARKIT_CHECK(w.scalar_type() == at::kBFloat16, "sums are over f32 or bf16");
  return sum_of_parts(w.numel(), halves);
}

using kernels::BFloat16;

// Sum of |g (w - q)|: g f32, w and q f32 or bf16 alike, all contiguous and of one size.
double absolute_products(const at::Tensor& g, const at::Tensor& w, const at::Tensor& q) {
  check_alike(g, w);
  check_alike(w, q);
  const auto sum = [&]<typename T>(const T* from, const T* back) {
    return [=, gradient = data<float>(g)](int64_t at, int64_t n) {
      return kernels::absolute_products(gradient + at, from + at, back + at, n);
    };
  };
  return by_dtype(w, q, sum(data<float>(w), data<float>(q)), sum(data<BFloat16>(w), data<BFloat16>(q)));
}

}  // namespace

// Rounded weights, and activations where they have 8 bits or fewer; static ranges are those of the batch itself.
class CompatScore::Forward final : public DenseHook {
 public:
  explicit Forward(const CompatScore& score) : score_(score) {}

  at::Tensor linear(const Linear& layer, const at::Tensor& x) override {
    const auto found = score_.rounded_.find(&layer);
    if (found == score_.rounded_.end()) return DenseHook::linear(layer, x);
    const LayerQuant& quant = score_.pool_[found->second.index].quants[score_.option_];
    TensorQuant act = quant.act;
    act.scale_dtype = scale_dtype(quant);
    at::Tensor input = x;
    if (act.bits <= 8)
      input =
          score_.scheme_for_(act.data_type)
              .fake_quant_act(x, act, wants_act_max(act) ? x.abs().max().to(at::kFloat).reshape({1}) : at::Tensor());
    Linear rounded = layer;
    rounded.weight = found->second.weight;
    return DenseHook::linear(rounded, input);
  }

 private:
  const CompatScore& score_;
};

CompatScore::CompatScore(Model& model, std::span<const PoolLayer> pool, size_t option, const SchemeFor& scheme_for,
                         ScoreTable& table)
    : model_(model),
      pool_(pool),
      option_(option),
      scheme_for_(scheme_for),
      table_(table),
      by_name_(index_by_name(pool)),
      forward_(std::make_unique<Forward>(*this)),
      replay_(*this) {}

// The reference's choice while it scores: float16, float32 under super-blocks, bfloat16 beside quantized activations.
std::string CompatScore::scale_dtype(const LayerQuant& quant) {
  if (quant.act.bits <= 8) return "bfloat16";
  return quant.weight.super_bits > 0 ? "float32" : "float16";
}

void CompatScore::round(std::span<Linear* const> linears) {
  rounded_.clear();
  replay_.clear();
  const PoolBlock block(linears, pool_, by_name_);
  const std::vector<size_t> choice(block.layers().size(), option_);
  std::vector<PoolBlock::Rounding> roundings = block.roundings(choice, scheme_for_);
  for (size_t i = 0; i < roundings.size(); ++i) {
    if (!roundings[i].plan.quant.quantized()) continue;
    roundings[i].plan.quant.weight.scale_dtype = scale_dtype(roundings[i].plan.quant);
    const PoolBlock::Layer& layer = block.layers()[i];
    const at::Tensor weight =
        rounded_weight(*layer.linear, roundings[i].plan, scheme_for_, roundings[i].global_scale, {});
    rounded_[layer.linear] = {layer.index, weight};
    replay_.replace(layer.linear, weight);
  }
}

BlockHook& CompatScore::forward_hook(int64_t block) {
  round(model_.block_linears(block));
  return *forward_;
}

ReplayHook& CompatScore::replay_hook(int64_t block) {
  Linear* const head = block == kHead ? &model_.head() : nullptr;
  round(block == kHead ? std::span(&head, 1) : std::span<Linear* const>(model_.block_linears(block)));
  return replay_;
}

void CompatScore::replayed(int64_t /*block*/) {
  rounded_.clear();
  replay_.clear();
}

void CompatScore::see(const Linear& layer, const at::Tensor& x, const at::Tensor& dy, const at::Tensor& /*dx*/) {
  const auto found = rounded_.find(&layer);
  if (found == rounded_.end() || !pool_[found->second.index].quants[option_].weight.quantized()) return;
  at::Tensor gradient = at::empty(layer.weight.sizes(), at::kFloat);
  linear_weight_gradient(dy, x, gradient);
  table_.loss[found->second.index][option_] +=
      absolute_products(gradient, layer.weight.contiguous(), found->second.weight.contiguous());
}

}  // namespace arkit::auto_scheme
