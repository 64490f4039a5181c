#pragma once
// Post-processors of tokenizer.json, reduced to what one sequence needs: ids before and after it.

#include <cstdint>
#include <vector>

#include <arkit/json.h>

#include "text/vocabulary.h"

namespace arkit::text {

struct SpecialFrame {
  std::vector<int64_t> before, after;
};

// `spec` is the "post_processor" member. Throws ErrorCode::unsupported naming an unknown type or a template that is not
// one sequence between special tokens.
[[nodiscard]] SpecialFrame make_special_frame(const json::Value* spec, const Vocabulary& vocabulary);

}  // namespace arkit::text
