#pragma once
// Calibration data: from the --dataset argument to token ids [nsamples, seqlen] (docs/spec/calibration.md 3).
//
// Entries of the argument: "self" (the model writes its samples), a local file or folder, the description of a data set
// (.toml), a known name, or the id of a data set on the hub. Token ids (.safetensors, tensor input_ids [n, L]) are used
// as they are, rows cut to seqlen; a .txt is one running text (arkit's extension).

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>

#include "calibration/document_source.h"
#include "hub/hub.h"

namespace arkit::calibration {

struct CalibrationOptions {
  std::string dataset;  // empty = what share/arkit/datasets/defaults.toml says for such a model
  int64_t nsamples = 128;
  int64_t seqlen = 2048;
  int64_t seed = 42;
  int64_t batch_size = 8;                // only for the warning that a batch cannot be filled
  int64_t vocab_size = 0;                // the model's; ids outside are refused. 0 = not checked
  bool modelscope = false;               // the hub is ModelScope, where some data sets have other ids
  std::vector<std::string> model_names;  // model_names(): which default fits
  std::vector<std::string> model_tasks;
};

// One entry of the argument and what became of it.
struct EntryReport {
  std::string name, kind;  // kind: "self", "documents", "text", "ids"
  SourceReport source;     // files and their hub, of all but "self"
  int64_t documents = 0;   // looked at
  int64_t too_short = 0, repetitive = 0;
  int64_t rows = 0;  // usable
  int64_t used = 0;  // taken into the set, before the final cut to nsamples
};

struct CalibrationSet {
  at::Tensor input_ids;  // int64 [n, seqlen], n <= nsamples
  std::string dataset;   // the argument, or the default taken
  std::vector<EntryReport> entries;
  int64_t unique_tokens = 0;
  std::string sha256;  // of input_ids as little-endian int64

  [[nodiscard]] ARKIT_EXPORT json::Object report() const;  // for arkit-run.json
};

// Writes n rows of seqlen ids, int64 [n, seqlen]: see self_dataset.h.
using SelfSampler = std::function<at::Tensor(int64_t n)>;

// `tokenizer` may be null when only token ids are read; an empty `self` refuses "self"; `hub` has the data sets that
// are no local files. Throws ErrorCode::usage for a malformed argument and where the default cannot be had,
// ErrorCode::input for files and for a set that filtering leaves empty (with the counts), and what the hub throws.
[[nodiscard]] ARKIT_EXPORT CalibrationSet load_calibration(const CalibrationOptions& options,
                                                           const Tokenizer* tokenizer, const SelfSampler& self,
                                                           hub::Hub& hub, Reporter& reporter);

}  // namespace arkit::calibration
