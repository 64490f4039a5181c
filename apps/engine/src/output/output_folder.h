#pragma once
// The output folder of a run: written beside, and there in one step when everything is done.
//
// All files of all formats, record and card included, are written into a staging folder on the same disk; a format's
// folder that is on another disk has one there. commit() lets them appear together: by a rename where the output does
// not exist yet, by an exchange of the two folders where it does, and file by file under one journal where folders
// cannot be exchanged (swap_journal.h). Before that, nothing in the output folder is touched; after it, the old export
// is gone and whatever else lay there is still there.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "output/folder_guard.h"
#include "output/part_folder.h"
#include "output/swap_journal.h"

namespace arkit::output {

struct OutputRequest {
  std::filesystem::path folder;         // as the user knows it
  std::vector<std::string> subfolders;  // one a format; empty = the export fills the folder itself
  std::filesystem::path source_folder;  // of the model that is read; must not be replaced
  bool force = false;
};

class ARKIT_INTERNAL OutputFolder {
 public:
  // Locks the folder, ends and clears what killed runs left there, in folders of it and in the one above (and says so),
  // and makes the staging folder. Throws
  // ErrorCode::input for a folder in use without --force, ErrorCode::usage for the model's own, ErrorCode::resource
  // when another run writes into it or nothing can be written there.
  OutputFolder(OutputRequest request, Reporter& reporter);
  // Without commit(): nothing is left, and folders that were made for this run are gone.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // What is in here appears in the folder, and in one of its subfolders.
  [[nodiscard]] const std::filesystem::path& staged() const { return part_->filled(); }
  [[nodiscard]] std::filesystem::path staged(const std::string& subfolder) const;

  // Throws ErrorCode::resource when a disk has no room for `bytes` more, given for each subfolder (or for the export
  // that fills the folder): the old export stays until the end. `shards` is what shards_folder() will grow by.
  void require_space(const std::vector<int64_t>& bytes, int64_t shards = 0) const;

  // Once. Throws with everything as it was.
  void commit();

 private:
  void resolve();
  void lock();
  void complete(const std::filesystem::path& folder);
  void clear_leftovers();
  void check_use() const;
  void make_staging();
  void remove_locks() const;
  void appear();
  [[nodiscard]] bool may_exchange() const;
  [[nodiscard]] bool link_what_stays();
  [[nodiscard]] bool exchange();
  void keep_latecomers();
  void keep_parts();

  const OutputRequest request_;
  Reporter& reporter_;
  std::filesystem::path folder_;  // links resolved
  std::optional<MadeFolders> parents_;
  bool existed_ = false;
  std::unique_ptr<FolderGuard> above_guard_, folder_guard_;
  std::vector<std::unique_ptr<FolderGuard>> subfolder_guards_;
  Staging place_ = Staging::beside;
  std::optional<PartFolder> part_;
  std::map<std::string, PartFolder> apart_;  // of subfolders on other disks
  std::set<std::filesystem::path> old_;      // files of the export that goes
  std::vector<std::filesystem::path> carried_;
};

}  // namespace arkit::output
