#pragma once
// One way to say what checkpoints say in several: every command sees a model through this.

#include <filesystem>
#include <memory>
#include <string>

#include <arkit/log.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>

namespace arkit {

// - A matrix that embeddings and head share, stored as the head alone, is shown under the embeddings' name: what every
//   loader looks for.
// - config() says whether embeddings are tied (tied_embeddings.h) wherever loaders look for it.
// - A plain checkpoint of a bare decoder ("layers.0. ...") is shown with the names of the whole model
//   ("model.layers.0. ..."), which is what Transformers writes when it saves one.
// - Biases of linear layers to which the configuration gives none (attention_bias false, say), as the model's family
//   reads it, are not there: Transformers has no place for them either.
// The source itself where nothing of that changes it. Throws ErrorCode::unsupported for a shared matrix stored as a
// head of which nobody knows how the embeddings are called.
[[nodiscard]] std::unique_ptr<ModelSource> canonical_source(std::unique_ptr<ModelSource> source, const Registry&);

// Of these only the last.
[[nodiscard]] std::unique_ptr<ModelSource> without_denied_biases(std::unique_ptr<ModelSource> source, const Registry&);
// Says so, where `source` comes from one of the two and what it does not show is more than zeros.
void warn_of_denied_biases(const ModelSource& source, Reporter& reporter);

// open_source() without it: what lies in the folder, for those who ask what another program will make of it.
[[nodiscard]] std::unique_ptr<ModelSource> open_stored(const std::string& model, const Registry& registry,
                                                       Reporter& reporter);

// open_source() for those who read weights to make others of them: of a format whose files are models like any other,
// packed or not (GGUF's), the plain view.
[[nodiscard]] std::unique_ptr<ModelSource> open_plain_source(const std::string& model, const Registry& registry,
                                                             Reporter& reporter);

// The folder or file that a user's name of a model means, after downloading what a hub has of it.
[[nodiscard]] std::filesystem::path locate_model(const std::string& model, Reporter& reporter);
// The path itself where it exists; of a hub's model its config.json, and nothing else of it is fetched.
[[nodiscard]] std::filesystem::path locate_config(const std::string& model, Reporter& reporter);

}  // namespace arkit
