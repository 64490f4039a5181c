#pragma once
// Opens MLX checkpoints: ours, AutoRound's, mlx-lm's without quantized embeddings.

#include <arkit/model_source.h>

namespace arkit::mlx {

class MlxReader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::mlx
