#pragma once
// Everything of a quantization that is decided before a weight is read.

#include <filesystem>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/engine/jobs.h>
#include <arkit/log.h>
#include <arkit/registry.h>

#include "jobs/export_set.h"
#include "jobs/mix_decision.h"
#include "jobs/planned_model.h"
#include "oneshot/modifier.h"
#include "quant/recipes.h"
#include "transform/algs.h"

namespace arkit {

// What a user asked for, as read from options and from the recipe file.
struct QuantizeWish {
  const QuantizeOptions& given;
  QuantizeOptions options;  // with what the recipe file says
  std::optional<oneshot::Recipe> recipe;
  Algs algs;
  ResolvedTuning tuning;  // as far as options say
};

struct QuantizePlan {
  PlannedModel planned;
  ResolvedTuning tuning;
  at::ScalarType stored = at::kBFloat16;  // of the model
  at::ScalarType dtype = at::kBFloat16;   // of computing
  std::filesystem::path output_dir;
  std::vector<FormatChoice> formats;
};

// Reads the recipe file. Throws ErrorCode::usage for options that contradict each other.
[[nodiscard]] QuantizeWish read_wish(const QuantizeOptions& given, const Registry& registry, Reporter& reporter);

// `model` = where wish.options.model opens; `mix` null = without one. Throws what planning throws, ErrorCode::unsupported
// for formats and engines that do not take the plan.
[[nodiscard]] QuantizePlan decide(const QuantizeWish& wish, const std::string& model, const MixDecision* mix,
                                  const Registry& registry, Reporter& reporter);

// "awq, SignRound".
[[nodiscard]] std::string method_name(const QuantizePlan& decided);

// Does a later block see what the quantized ones before it give?
[[nodiscard]] bool sees_quantized(const ResolvedTuning& tuning, bool transforms);

// What formats record of the run.
[[nodiscard]] RunRecord run_settings(const QuantizeOptions& options, const QuantizePlan& decided);

// What --dry-run tells; `auto_scheme` empty = no mix.
[[nodiscard]] json::Object dry_run_report(const QuantizeWish& wish, const QuantizePlan& decided,
                                          const json::Object& auto_scheme, const Registry& registry);

// Of a model whose weights are still on a hub: all that can be known to fail does, and they are not fetched for it. The
// answer of a dry run that needs no weights; empty for any other run.
[[nodiscard]] json::Object decide_before_download(const QuantizeWish& wish, const Registry& registry,
                                                  Reporter& reporter);

}  // namespace arkit
