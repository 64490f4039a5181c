#pragma once
// What a run tells of a model that came from a hub.

#include <filesystem>
#include <string>

#include <arkit/json.h>

namespace arkit {

// {"service", "id", "revision", "commit"} of a model that this process has fetched under that name; empty for others.
[[nodiscard]] json::Object hub_origin(const std::string& model);

// `files`, as SourceHashes gives them, of a model that this process has fetched are those that its hub lists. Throws
// ErrorCode::input for one that is not: it was damaged in the cache, where only its size is looked at.
void require_listed(const std::string& model, const json::Array& files);

// The model at the commit that hub_origin() told, as a name that opens it; empty for a record without one. Throws
// ErrorCode::input for one that is none.
[[nodiscard]] std::string model_at_commit(const json::Object& origin, std::string_view where);

// What a model is called: "org/name" of one from a hub, else the last part of its path.
[[nodiscard]] std::string model_label(const std::string& model, const std::filesystem::path& path);

}  // namespace arkit
