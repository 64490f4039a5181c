#include <arkit/sdk/observer.h>

#include <algorithm>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

double epsilon(at::ScalarType dtype) {
  if (dtype == at::kBFloat16) return 0x1p-7;
  return dtype == at::kHalf ? 0x1p-10 : 0x1p-23;
}

}  // namespace

at::ScalarType arithmetic_dtype(const TensorQuant& quant) {
  if (quant.scale_dtype == "bfloat16") return at::kBFloat16;
  if (quant.scale_dtype == "float16") return at::kHalf;
  if (quant.scale_dtype == "float32") return at::kFloat;
  throw_unsupported(str("scale_dtype '", quant.scale_dtype, "' is unknown; choose float16, bfloat16 or float32"));
}

bool is_range_observer(const TensorQuant& quant) {
  return quant.observer == "minmax" || quant.observer == kMse;
}

Verdict supports_observer(const TensorQuant& quant, std::initializer_list<std::string_view> known) {
  if (quant.observer.empty() || std::find(known.begin(), known.end(), quant.observer) != known.end())
    return Verdict::yes();
  const std::vector<std::string> names(known.begin(), known.end());
  return Verdict::no(str("observer '", quant.observer, "' is not possible with '", quant.data_type, "'; ",
                         names.empty() ? "leave it out" : "choose " + quoted_list(names)));
}

at::Tensor without_zeros(const at::Tensor& scale) {
  return scale.masked_fill(scale == 0, epsilon(scale.scalar_type()));
}

}  // namespace arkit::sdk
