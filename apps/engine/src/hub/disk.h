#pragma once
// Folders, renames and room on the disk of the cache; failures are ErrorCode::resource and say what to do.

#include <cstdint>
#include <filesystem>
#include <string_view>

namespace arkit::hub {

// "'path': <action> failed: <why>"; of a full disk, how to have the cache elsewhere.
[[noreturn]] void throw_disk(const std::filesystem::path& path, std::string_view action, int error_number);

void make_folder(const std::filesystem::path& folder);
void rename_over(const std::filesystem::path& from, const std::filesystem::path& to);
// A short text: whoever looks finds the old one or the new one.
void write_small(const std::filesystem::path& path, std::string_view text);
// A name beside `path` that no other process or call has.
[[nodiscard]] std::filesystem::path temporary_beside(const std::filesystem::path& path);
// Throws where `bytes` more do not fit into the folder's file system.
void require_room(const std::filesystem::path& folder, int64_t bytes, std::string_view what);

}  // namespace arkit::hub
