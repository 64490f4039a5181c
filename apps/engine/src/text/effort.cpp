#include "text/effort.h"

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::text {

void Effort::give_up() const {
  throw_input(str("tokenizer.json: its steps go through more than ", kBase + kPerByte * bytes_, " bytes for a text of ",
                  bytes_, "; that is the limit, and real tokenizers need ten times the text"));
}

void check_steps(size_t count, const std::string& what) {
  if (count > kMaxSteps) throw_input(str(what, ": has ", count, " steps; at most ", kMaxSteps, " are accepted"));
}

}  // namespace arkit::text
