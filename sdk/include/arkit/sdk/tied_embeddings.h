#pragma once
// Are a model's embeddings and its head one matrix? What is stored decides; a flag of config.json, or its absence,
// which means another thing to every program, has a say only where the two stored matrices are equal or one of them is
// missing.

#include <string>

#include <arkit/json.h>
#include <arkit/model_source.h>

namespace arkit {

enum class HeadStorage {
  unknown,  // neither is stored under a name that is known
  embedding_only,
  head_only,
  both,  // and config.json says that they are two: nobody has compared them
  equal,
  different
};

struct TiedEmbeddings {
  HeadStorage storage = HeadStorage::unknown;
  bool tied = false;
  bool has_head = false;        // does the model read text out again? Classifiers and bare decoders do not
  std::string embedding, head;  // layer names, without ".weight"; empty = not stored, or not known
  std::string missing;          // the one of the two that the architecture needs and the checkpoint lacks; empty = none
};

// One matrix stored: tied, unless config.json says false; then the other one is missing. Two that are equal: tied
// unless it says false, where nothing is loaded to compare them. Two that differ: never. A packed head is its own.
[[nodiscard]] TiedEmbeddings find_tied_embeddings(const ModelSource& source);

// Layer names, as in TiedEmbeddings; nothing is loaded.
[[nodiscard]] std::string stored_embedding(const ModelSource& source);
[[nodiscard]] std::string stored_head(const ModelSource& source);

// The name of the embeddings' layer as the lists of blocks beside it suggest; empty = not known.
[[nodiscard]] std::string expected_embedding(const ModelSource& source);

// Writes tie_word_embeddings where loaders look for it: config.json itself and the text_config in it.
void state_tied_embeddings(json::Object& config, bool tied);

}  // namespace arkit
