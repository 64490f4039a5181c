#include "int_tensors.h"

#include <algorithm>
#include <atomic>
#include <vector>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/error.h>
#include <arkit/sdk/float16.h>
#include <arkit/sdk/group_index.h>
#include <arkit/sdk/observer.h>
#include <arkit/str.h>

namespace arkit::int_scheme {
namespace {

// Groups one task takes at least: about 32k elements, so that small layers do not pay for threads.
int64_t grain(const Groups& groups) {
  return std::max<int64_t>(1, 32768 / std::max<int64_t>(1, groups.group));
}

template <typename F>
void for_all_groups(const sdk::GroupShape& shape, const Groups& groups, const F& f) {
  at::parallel_for(0, shape.total(), grain(groups), f);
}

const void* weight_data(const at::Tensor& tensor, const Weight& weight, const char* what) {
  ARKIT_CHECK(tensor.defined() && tensor.scalar_type() == weight.dtype && tensor.is_contiguous() &&
                  tensor.numel() == weight.shape.total(),
              str(what, " must hold one value per group in the weight's dtype"));
  return tensor.const_data_ptr();
}

// Allocates on first use; true when the kernel must add to what is there.
bool ready(at::Tensor& gradient, at::IntArrayRef sizes) {
  if (gradient.defined()) {
    ARKIT_CHECK(gradient.scalar_type() == at::kFloat && gradient.is_contiguous() && gradient.sizes() == sizes,
                "a gradient must be contiguous f32 in the shape of what is tuned");
    return true;
  }
  gradient = at::empty(sizes, at::kFloat);
  return false;
}

}  // namespace

void refuse_not_finite() {
  throw_input(
      "the weight holds a NaN or an infinity; finite values are needed to quantize it, repair the checkpoint or keep "
      "this layer in 16 bits with --ignore_layers");
}

at::ScalarType scalar_type(Dtype dtype) {
  if (dtype == Dtype::f32) return at::kFloat;
  return dtype == Dtype::bf16 ? at::kBFloat16 : at::kHalf;
}

Dtype dtype_named(const std::string& name) {
  if (name == "float16") return Dtype::f16;
  if (name == "bfloat16") return Dtype::bf16;
  if (name == "float32") return Dtype::f32;
  throw_unsupported(str("scale_dtype '", name, "' is unknown; choose float16, bfloat16 or float32"));
}

ScaleRule rule_of(const TensorQuant& quant) {
  if (quant.observer == sdk::kGptq) return ScaleRule::gptq;
  return quant.observer == sdk::kPowerOfTwo ? ScaleRule::power_of_two : ScaleRule::full_range;
}

Weight weight_of(const at::Tensor& weight, const TensorQuant& quant) {
  ARKIT_CHECK(weight.dim() == 2 && weight.is_contiguous() && weight.is_cpu(),
              "a weight must be a contiguous matrix on the CPU");
  Weight r;
  r.shape = sdk::group_shape(weight.size(0), weight.size(1), quant.group_size);
  r.dtype = weight.scalar_type();
  r.args.formula = {quant.bits, quant.sym, dtype_of(weight, "a weight"), dtype_named(quant.scale_dtype),
                    rule_of(quant)};
  r.args.groups = {r.shape.in, r.shape.group, r.shape.per_row};
  r.args.weight = weight.const_data_ptr();
  return r;
}

Weight weight_of(const at::Tensor& weight, const WeightTuning& tuning, const TensorQuant& quant) {
  Weight r = weight_of(weight, quant);
  const int64_t n = r.shape.total();
  r.args.v = f32_data(tuning.v, n * r.shape.group, "v");
  r.args.max_scale = f32_data(tuning.max_scale, n, "max_scale");
  const float* start = f32_data(tuning.init_scale, n, "init_scale");
  (quant.observer == sdk::kNeuqi ? r.args.given_scale : r.args.init_scale) = start;
  if (r.args.init_scale == nullptr) {
    r.args.min_scale = f32_data(tuning.min_scale, n, "min_scale");
    ARKIT_CHECK((r.args.min_scale == nullptr) == (r.args.max_scale == nullptr),
                "min_scale and max_scale are tuned together");
  }
  r.args.weight_min = weight_data(tuning.weight_min, r, "weight_min");
  r.args.weight_max = weight_data(tuning.weight_max, r, "weight_max");
  return r;
}

void measure_range(const Weight& weight, WeightTuning& tuning) {
  tuning.weight_min = at::empty({weight.shape.total()}, weight.dtype);
  tuning.weight_max = at::empty({weight.shape.total()}, weight.dtype);
  void *const min = tuning.weight_min.data_ptr(), *const max = tuning.weight_max.data_ptr();
  std::atomic<bool> finite{true};
  for_all_groups(weight.shape, weight.args.groups, [&](int64_t begin, int64_t end) {
    if (!kernels().group_range(weight.args.weight, weight.args.formula.weight, weight.args.groups, begin, end, min,
                               max))
      finite = false;
  });
  if (!finite) refuse_not_finite();
}

float search_floor(Dtype scale) {
  return scale == Dtype::f32 ? 1e-8F : 1e-5F;
}

void set_search(const Weight& weight, const at::Tensor& imatrix, bool repair, SearchArgs& args) {
  args.bits = weight.args.formula.bits;
  args.weight_dtype = weight.args.formula.weight;
  args.groups = weight.args.groups;
  args.weight = weight.args.weight;
  args.imatrix = f32_data(imatrix, weight.shape.in, "imatrix");
  // The reference repairs only when some entry is exactly 0 (docs/spec/rtn.md 3).
  args.repair = repair && imatrix.defined() && imatrix.min().item<float>() == 0;
}

at::Tensor search_scale(const Weight& weight, const at::Tensor& imatrix, bool repair) {
  const at::Tensor scale = at::empty({weight.shape.total()}, at::kFloat);
  SearchArgs args;
  set_search(weight, imatrix, repair, args);
  const float floor = search_floor(weight.args.formula.scale);
  args.floor = at::scalar_tensor(floor, at::TensorOptions(weight.dtype)).item<float>();
  args.scale = scale.mutable_data_ptr<float>();
  const auto scratch = static_cast<size_t>(2 * ((args.groups.group + 15) / 16) * 16);
  at::parallel_for(0, weight.shape.total(), std::max<int64_t>(1, 1024 / args.groups.group),
                   [&](int64_t begin, int64_t end) {
                     std::vector<float> buffer(scratch);
                     SearchArgs mine = args;
                     mine.scratch = buffer.data();
                     kernels().search(mine, begin, end);
                   });
  return scale;
}

QuantizedWeight quantize(const Weight& weight) {
  const sdk::GroupShape& shape = weight.shape;
  QuantizedWeight r;
  r.codes = at::empty({shape.out, shape.in}, at::kByte);
  r.scale = at::empty({shape.out, shape.per_row}, scalar_type(weight.args.formula.scale));
  if (!weight.args.formula.sym) r.zero_point = at::empty({shape.out, shape.per_row}, at::kFloat);
  const CodesOut out{r.codes.mutable_data_ptr<uint8_t>(), r.scale.mutable_data_ptr(),
                     weight.args.formula.sym ? nullptr : r.zero_point.mutable_data_ptr<float>()};
  std::atomic<bool> finite{true};
  for_all_groups(shape, weight.args.groups, [&](int64_t begin, int64_t end) {
    if (!kernels().quantize(weight.args, out, begin, end)) finite = false;
  });
  if (!finite) refuse_not_finite();
  return r;
}

void fake_quant(const Weight& weight, at::Tensor& out) {
  ARKIT_CHECK(
      out.dim() == 2 && out.size(0) == weight.shape.out && out.size(1) == weight.shape.in && out.is_contiguous(),
      "the result of fake quantization must be contiguous and have the weight's shape");
  const Dtype dtype = dtype_of(out, "the result of fake quantization");
  void* const data = out.mutable_data_ptr();
  for_all_groups(weight.shape, weight.args.groups,
                 [&](int64_t begin, int64_t end) { kernels().fake_quant(weight.args, data, dtype, begin, end); });
}

void backward(const Weight& weight, const WeightTuning& tuning, const at::Tensor& grad_out, WeightGradient& gradient) {
  ARKIT_CHECK(grad_out.dim() == 2 && grad_out.size(0) == weight.shape.out && grad_out.size(1) == weight.shape.in,
              "the gradient of a weight must have the weight's shape");
  const at::Tensor grad = grad_out.contiguous();
  BackwardArgs args;
  args.grad_out = grad.const_data_ptr();
  args.grad_dtype = dtype_of(grad, "the gradient of a weight");
  if (tuning.v.defined()) {
    args.accumulate_v = ready(gradient.v, tuning.v.sizes());
    args.grad_v = gradient.v.mutable_data_ptr<float>();
  }
  bool add_min = true, add_max = true;
  if (weight.args.min_scale != nullptr) {
    add_min = ready(gradient.min_scale, tuning.min_scale.sizes());
    args.grad_min_scale = gradient.min_scale.mutable_data_ptr<float>();
  }
  if (weight.args.max_scale != nullptr) {
    add_max = ready(gradient.max_scale, tuning.max_scale.sizes());
    args.grad_max_scale = gradient.max_scale.mutable_data_ptr<float>();
  }
  // One flag serves both scales: a fresh gradient beside one in use starts from zero.
  args.accumulate_scale = (add_min && args.grad_min_scale != nullptr) || (add_max && args.grad_max_scale != nullptr);
  if (args.accumulate_scale && !add_min) gradient.min_scale.zero_();
  if (args.accumulate_scale && !add_max) gradient.max_scale.zero_();
  for_all_groups(weight.shape, weight.args.groups,
                 [&](int64_t begin, int64_t end) { kernels().backward(weight.args, args, begin, end); });
}

namespace {

constexpr int64_t kSpreadElements = int64_t{1} << 22;  // f32 values in flight: 16 MB an operand

// (code - zero) * scale where groups are scattered, code * scale + offset where the file stores a rounded offset
// instead of a zero point (mlx). No kernels: such layers come from other tools and are few.
at::Tensor dequantize_spread(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) {
  const sdk::GroupShape shape = sdk::group_shape(weight.codes.size(0), weight.codes.size(1), quant.group_size);
  at::Tensor out = at::empty({shape.out, shape.in}, dtype);
  const int64_t rows = std::max<int64_t>(1, kSpreadElements / shape.in);
  for (int64_t first = 0; first < shape.out; first += rows) {
    const auto part = [&](const at::Tensor& values) {
      const at::Tensor some = values.narrow(0, first, std::min(rows, shape.out - first)).to(at::kFloat);
      return sdk::spread_groups(some, shape, weight.group_index);
    };
    at::Tensor values = weight.codes.narrow(0, first, std::min(rows, shape.out - first)).to(at::kFloat);
    if (weight.offset.defined()) {
      values.mul_(part(weight.scale)).add_(part(weight.offset));
    } else {
      if (weight.zero_point.defined())
        values.sub_(part(weight.zero_point));
      else
        values.sub_(double(1 << (quant.bits - 1)));
      values.mul_(part(weight.scale));
    }
    out.narrow(0, first, values.size(0)).copy_(values);
  }
  return out;
}

}  // namespace

at::Tensor dequantize(const QuantizedWeight& weight, const TensorQuant& quant, at::ScalarType dtype) {
  ARKIT_CHECK(weight.codes.dim() == 2 && weight.codes.scalar_type() == at::kByte, "codes must be a u8 matrix");
  if (weight.group_index.defined() || weight.offset.defined()) return dequantize_spread(weight, quant, dtype);
  const sdk::GroupShape shape = sdk::group_shape(weight.codes.size(0), weight.codes.size(1), quant.group_size);
  const at::Tensor codes = weight.codes.contiguous(), scale = weight.scale.contiguous();
  at::Tensor zero_point;
  if (weight.zero_point.defined()) zero_point = weight.zero_point.to(at::kFloat).contiguous();
  ARKIT_CHECK(scale.numel() == shape.total() && (!zero_point.defined() || zero_point.numel() == shape.total()),
              str("scale must hold ", shape.total(), " values, it holds ", scale.numel()));
  at::Tensor out = at::empty({shape.out, shape.in}, dtype);
  DequantArgs args;
  args.groups = {shape.in, shape.group, shape.per_row};
  args.codes = codes.const_data_ptr<uint8_t>();
  args.scale = scale.const_data_ptr();
  args.scale_dtype = dtype_of(scale, "a scale");
  args.zero_point = zero_point.defined() ? zero_point.const_data_ptr<float>() : nullptr;
  args.offset = static_cast<float>(1 << (quant.bits - 1));
  args.out = out.mutable_data_ptr();
  args.out_dtype = dtype_of(out, "a dequantized weight");
  for_all_groups(shape, args.groups, [&](int64_t begin, int64_t end) { kernels().dequantize(args, begin, end); });
  return out;
}

}  // namespace arkit::int_scheme
