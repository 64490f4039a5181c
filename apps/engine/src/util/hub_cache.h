#pragma once
// Finds models that `hf download` has put into the local Hugging Face cache. Nothing is ever downloaded.

#include <filesystem>
#include <string_view>

#include <arkit/export.h>

namespace arkit::io {

// "org/name" or "name", optionally "@revision", made of the characters hub ids have. Says nothing about existence; a
// path of the same spelling is the caller's to prefer.
[[nodiscard]] ARKIT_INTERNAL bool is_hub_id(std::string_view text);

// HF_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path hub_cache_folder();

// The snapshot folder of a hub id (revision: branch, tag or commit; "main" by default). Throws ErrorCode::input naming
// the command that downloads it when it is not in the cache.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path resolve_hub_id(std::string_view id);

}  // namespace arkit::io
