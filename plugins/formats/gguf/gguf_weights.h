#pragma once
// Tensors of a GGUF file under their Hugging Face names, rows in Hugging Face order.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/mapped_file.h>
#include <arkit/model_source.h>

#include "gguf_architecture.h"
#include "gguf_file.h"
#include "gguf_parts.h"
#include "gguf_tensor_scales.h"

namespace arkit::gguf {

// Which matrices are real numbers: all, or those alone that are no linear layers in a packed type. The codes of such a
// layer are bytes then, [rows, bytes of a row].
enum class View { plain, packed };

// A linear layer in a packed type.
[[nodiscard]] bool is_packed_layer(const TensorEntry& tensor);

// The row of the model that row `row` of a file is, of `rows`: llama.cpp rotates neighbouring rows 2t and 2t+1 of a head,
// Hugging Face rows t and t + d/2; `heads` > 0 for q and k of such files. Same for biases, whose rows are elements.
//   row h*d + 2t + s of the file = row h*d + s*d/2 + t of the model
[[nodiscard]] int64_t source_row(int64_t row, int64_t heads, int64_t rows) noexcept;

// `parts` outlive it; `scales`: of whole tensors, which make part of real numbers.
class GgufWeights final : public WeightSource {
 public:
  GgufWeights(const Parts& parts, const Architecture& architecture, const HyperParameters& parameters,
              const TensorScales& scales, View view);

  [[nodiscard]] at::Tensor load(std::string_view name) const override;
  [[nodiscard]] bool decodes_rows(std::string_view name) const override;
  [[nodiscard]] at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const override;
  void release(std::string_view name) const noexcept override;

 private:
  struct Place {
    const MappedFile* map;
    int64_t offset;
    TensorType type;
    int64_t heads;  // > 0: rows are stored in llama.cpp's rotary order
    bool as_stored;
    float scale;  // of the whole tensor
  };

  [[nodiscard]] const TensorInfo& require(std::string_view name) const;
  [[nodiscard]] const Place& place_of(const TensorInfo& info) const {
    return places_[static_cast<size_t>(&info - tensors().data())];
  }
  [[nodiscard]] const std::byte* data_of(const Place& place) const { return place.map->bytes().data() + place.offset; }
  [[nodiscard]] at::Tensor view(const TensorInfo& info, const Place& place) const;
  void copy_rows(const TensorInfo& info, const Place& place, const at::Tensor& out) const;
  // Rows from `first` on, as many as `out` has.
  void dequantize_rows(const TensorInfo& info, const Place& place, int64_t first, const at::Tensor& out) const;

  std::vector<Place> places_;  // by index of tensors()
};

}  // namespace arkit::gguf
