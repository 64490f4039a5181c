#include <arkit/sdk/group_index.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::sdk {

at::Tensor run_index(const GroupShape& shape) {
  return at::arange(shape.in, at::kInt).floor_divide_(shape.group);
}

at::Tensor scattered_index(const at::Tensor& stored, const GroupShape& shape, bool act_order,
                           const std::string& layer) {
  const at::Tensor index = stored.to(at::kLong);
  if (index.equal(run_index(shape).to(at::kLong))) return {};
  const int64_t least = index.min().item<int64_t>(), most = index.max().item<int64_t>();
  if (most == -1 || (most == 0 && !act_order && least == 0)) return {};  // never filled
  if (least < 0 || most >= shape.per_row)
    throw_input(str("layer '", printable(layer), "': its group index holds ", least < 0 ? least : most,
                    ", expected groups 0 to ", shape.per_row - 1,
                    "; the export is damaged or not what its config says"));
  return index.to(at::kInt);
}

at::Tensor spread_groups(const at::Tensor& values, const GroupShape& shape, const at::Tensor& index) {
  return values.index_select(1, index.defined() ? index : run_index(shape));
}

}  // namespace arkit::sdk
