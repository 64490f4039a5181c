#pragma once
// Opens compressed-tensors checkpoints: ours, AutoRound's, llm-compressor's.

#include <arkit/model_source.h>

namespace arkit::llm_compressor {

class LlmCompressorReader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::llm_compressor
