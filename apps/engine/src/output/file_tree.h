#pragma once
// Whole folders: on the disk, gone, listed, or present a second time under another name.

#include <cstddef>
#include <filesystem>
#include <functional>
#include <vector>

namespace arkit::output {

// Relative paths of everything in `folder` that is no folder, sorted; links are not followed.
[[nodiscard]] std::vector<std::filesystem::path> files_in(const std::filesystem::path& folder);

// Folders directly in `folder`, sorted; links are none.
[[nodiscard]] std::vector<std::filesystem::path> folders_in(const std::filesystem::path& folder);

// Do both lie in one mount, so that files can be renamed from one to the other?
[[nodiscard]] bool in_one_mount(const std::filesystem::path& a, const std::filesystem::path& b);

// Bytes of the regular files among them.
[[nodiscard]] int64_t bytes_of(const std::filesystem::path& folder, const std::vector<std::filesystem::path>& files);

// Every file and every folder entry of `folder` reaches the disk. Throws ErrorCode::resource.
void sync_tree(const std::filesystem::path& folder);

// Gone, as far as possible: for destructors.
void remove_tree(const std::filesystem::path& folder) noexcept;

// The files of `from` that `wanted` names appear in `to` as well, as hard links (nothing is copied), in folders with
// the modes of theirs; names that `to` has already stay what they are there. What was made is listed in `made`, also
// when it fails. False when it cannot be done: another mount somewhere below, other owners, more than `most` files.
[[nodiscard]] bool link_tree(const std::filesystem::path& from, const std::filesystem::path& to,
                             const std::function<bool(const std::filesystem::path&)>& wanted, size_t most,
                             std::vector<std::filesystem::path>& made);
// Undoes it.
void unlink_made(const std::filesystem::path& to, const std::vector<std::filesystem::path>& made) noexcept;

}  // namespace arkit::output
