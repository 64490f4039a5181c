#pragma once
// Calibration data: from the --dataset argument to token ids [nsamples, seqlen] (docs/spec/calibration.md 3).
//
// Entries of the argument: "self" (the model writes its samples), a local file, or a known name whose files lie in the
// Hugging Face cache.
//   .json .jsonl   one document an item, shuffled with random.Random(seed); too short documents are dropped unless
//                  concat is given
//   .txt           arkit's extension: one running text cut into consecutive rows, which are then shuffled the same way
//   .safetensors   token ids: tensor input_ids [n, L], used as they are, rows cut to seqlen

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>

namespace arkit::calibration {

struct CalibrationOptions {
  std::string dataset;  // empty = pile-10k when the cache has it, else an error that suggests self
  int64_t nsamples = 128;
  int64_t seqlen = 2048;
  int64_t seed = 42;
  int64_t batch_size = 8;  // only for the warning that a batch cannot be filled
  int64_t vocab_size = 0;  // the model's; ids outside are refused. 0 = not checked
};

// One entry of the argument and what became of it.
struct EntryReport {
  std::string name, kind, file;  // kind: "self", "json", "text", "ids"
  int64_t documents = 0;         // looked at
  int64_t too_short = 0, repetitive = 0;
  int64_t rows = 0;  // usable
  int64_t used = 0;  // taken into the set, before the final cut to nsamples
};

struct CalibrationSet {
  at::Tensor input_ids;  // int64 [n, seqlen], n <= nsamples
  std::vector<EntryReport> entries;
  int64_t unique_tokens = 0;
  std::string sha256;  // of input_ids as little-endian int64

  [[nodiscard]] ARKIT_EXPORT json::Object report() const;  // for arkit-run.json
};

// Writes n rows of seqlen ids, int64 [n, seqlen]: see self_dataset.h.
using SelfSampler = std::function<at::Tensor(int64_t n)>;

// `tokenizer` may be null when only token ids are read; an empty `self` refuses "self". Throws ErrorCode::usage for a
// malformed argument, ErrorCode::input for files and for a set that filtering leaves empty (with the counts).
[[nodiscard]] ARKIT_EXPORT CalibrationSet load_calibration(const CalibrationOptions& options,
                                                           const Tokenizer* tokenizer, const SelfSampler& self,
                                                           Reporter& reporter);

}  // namespace arkit::calibration
