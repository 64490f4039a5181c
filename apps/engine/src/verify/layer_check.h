#pragma once
// Packed layers: are the numbers sound by themselves, and do they stand for the source's weights?

#include <map>
#include <string>

#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "verify/verify_report.h"

namespace arkit {

// Gives the pages of a packed layer back.
void release_layer(const ModelSource& source, const std::string& layer);

// Scales finite and not zero (but for groups of zeros), codes and zero points in range, shapes as declared.
[[nodiscard]] CheckResult check_packed_values(const ModelSource& exported, const Registry& registry,
                                              Reporter& reporter);

// W - Wq of a layer, as figures. Both [out, in]; `scale` [out, groups] or undefined.
[[nodiscard]] LayerFigures layer_figures(const std::string& name, const at::Tensor& weight,
                                         const at::Tensor& dequantized, const at::Tensor& scale);

// Layers of a run by name, with the error it recorded for each (||W - Wq|| / ||W||).
using RecordedErrors = std::map<std::string, double>;

// What a run said of its layers; nothing for exports of others.
struct RecordedRounding {
  RecordedErrors errors;
  bool plain = false;  // neither searched nor tuned: every code is the nearest
  double reach = 0.5;  // where tuned: see code_check.h
};

// Every packed layer against the source's weight: its error as a whole, the signs of errors within groups, whether each
// code is one that rounding may give, and what the run recorded. Layers that a format without packing wrote as ordinary
// weights are those that `recorded` has errors for. The figures go into the report.
[[nodiscard]] CheckResult check_layers_against_source(const ModelSource& exported, const ModelSource& source,
                                                      const Registry& registry, const RecordedRounding& recorded,
                                                      Reporter& reporter, VerifyReport& report);

}  // namespace arkit
