#pragma once
// Names that come from users and from hubs, and what they may look like: they become parts of URLs and of paths.

#include <optional>
#include <string>
#include <string_view>

#include <arkit/export.h>

#include "hub/hub.h"
#include "hub/settings.h"

namespace arkit::hub {

// A model as a user names it: "org/name", "name", "org/name@revision", each with "hf:" or "modelscope:" before it.
struct ModelName {
  Service service = Service::hugging_face;
  Repo repo;
};

// Nothing for what cannot be an id; says nothing about existence, and a path of the same spelling is the caller's to
// prefer.
[[nodiscard]] ARKIT_INTERNAL std::optional<ModelName> parse_model_name(std::string_view text);
// The same model at one revision, so that parse_model_name reads it again.
[[nodiscard]] ARKIT_INTERNAL std::string spelled(Service service, const Repo& repo);

// Its revision as ModelScope knows it, whose usual branch is "master".
[[nodiscard]] std::string modelscope_revision(const Repo& repo);

// "model 'org/name'", "dataset 'org/name'": how errors begin.
[[nodiscard]] ARKIT_INTERNAL std::string describe(const Repo& repo);

// The id and the revision of "org/name", "org/name@revision"; not checked.
[[nodiscard]] ARKIT_INTERNAL Repo repo_of(RepoKind kind, std::string_view text);

[[nodiscard]] ARKIT_INTERNAL bool is_repo_id(std::string_view id);
[[nodiscard]] ARKIT_INTERNAL bool is_revision(std::string_view revision);
[[nodiscard]] ARKIT_INTERNAL bool is_repo_at_revision(std::string_view text);  // "org/name", "org/name@revision"
[[nodiscard]] ARKIT_INTERNAL bool is_commit(std::string_view text);            // 40 lower-case hexadecimal digits
[[nodiscard]] ARKIT_INTERNAL bool is_hex(std::string_view text, size_t digits);

// A file inside a repository: parts between slashes, none of them empty, "." or "..", no backslash, no control
// character, at most 255 bytes a part and 1024 in all.
[[nodiscard]] ARKIT_INTERNAL bool is_repo_path(std::string_view path);

}  // namespace arkit::hub
