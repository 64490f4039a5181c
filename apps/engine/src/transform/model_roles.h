#pragma once
// Where the tensors of a llama-like decoder are, as transforms need it.

#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/transform.h>

namespace arkit {

// Families whose blocks are: residual += o(attention(q, k, v of norm)), residual += down(act(gate) * up of norm), with
// RMSNorm gains that multiply what they norm.
[[nodiscard]] const std::vector<std::string>& transformed_families();

// `what` is to be done to the model, for messages. Throws ErrorCode::unsupported naming the family when it is none of
// transformed_families(), or its blocks hold other layers than these.
[[nodiscard]] ARKIT_INTERNAL ModelRoles read_roles(const ModelSource& source, const Model& model,
                                                   std::string_view what);
// The same of a source whose model is opened for it.
[[nodiscard]] ARKIT_INTERNAL ModelRoles read_roles(const ModelSource& source, const Registry& registry,
                                                   std::string_view what);

}  // namespace arkit
