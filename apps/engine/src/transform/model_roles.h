#pragma once
// Where the tensors of a decoder are, as transforms need it: read off its layout.

#include <string_view>

#include <arkit/export.h>
#include <arkit/model_layout.h>
#include <arkit/model_source.h>
#include <arkit/transform.h>

namespace arkit {

// Of blocks that are: x += output(attention(query, key, value of norm(x))), x += down(act(gate) * up of norm(x)), with
// RMSNorm gains that multiply what they norm. `what` is to be done to the model, for messages. Throws
// ErrorCode::unsupported naming the family and its first block that is anything else.
[[nodiscard]] ARKIT_INTERNAL ModelRoles read_roles(const ModelSource& source, const ModelLayout& layout,
                                                   std::string_view what);

}  // namespace arkit
