#pragma once
// The model of a job that measures and, where there is one, the reference it is compared with: opened alike, fed the
// same tokens.

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "inference/engine.h"
#include "inference/residency.h"

namespace arkit {

class MeasuredModels {
 public:
  // Warns of what is not computed and of wishes that have no effect. `reference` may be null; all outlive this.
  MeasuredModels(const ModelSource& source, const ModelSource* reference, at::ScalarType dtype, const BackendWish& wish,
                 const Registry& registry, Reporter& reporter);

  [[nodiscard]] Engine& model() const { return *model_; }
  [[nodiscard]] Engine* reference() const { return reference_.get(); }

  // The model's tokenizer, or the reference's where it brings none. Throws ErrorCode::input where neither does.
  [[nodiscard]] Tokenizer tokenizer() const;

  // The windows of a job with text_file, ids_file (one of them given), seqlen and max_windows. Throws ErrorCode::input for ids that one of the two does not have.
  template <typename Options>
  [[nodiscard]] at::Tensor windows(const Options& options) const {
    return read_windows(options.text_file, options.ids_file, options.seqlen, options.max_windows);
  }

  // Throws ErrorCode::input naming `what` for ids that one of the two does not have.
  void check_ids(const at::Tensor& ids, const std::string& what) const;

  // Decides how much of both stays in memory (choose_residency), and has it so.
  [[nodiscard]] Residency settle(const std::string& asked, int64_t passes) const;

 private:
  [[nodiscard]] at::Tensor read_windows(const std::filesystem::path& text, const std::filesystem::path& ids,
                                        int64_t seqlen, const std::optional<int64_t>& max_windows) const;

  const ModelSource& source_;
  const ModelSource* reference_source_;
  std::unique_ptr<Engine> model_, reference_;
};

}  // namespace arkit
