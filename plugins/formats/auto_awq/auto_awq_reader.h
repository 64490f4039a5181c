#pragma once
// Opens AWQ checkpoints of the "gemm" layout: ours, AutoRound's, AutoAWQ's.

#include <arkit/model_source.h>

namespace arkit::auto_awq {

class AutoAwqReader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::auto_awq
