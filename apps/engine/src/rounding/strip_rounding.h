#pragma once
// One layer rounded strip by strip: a strip is a few rows whose weights, codes and dequantized values stay in a core's
// cache while they are checked, rounded, dequantized and measured. Only codes and scales leave it. Where the weight is
// read in strips too and the exporters take them, nothing of the size of the layer is in memory.

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/scheme.h>

#include "rounding/error_kernels.h"

namespace arkit {

class ARKIT_INTERNAL StripRounding {
 public:
  // Rows of the weight in the dtype it is rounded from: any of them, on any thread.
  using ReadRows = std::function<at::Tensor(int64_t first, int64_t count)>;
  // A finished strip. They come in any order, from any thread.
  using TakeStrip = std::function<void(QuantizedWeight part, int64_t first_row)>;

  // How the layer is to be rounded; everything referred to outlives the object.
  struct Task {
    const Linear& linear;  // its weight is undefined where `rows` reads it
    const LayerPlan& plan;
    const Scheme& scheme;
    RtnMode mode = RtnMode::plain;
    at::Tensor global_scale = {};                            // see Scheme::quantize_rtn
    at::Tensor importance = {};                              // f32 [in], for a search; undefined = inputs count alike
    at::ScalarType dequantized = at::ScalarType::Undefined;  // dtype dequantized() is wanted in; Undefined = not
    ReadRows rows = {};
    std::function<void()> release = {};  // after each strip: the pages its rows came from may go
    TakeStrip take = {};                 // unset = quantized() gathers them

    // Sets rows and release: the weight is read from `weights`, as numbers of `dtype`.
    void read_from(const WeightSource& weights, const std::string& tensor, at::ScalarType dtype);
  };
  explicit StripRounding(Task task);

  // Is this layer one strip, whatever its size?
  [[nodiscard]] static bool is_whole(const LayerPlan& plan, const Scheme& scheme, RtnMode mode);

  // Rows depend on each other where one scale covers them all or a search looks at the whole matrix: then one strip.
  [[nodiscard]] int64_t strips() const noexcept { return (rows_ + strip_rows_ - 1) / strip_rows_; }

  // Each strip once, on any thread. Throws ErrorCode::input naming the first NaN or infinity of the whole weight.
  void round(int64_t strip);

  // When all strips are done:
  [[nodiscard]] const QuantizedWeight& quantized() const noexcept { return result_; }
  [[nodiscard]] const at::Tensor& dequantized() const noexcept { return dequantized_; }
  [[nodiscard]] double relative_error() const;  // ||W - D|| / ||W||
  [[nodiscard]] const LayerPlan& plan() const noexcept { return task_.plan; }
  [[nodiscard]] at::Tensor weight() const { return rows(0, rows_); }
  [[nodiscard]] double largest_weight() const;  // magnitude

 private:
  [[nodiscard]] at::Tensor rows(int64_t first, int64_t count) const {
    return task_.rows ? task_.rows(first, count) : task_.linear.weight.narrow(0, first, count);
  }
  [[noreturn]] void refuse_first_non_finite() const;
  void join(QuantizedWeight part, int64_t first_row);

  Task task_;
  int64_t rows_ = 0, strip_rows_ = 0;
  int64_t scale_rows_ = 1;  // rows that share a scale
  std::mutex mutex_;        // guards the allocation of result_
  QuantizedWeight result_;
  at::Tensor dequantized_;
  std::vector<rounding::ErrorSums> sums_;  // by strip
};

// Relative error ||W - D|| / ||W|| of a dequantized weight; both [out, in].
[[nodiscard]] ARKIT_INTERNAL double relative_error(const at::Tensor& weight, const at::Tensor& dequantized);

}  // namespace arkit
