#pragma once
// How the next token of a text is picked from a row of logits.

#include <cstdint>
#include <map>
#include <memory>

namespace arkit {

class OutputGrammar;  // output_grammar.h

// In the order in which they act. Values as they are by themselves change nothing and pick the likeliest token.
struct SamplingOptions {
  // Only tokens that begin a text of it are picked, and the output ends where it is complete. Null = any text.
  std::shared_ptr<const OutputGrammar> grammar;
  std::map<int64_t, double> logit_bias;  // token id -> what is added to its logit, -100 to 100
  // > 0: logits of tokens of the prompt and the output are divided by it, negative ones multiplied; 1 = off.
  double repetition_penalty = 1.0;
  // -2 to 2, taken from the logit of a token of the output: once for each time it is there, and once; 0 = off.
  double frequency_penalty = 0.0, presence_penalty = 0.0;
  double temperature = 0.0;  // 0 = the largest logit (the first of equal ones), and nothing below acts
  int64_t top_k = 0;         // keep this many; 0 = off
  double top_p = 1.0;        // keep the fewest tokens whose probabilities reach this; 1 = off
  double min_p = 0.0;        // keep tokens at least so probable, as a share of the likeliest one; 0 = off
  int64_t seed = 42;
};

}  // namespace arkit
