#pragma once
// Text of a model on its way to standard output, piece by piece.

#include <string_view>

namespace arkit::cli {

// On a terminal nothing in it moves the cursor; a file or a pipe gets it as it is. Throws ErrorCode::resource when it
// cannot be written; a reader that has gone ends the program, as any other there.
void write_piece(std::string_view piece);

}  // namespace arkit::cli
