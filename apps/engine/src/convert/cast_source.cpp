#include "convert/cast_source.h"

#include <string>
#include <utility>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "util/finite.h"

namespace arkit {
namespace {

bool is_real_tensor(const TensorInfo& info) {
  return at::isFloatingType(info.dtype) && c10::elementSize(info.dtype) > 1;
}

std::string_view name_in_files(at::ScalarType dtype) {
  if (dtype == at::kFloat) return "F32";
  return dtype == at::kHalf ? "F16" : "BF16";
}

class CastWeights final : public WeightSource {
 public:
  CastWeights(const WeightSource& inner, at::ScalarType dtype) : inner_(inner), dtype_(dtype) {
    std::vector<TensorInfo> tensors(inner.tensors().begin(), inner.tensors().end());
    for (TensorInfo& info : tensors) {
      if (!is_real_tensor(info) || (info.shape.size() < 2 && !holds(inner.load(info.name)))) continue;
      info.dtype = dtype;
      info.stored_type = name_in_files(dtype);
      info.stored_bytes = info.numel() * static_cast<int64_t>(c10::elementSize(dtype));
    }
    set_tensors(std::move(tensors));
  }

  at::Tensor load(std::string_view name) const override { return cast(name, inner_.load(name), 0); }
  bool decodes_rows(std::string_view name) const override {
    const TensorInfo* stored = inner_.find(name);
    if (stored == nullptr || stored->shape.empty()) return false;
    return inner_.decodes_rows(name) || stored->dtype != find(name)->dtype;
  }
  at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const override {
    return cast(name, inner_.load_rows(name, first, count), first);
  }
  void release(std::string_view name) const noexcept override { inner_.release(name); }

 private:
  // NaN is held by none, so that who copies it says so.
  [[nodiscard]] bool holds(const at::Tensor& vector) const {
    return vector.to(dtype_).to(vector.scalar_type()).equal(vector);
  }

  [[nodiscard]] at::Tensor cast(std::string_view name, at::Tensor tensor, int64_t first_row) const {
    const TensorInfo* shown = find(name);
    if (shown == nullptr || shown->dtype != dtype_ || tensor.scalar_type() == dtype_) return tensor;
    at::Tensor out = tensor.to(dtype_);
    if (io::is_finite(out)) return out;
    io::check_finite(tensor, name, first_row);
    throw_input(str("tensor '", printable(name), "': holds ", tensor.abs().max().item<double>(), ", which ",
                    c10::toString(dtype_), " does not; write it with --dtype float32"));
  }

  const WeightSource& inner_;
  at::ScalarType dtype_;
};

class CastSource final : public sdk::ForwardingSource {
 public:
  CastSource(const ModelSource& source, at::ScalarType dtype)
      : ForwardingSource(source), weights_(source.weights(), dtype) {}
  const WeightSource& weights() const override { return weights_; }

 private:
  CastWeights weights_;
};

}  // namespace

std::unique_ptr<ModelSource> view_in_dtype(const ModelSource& source, at::ScalarType dtype) {
  ARKIT_CHECK(sdk::packed_layers(source).empty(), "packed layers have no other type");
  return std::make_unique<CastSource>(source, dtype);
}

}  // namespace arkit
