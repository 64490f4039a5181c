#pragma once
// How the files of a folder are exchanged where the folder itself cannot be: it is a mount point, the working
// directory, somebody else's, or on a file system that exchanges no folders.
//
// The journal (".arkit-swap.json" in the folder) says what goes and what comes, in the folder and in all folders of it,
// those on other disks included. From the moment it has its name the new export is the right one and everything for it
// is on the disks: whoever finds a journal can complete it. Until then readers refuse the folder, and other programs
// find no config.json in it: that goes first and comes last.

#include <filesystem>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

namespace arkit::output {

// Where the finished files wait: a folder with "new" (and, while files are exchanged, "old") in it.
enum class Staging { beside, inside };

// ".NAME.arkit-part" beside `folder`, or ".arkit-part" inside it.
[[nodiscard]] std::filesystem::path staging_folder(const std::filesystem::path& folder, Staging place);

[[nodiscard]] ARKIT_INTERNAL bool has_journal(const std::filesystem::path& folder);

// Throws ErrorCode::input when a run was stopped while it exchanged the files of `folder` (or of the folder above, for
// an export that is one of several formats).
ARKIT_INTERNAL void refuse_unfinished_swap(const std::filesystem::path& folder);

// Folders whose files are exchanged together.
struct SwapSet {
  std::filesystem::path folder;
  Staging place = Staging::beside;
  std::set<std::string> apart = {};  // folders of it that have a staging folder of their own inside them
};

// Replaces the files `remove` of the folder by all files of the staging folders' "new". Everything is as before when it
// throws, unless going back fails too; then the journal stays.
void swap_files(const SwapSet& set, const std::vector<std::filesystem::path>& remove);

// Ends what a killed run has begun. Throws ErrorCode::resource, and ErrorCode::input for a journal that is none.
void complete_swap(const std::filesystem::path& folder);

}  // namespace arkit::output
