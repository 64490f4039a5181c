#pragma once
// Which files of a repository make a model: what is downloaded, and what is not.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

constexpr std::string_view kShardIndex = "model.safetensors.index.json";  // the list of shards

// The texts among `entries`: everything that is not weights and travels with a model, such as configuration, tokenizer,
// templates, processors, code, licence, card, lists of shards. Fetched first; some of it says which weights there are.
// Left out are weights of every kind, pictures and papers, hidden files, and folders with
// weights of their own that modules.json does not name.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> model_texts(const std::vector<Entry>& entries);

// The weights, once the texts lie in `folder`: the shards that model.safetensors.index.json lists, else the
// safetensors of the repository itself, with those of the modules that modules.json names; else the one GGUF file that
// it has. `what` opens messages. Throws ErrorCode::unsupported where there are only pickles, which are never fetched,
// or nothing that arkit reads; ErrorCode::input where the index names what the repository lacks.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::string> model_weights(const std::vector<Entry>& entries,
                                                                    const std::filesystem::path& folder,
                                                                    std::string_view what);

}  // namespace arkit::hub
