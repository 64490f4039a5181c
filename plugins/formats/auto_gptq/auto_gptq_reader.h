#pragma once
// Opens GPTQ checkpoints: ours, AutoRound's, AutoGPTQ's and GPTQModel's, without act-order.

#include <arkit/model_source.h>

namespace arkit::auto_gptq {

class AutoGptqReader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::auto_gptq
