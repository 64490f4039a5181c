#pragma once

#include <cstdint>
#include <map>

#include <arkit/model_adapter.h>

namespace arkit {

// What forwards over whole rows without a mask share, made once for each number of sequences.
class ContextCache {
 public:
  // Valid until the same `batch` is asked for with another length.
  [[nodiscard]] const ForwardContext& get(const Model& model, int64_t batch, int64_t seqlen) {
    const auto found = contexts_.find(batch);
    if (found != contexts_.end() && found->second.seqlen == seqlen) return found->second;
    return contexts_.insert_or_assign(batch, model.context(batch, seqlen, {}, {}, {})).first->second;
  }

 private:
  std::map<int64_t, ForwardContext> contexts_;
};

}  // namespace arkit
