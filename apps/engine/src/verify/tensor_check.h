#pragma once
// Does every tensor of the source live on in the export, and is everything in the export accounted for?

#include <set>
#include <string>

#include <arkit/log.h>
#include <arkit/model_source.h>

#include "verify/verify_report.h"

namespace arkit {

// What the run said about itself, as far as these checks need it.
struct ExportFacts {
  std::set<std::string, std::less<>> quantized;  // layers
  bool tuned_norms = false;                      // and biases of quantized layers
  bool tied = false;                             // the head is the embedding
};

// Plain tensors of the export hold finite numbers.
[[nodiscard]] CheckResult check_finite_values(const ModelSource& exported, Reporter& reporter);

// Every module with static scales of attention has all of them, positive and finite.
[[nodiscard]] CheckResult check_attention_scales(const ModelSource& exported);

// Each source tensor is quantized, copied, tied or dropped by rule; the counts go into the report. Each tensor of the
// export comes from the source.
[[nodiscard]] CheckResult check_accounting(const ModelSource& exported, const ModelSource& source,
                                           const ExportFacts& facts, VerifyReport& report);

// Copied tensors equal the source's bit for bit, or after the cast to their dtype; norms and biases that were tuned lie
// near the source's.
[[nodiscard]] CheckResult check_copies(const ModelSource& exported, const ModelSource& source, const ExportFacts& facts,
                                       Reporter& reporter);

}  // namespace arkit
