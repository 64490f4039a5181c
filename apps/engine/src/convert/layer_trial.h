#pragma once
// Does a format hold a layer as it is? Its packer and unpacker are asked, in memory.

#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/exporter.h>

namespace arkit {

class ARKIT_INTERNAL LayerTrial {
 public:
  LayerTrial(const QuantPlan& plan, bool allow_rounding);

  // Why `exporter`, called by the name `variant`, cannot hold the layer; empty = it can.
  [[nodiscard]] std::string why_not(const Exporter& exporter, std::string_view variant, const LayerRecord& layer) const;

 private:
  // What packers see of the plan: one layer of each kind, so that all layers together cost what they are.
  QuantPlan kinds_;
  bool allow_rounding_;
};

}  // namespace arkit
