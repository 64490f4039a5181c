#pragma once
// Opens folders whose config.json says quant_method "auto-round" with one of the integer packings.

#include <arkit/model_source.h>

namespace arkit::auto_round {

class AutoRoundReader final : public ModelReader {
 public:
  [[nodiscard]] const ReaderInfo& info() const noexcept override;
  [[nodiscard]] Verdict matches(const std::filesystem::path& path, const json::Object* config) const override;
  [[nodiscard]] std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const override;
};

}  // namespace arkit::auto_round
