#pragma once
// Scores on disk, so that another budget costs no forward pass. A file is named by a hash of everything the scores
// follow from; whatever is wrong with it, it is not used.

#include <filesystem>
#include <optional>
#include <span>
#include <string>

#include <ATen/core/Tensor.h>

#include <arkit/export.h>
#include <arkit/log.h>
#include <arkit/model_source.h>

#include "autoscheme/score.h"

namespace arkit::auto_scheme {

// What scores follow from. `variant`: whatever else makes the model differ from its files (a rotation, a cut to the
// first blocks). Input ids are hashed; weight files enter with name, size and time of change, the model with its
// configuration and the names, types and shapes of all tensors: reading all weights would cost more than a score.
struct ScoreInputs {
  const ModelSource& source;
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
  // Empty folder = $XDG_CACHE_HOME/arkit/autoscheme, ~/.cache/arkit/autoscheme without that. Nothing is created yet.
  // The key is taken now: scores are kept for the weights as they were before scoring. What `inputs` refers to outlives
  // it.
  ScoreCache(const std::filesystem::path& folder, const ScoreInputs& inputs);

  // Nothing when there is no file. A file that is damaged, of another key or of other layers and options is warned
  // about and ignored.
  [[nodiscard]] std::optional<ScoreTable> load(Reporter& reporter) const;

  // A folder that cannot be written to is only a warning.
  void store(const ScoreTable& table, Reporter& reporter) const;

  [[nodiscard]] const std::filesystem::path& file() const noexcept { return file_; }  // empty = no place for one

 private:
  ScoreInputs inputs_;
  std::string key_;
  std::filesystem::path file_;
};

}  // namespace arkit::auto_scheme
