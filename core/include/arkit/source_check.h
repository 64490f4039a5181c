#pragma once
// A second face of an Exporter whose files one program reads that has a class for some models only: besides the plan it
// wants to see the model itself before any work starts.

#include <string_view>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/model_source.h>

namespace arkit {

class ARKIT_EXPORT SourceCheck {
 public:
  virtual ~SourceCheck();
  // Will the target load this model and compute the same? Asked at plan time, after Exporter::supports_plan said yes.
  [[nodiscard]] virtual Verdict supports_source(const ModelSource& source, const QuantPlan& plan,
                                                std::string_view variant) const = 0;
};

}  // namespace arkit
