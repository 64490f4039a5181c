#pragma once
// What requests may know of the model that is served.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <arkit/engine/output_grammar.h>
#include <arkit/engine/sampling.h>
#include <arkit/engine/tokenizer.h>

namespace arkit::serve {

struct ServedModel {
  std::string name, path;  // either is what requests may call it
  int64_t created = 0;     // seconds since 1970: when it was loaded
  const Tokenizer* tokenizer = nullptr;
  std::vector<int64_t> stop_ids;
  SamplingOptions sampling;  // where a request says nothing
  int64_t vocab_size = 0;
  int64_t most_tokens = 0;      // of a text, prompt and answer: the model's positions, or what the cache holds
  int64_t most_new_tokens = 0;  // of an answer
  int64_t most_texts = 0;       // of a request
  // Made when it is asked for first; any thread.
  std::function<std::shared_ptr<const TokenBytes>()> token_bytes;
};

}  // namespace arkit::serve
