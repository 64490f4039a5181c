#pragma once
// The functions of jobs.h that compute with a whole model, told how much of it may stay in memory. The short forms mean
// "auto".
//
// resident: "one" = a block at a time; "all" = every block from its first use on; "auto" = all where blocks are needed
// again and take no more than half of the memory that is available. Results are the same. Throws ErrorCode::usage for
// another word.

#include <string>

#include <arkit/engine/jobs.h>

namespace arkit {

[[nodiscard]] ARKIT_EXPORT json::Object evaluate_perplexity(const EvalOptions&, const std::string& resident,
                                                            const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object evaluate_divergence(const DivergenceOptions&, const std::string& resident,
                                                            const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object evaluate_last_words(const LastWordOptions&, const std::string& resident,
                                                            const Registry&, Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object forward(const ForwardOptions&, const std::string& resident, const Registry&,
                                                Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object verify(const VerifyOptions&, const std::string& resident, const Registry&,
                                               Reporter&);
[[nodiscard]] ARKIT_EXPORT json::Object diff(const DiffOptions&, const std::string& resident, const Registry&,
                                             Reporter&);

}  // namespace arkit
