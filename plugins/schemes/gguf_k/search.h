#pragma once
// Whose searches find the scales of blocks. No LibTorch here.

#include <arkit/sdk/gguf_blocks.h>

namespace arkit::gguf_k {

// AutoRound's are for types with sdk::has_auto_round_search. least_error: either's, by block (LeastErrorRounder), of types
// that both search for; ggml's of others.
enum class Search { least_error, ggml, auto_round };

// Other types are rounded to their extremes whatever the importance of a column.
[[nodiscard]] constexpr bool has_search(sdk::BlockType type, Search search) noexcept {
  using enum sdk::BlockType;
  if (search == Search::auto_round) return type != q4_1 && type != q5_1;
  return type != q8_0 && type != mxfp4 && type != tq1_0 && type != tq2_0;
}

}  // namespace arkit::gguf_k
