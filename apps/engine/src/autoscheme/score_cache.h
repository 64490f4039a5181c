#pragma once
// Scores on disk, so that another budget costs no forward pass.

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

#include "autoscheme/kept_file.h"
#include "autoscheme/score.h"

namespace arkit::auto_scheme {

// What scores follow from. `variant`: whatever else makes the model differ from its files (a rotation, a cut to the
// first blocks). Input ids and weight files are hashed, so that a copied model finds its scores and a changed one does
// not; the model enters with its configuration and the names, types and shapes of all tensors, too. `weight_files`: all
// that the source reads, in the order of names.
struct ScoreInputs {
  const ModelSource& source;
  std::span<const std::filesystem::path> weight_files;
  const at::Tensor& input_ids;
  std::span<const PoolLayer> pool;
  std::span<const SchemeOption> options;
  const ScoreSettings& settings;
  at::ScalarType compute_dtype = at::kFloat;
  std::string variant = {};
};

// 64 hexadecimal digits. Changes with the version of the score's formula.
[[nodiscard]] ARKIT_INTERNAL std::string score_key(const ScoreInputs& inputs);

// The file for one set of inputs.
class ARKIT_INTERNAL ScoreCache {
 public:
  // `folder` as of KeptFile. The key is taken now: scores are kept for the weights as they were before scoring. What
  // `inputs` refers to outlives it.
  ScoreCache(const std::filesystem::path& folder, const ScoreInputs& inputs);

  // Nothing when there is no file, or none of these layers and options.
  [[nodiscard]] std::optional<ScoreTable> load(Reporter& reporter) const;
  void store(const ScoreTable& table, Reporter& reporter) const;

  [[nodiscard]] const std::string& key() const noexcept { return kept_.key(); }
  [[nodiscard]] const std::filesystem::path& file() const noexcept { return kept_.file(); }

 private:
  ScoreInputs inputs_;
  KeptFile kept_;
};

}  // namespace arkit::auto_scheme
