#pragma once
// What requests for texts and for chats share while they are read.

#include "serve/fields.h"
#include "serve/text_request.h"

namespace arkit::serve {

// What both are asked in the same words.
void read_common(Fields& fields, const ServedModel& model, TextRequest& request);
// The grammar of answers that are to be JSON.
void read_response_format(Fields& fields, const ServedModel& model, TextRequest& request);
// Throws ApiError where a prompt has no tokens or too many, or where the request has too many texts.
void check_sizes(const TextRequest& request, const ServedModel& model);

inline constexpr int64_t kMostTokens = int64_t{1} << 53;  // that anybody can ask for

}  // namespace arkit::serve
