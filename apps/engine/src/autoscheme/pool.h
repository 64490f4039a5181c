#pragma once
// Which layers AutoScheme decides on, which count with a scheme they already have, and which options each may get
// (docs/spec/auto-scheme.md 3).

#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <arkit/descriptors.h>
#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/model_adapter.h>

#include "autoscheme/score_table.h"

namespace arkit::auto_scheme {

struct Pool {
  std::vector<PoolLayer> layers;           // the program decides
  std::vector<std::vector<bool>> offered;  // [layer][option]; an option that is not has quants of 16 bits
  std::vector<LayerPlan> pinned;           // count in the average with the scheme they have

  // A layer no option fits, with the reason; also in `pinned`.
  struct Refused {
    std::string name, reason;
  };
  std::vector<Refused> refused;
};

// May the layer be quantized as its `quant` says? Asked of number formats and of the chosen file formats.
using MayQuantize = std::function<Verdict(const LayerPlan&)>;

// What takes part beside the layers of blocks where formats mix freely (free_mix.h): the head, unless it is tied, and
// the table of embeddings, which is the head too where it is tied.
struct WholeModel {
  std::optional<LayerPlan> table;                       // nothing = the layout names none
  std::function<LayerQuant(const LayerPlan&)> fitting;  // see FreeMix::fitting
};

// `base` is the plan all layers of which have the first option that quantizes. In the pool: the linears of decoder
// blocks, and the head with quant_lm_head unless it is tied; with `whole` (null = no) what that says, first the table.
// Pinned: layers of layer_config and ignore_layers, layers
// the model itself keeps, layers no option fits. A head that stays 16-bit by rule is neither and counts nowhere.
[[nodiscard]] ARKIT_INTERNAL Pool make_pool(const ModelLayout& layout, const QuantPlan& base,
                                            std::span<const SchemeOption> options, bool quant_lm_head,
                                            const MayQuantize& may_quantize, const WholeModel* whole = nullptr);

}  // namespace arkit::auto_scheme
