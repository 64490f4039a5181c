#pragma once
// The output folder of a run: written beside, and there in one step when everything is done.
//
// All files of all formats, record and card included, are written into a staging folder on the same disk. commit()
// lets them appear: by a rename where the output does not exist yet, by an exchange of the two folders where it does,
// and file by file under a journal where folders cannot be exchanged (swap_journal.h). Before that, nothing in the
// output folder is touched; after it, the old export is gone and whatever else lay there is still there.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "output/folder_guard.h"
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
  // Locks the folder, clears what killed runs left (and says so), and makes the staging folder. Throws
  // ErrorCode::input for a folder in use without --force, ErrorCode::usage for the model's own, ErrorCode::resource
  // when another run writes into it or nothing can be written there.
  OutputFolder(OutputRequest request, Reporter& reporter);
  // Without commit(): nothing is left, and folders that were made for this run are gone.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  // What is in here appears in the folder.
  [[nodiscard]] const std::filesystem::path& staged() const { return new_; }

  // Throws ErrorCode::resource when the disk has no room for `bytes` more: the old export stays until the end.
  void require_space(int64_t bytes) const;

  // Once. Throws with everything as it was.
  void commit();

 private:
  void resolve();
  void lock();
  void clear_leftovers();
  void check_use() const;
  void make_staging();
  void remove_locks() const;
  void appear();
  [[nodiscard]] bool may_exchange() const;
  [[nodiscard]] bool link_what_stays();
  [[nodiscard]] bool exchange();
  void keep_latecomers();

  const OutputRequest request_;
  Reporter& reporter_;
  std::filesystem::path folder_;  // links resolved
  std::optional<MadeFolders> parents_;
  bool existed_ = false;
  std::unique_ptr<FolderGuard> folder_guard_, staging_guard_;
  Staging place_ = Staging::beside;
  std::filesystem::path staging_, new_;
  std::optional<TemporaryTree> staging_tree_;
  std::set<std::filesystem::path> old_;  // files of the export that goes
  std::vector<std::filesystem::path> carried_;
};

}  // namespace arkit::output
