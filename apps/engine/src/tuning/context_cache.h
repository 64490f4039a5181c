#pragma once

#include <cstdint>
#include <map>

#include <arkit/model_adapter.h>

namespace arkit {

// What whole forwards without a cache or a mask share, made once for each number of sequences.
class ContextCache {
 public:
  // Valid until the same `batch` is asked for with another length.
  [[nodiscard]] const ForwardContext& get(const Model& model, int64_t batch, int64_t seqlen) {
    const auto found = contexts_.find(batch);
    if (found != contexts_.end() && found->second.seqlen == seqlen) return found->second;
    return contexts_.insert_or_assign(batch, model.context(batch, seqlen, {}, {}, nullptr)).first->second;
  }

 private:
  std::map<int64_t, ForwardContext> contexts_;
};

}  // namespace arkit
