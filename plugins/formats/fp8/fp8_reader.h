#pragma once
// Opens fine-grained fp8 checkpoints: ours, AutoRound's, DeepSeek's.

#include <arkit/model_source.h>

namespace arkit::fp8 {

class Fp8Reader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::fp8
