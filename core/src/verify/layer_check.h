#pragma once
// Packed layers: are the numbers sound by themselves, and do they stand for the source's weights?

#include <map>
#include <string>

#include <arkit/model_source.h>
#include <arkit/registry.h>

#include "verify/verify_report.h"

namespace arkit {

// Scales finite and not zero, codes and zero points in range, shapes as declared.
[[nodiscard]] CheckResult check_packed_values(const ModelSource& exported);

// W - Wq of a layer, as figures. Both [out, in]; `scale` [out, groups] or undefined.
[[nodiscard]] LayerFigures layer_figures(const std::string& name, const at::Tensor& weight,
                                         const at::Tensor& dequantized, const at::Tensor& scale);

// Every packed layer against the source's weight, and against the error the run recorded for it (`recorded`, by layer
// name). `full_size` are layers a format without packing wrote as ordinary weights.
[[nodiscard]] CheckResult check_layers_against_source(const ModelSource& exported, const ModelSource& source,
                                                      const Registry& registry,
                                                      const std::map<std::string, double>& recorded,
                                                      VerifyReport& report);

}  // namespace arkit
