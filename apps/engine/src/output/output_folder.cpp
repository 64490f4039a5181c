#include "output/output_folder.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "output/file_tree.h"
#include "output/old_export.h"

namespace arkit::output {
namespace fs = std::filesystem;

namespace {

constexpr size_t kMostLinks = 1000;  // of the user's files; more are left alone, and the export's are moved instead
constexpr mode_t kModeBits = 07777;
constexpr int kLockAttempts = 8;

std::optional<struct stat> state_of(const fs::path& path) {
  struct stat state {};
  if (::lstat(path.c_str(), &state) != 0) return std::nullopt;
  return state;
}

bool is_folder(const fs::path& path) {
  const auto state = state_of(path);
  return state && S_ISDIR(state->st_mode);
}

bool same_file(const struct stat& a, const struct stat& b) {
  return a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

// Do both lie in one mount, so that files can be renamed from one to the other?
bool in_one_mount(const fs::path& a, const fs::path& b) {
  struct statx first {};
  struct statx second {};
  if (::statx(AT_FDCWD, a.c_str(), 0, STATX_MNT_ID, &first) != 0 ||
      ::statx(AT_FDCWD, b.c_str(), 0, STATX_MNT_ID, &second) != 0)
    return false;
  const bool known = (first.stx_mask & second.stx_mask & STATX_MNT_ID) != 0;
  return first.stx_dev_major == second.stx_dev_major && first.stx_dev_minor == second.stx_dev_minor &&
         (!known || first.stx_mnt_id == second.stx_mnt_id);
}

// Attributes a new folder would not have (access lists, labels of users).
bool has_attributes(const fs::path& folder) {
  char names[4096];
  const ssize_t size = ::listxattr(folder.c_str(), names, sizeof names);
  if (size < 0) return errno != ENOTSUP;
  for (const char* name = names; name < names + size; name += std::strlen(name) + 1)
    if (std::strncmp(name, "security.", 9) != 0) return true;
  return false;
}

bool is_inside(const fs::path& path, const fs::path& folder) {
  return std::mismatch(folder.begin(), folder.end(), path.begin(), path.end()).first == folder.end();
}

std::string counted(size_t count, std::string_view one, std::string_view many) {
  return str(count, " ", count == 1 ? one : many);
}

}  // namespace

OutputFolder::OutputFolder(OutputRequest request, Reporter& reporter)
    : request_(std::move(request)), reporter_(reporter) {
  resolve();
  lock();
  clear_leftovers();
  check_use();
  if (request_.force && is_folder(folder_)) old_ = exports_in(folder_, request_.subfolders, request_.source_folder);
  make_staging();
}

OutputFolder::~OutputFolder() = default;

void OutputFolder::resolve() {
  std::error_code error;
  fs::path given = fs::absolute(request_.folder).lexically_normal();
  if (!given.has_filename()) given = given.parent_path();  // "out/"
  const bool present = fs::exists(given, error);
  if (!present && fs::is_symlink(fs::symlink_status(given, error)))
    throw_input(str("output_dir '", request_.folder.string(), "' is a link to '",
                    fs::read_symlink(given, error).string(),
                    "', which does not exist; make that folder or give another"));
  if (present && !fs::is_directory(given, error))
    throw_input(str("output_dir '", request_.folder.string(), "' is a file; give a folder"));
  existed_ = present;
  if (!present) parents_.emplace(given.parent_path());
  folder_ = fs::canonical(present ? given : given.parent_path(), error);
  if (error) throw_io(given, "finding the folder", error.value());
  if (!present) folder_ /= given.filename();
}

void OutputFolder::lock() {
  for (int attempt = 0; attempt < kLockAttempts && is_folder(folder_); ++attempt) {
    folder_guard_ = std::make_unique<FolderGuard>(folder_, request_.folder);
    if (folder_guard_->names(folder_)) break;  // else it was exchanged between two looks
    folder_guard_.reset();
  }
  const bool beside =
      folder_.has_filename() && (!is_folder(folder_) || (in_one_mount(folder_, folder_.parent_path()) &&
                                                         ::access(folder_.parent_path().c_str(), W_OK | X_OK) == 0));
  place_ = beside ? Staging::beside : Staging::inside;
  staging_ = staging_folder(folder_, place_);
  if (is_folder(folder_) && ::access(folder_.c_str(), W_OK | X_OK) != 0)
    throw_resource(str("output_dir '", request_.folder.string(), "': cannot be written (", std::strerror(errno), ")"));
}

// What killed runs left is in nobody's way; everything else is somebody's.
void OutputFolder::clear_leftovers() {
  size_t removed = 0;
  bool found = false;
  const auto clear = [&](const fs::path& staging) {
    if (!is_folder(staging)) return;
    const FolderGuard guard(staging, request_.folder);
    found = true;
    removed += files_in(staging).size();
    remove_tree(staging);
  };
  if (is_folder(folder_)) {
    if (has_journal(folder_)) {
      complete_swap(folder_);
      reporter_.warn(str("output_dir '", request_.folder.string(),
                         "': an earlier run was killed while its export appeared here; it is complete now"));
    }
    if (!folder_guard_ || !folder_guard_->is_a_file()) {   // else the lock file there is this run's
      if (const auto parts = clear_killed_run(folder_)) {  // of versions that wrote into the folder itself
        found = true;
        removed += parts->size();
      }
    }
    clear(staging_folder(folder_, Staging::inside));
  }
  if (folder_.has_filename()) clear(staging_folder(folder_, Staging::beside));
  if (found)
    reporter_.warn(str("output_dir '", request_.folder.string(), "': an earlier run was killed here; ",
                       counted(removed, "file of it is", "files of it are"), " removed"));
}

void OutputFolder::check_use() const {
  std::error_code error;
  std::vector<fs::path> places{folder_};
  if (!request_.subfolders.empty()) places.assign(request_.subfolders.begin(), request_.subfolders.end());
  for (fs::path& place : places) {
    place = folder_ / place;
    const fs::path shown = request_.subfolders.empty() ? request_.folder : request_.folder / place.filename();
    const auto state = state_of(place);
    if (!state) continue;
    if (!S_ISDIR(state->st_mode))
      throw_input(str("output_dir '", shown.string(), "' is a ", S_ISLNK(state->st_mode) ? "link" : "file",
                      "; remove it or give another --output_dir"));
    // Not even --force: the export would replace the weights it is made from.
    if (fs::equivalent(place, request_.source_folder, error))
      throw_usage(str("output_dir '", shown.string(), "' is the folder of the model itself; give another one"));
    if (request_.force) continue;
    for (const fs::directory_entry& entry : fs::directory_iterator(place, error)) {
      const fs::path name = entry.path().filename();
      if (entry.path() == staging_ || name == FolderLock::file_name()) continue;
      throw_input(str("output_dir '", shown.string(), "' is not empty (it holds '", entry.path().filename().string(),
                      "'); give another folder or pass --force to replace its export"));
    }
  }
}

void OutputFolder::make_staging() {
  for (int attempt = 0; attempt < kLockAttempts; ++attempt) {
    if (::mkdir(staging_.c_str(), 0700) != 0 && errno != EEXIST) throw_io(staging_, "creating the folder", errno);
    staging_guard_ = std::make_unique<FolderGuard>(staging_, request_.folder);
    if (staging_guard_->names(staging_)) break;  // else a run that has just ended took it away
    staging_guard_.reset();
  }
  if (!staging_guard_) throw_resource(str("'", staging_.string(), "' keeps changing; is another run active?"));
  staging_tree_.emplace(staging_);
  new_ = staging_ / "new";
  if (::mkdir(new_.c_str(), 0777) != 0) throw_io(new_, "creating the folder", errno);
  for (const std::string& name : request_.subfolders)
    if (::mkdir((new_ / name).c_str(), 0777) != 0) throw_io(new_ / name, "creating the folder", errno);
}

void OutputFolder::require_space(int64_t bytes) const {
  std::error_code error;
  const fs::space_info space = fs::space(staging_, error);
  if (error || static_cast<int64_t>(space.available) >= bytes) return;
  const int64_t old = bytes_of(folder_, {old_.begin(), old_.end()});
  throw_resource(str("output_dir '", request_.folder.string(), "': the export needs ", bytes >> 20,
                     " MiB, the disk has ", space.available >> 20, " MiB free",
                     old == 0 ? "" : str("; the old export's ", old >> 20, " MiB stay until the new one is whole"),
                     "; free some space there or choose another --output_dir"));
}

bool OutputFolder::may_exchange() const {
  const auto folder = state_of(folder_);
  std::error_code error;
  const fs::path here = fs::current_path(error);
  return place_ == Staging::beside && folder && folder->st_uid == ::geteuid() && !has_attributes(folder_) &&
         (error || !is_inside(here, folder_));  // else the shell would be left behind in the old folder
}

// The user's files get a second name in the new folder. False, and nothing is changed, where that does not work.
bool OutputFolder::link_what_stays() {
  const auto folder = state_of(folder_);
  const auto made = state_of(new_);
  if (!folder || !made || ::chmod(new_.c_str(), folder->st_mode & kModeBits) != 0) return false;
  const bool same_group = made->st_gid == folder->st_gid;
  if (!same_group && ::chown(new_.c_str(), static_cast<uid_t>(-1), folder->st_gid) != 0) return false;
  const auto stays = [this](const fs::path& name) { return !old_.contains(name); };
  if (link_tree(folder_, new_, stays, kMostLinks, carried_)) return true;
  unlink_made(new_, carried_);
  return false;
}

bool OutputFolder::exchange() {
  if (::renameat2(AT_FDCWD, new_.c_str(), AT_FDCWD, folder_.c_str(), RENAME_EXCHANGE) == 0) return true;
  unlink_made(new_, carried_);
  return false;
}

// The old folder lies where the new one was. What has come into it since its files were linked is somebody's.
void OutputFolder::keep_latecomers() try {
  const std::set<fs::path> carried(carried_.begin(), carried_.end());
  for (const fs::path& name : files_in(new_)) {
    const auto left = state_of(new_ / name);
    const auto there = state_of(folder_ / name);
    if (old_.contains(name) || !left || (there && same_file(*left, *there))) continue;
    if (there && !carried.contains(name)) continue;  // replaced: the new export has a file of that name
    std::error_code error;
    fs::create_directories((folder_ / name).parent_path(), error);
    fs::rename(new_ / name, folder_ / name, error);
    if (!error) continue;
    staging_tree_->keep();
    reporter_.warn(str("'", (new_ / name).string(), "' came while the export was replaced and could not be moved to '",
                       folder_.string(), "' (", error.message(), "); it stays where it is"));
  }
} catch (const Error& error) {
  staging_tree_->keep();
  reporter_.warn(error.what());
}

// Exporters lock the folder they write into; of that nothing may appear.
void OutputFolder::remove_locks() const {
  std::vector<fs::path> places{new_};
  for (const std::string& name : request_.subfolders) places.push_back(new_ / name);
  for (const fs::path& place : places) {
    const fs::path file = place / FolderLock::file_name();
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) throw_io(file, "removing the lock file", errno);
  }
}

void OutputFolder::appear() {
  const bool linked = existed_ && may_exchange() && link_what_stays();
  sync_tree(new_);
  if (!existed_ || !is_folder(folder_)) {
    if (::rename(new_.c_str(), folder_.c_str()) != 0) throw_io(folder_, "renaming the finished folder", errno);
  } else if (linked && exchange()) {
    keep_latecomers();  // from here on nothing can fail any more
  } else {
    swap_files(folder_, place_, {old_.begin(), old_.end()});
  }
}

void OutputFolder::commit() {
  ARKIT_CHECK(staging_tree_.has_value(), "an output folder is committed once");
  check_use();
  remove_locks();
  try {
    appear();
  } catch (...) {
    if (has_journal(folder_)) staging_tree_->keep();  // what could not be undone can still be completed
    throw;
  }
  if (parents_) parents_->keep();
  try {
    sync_folder(folder_.parent_path());
  } catch (const Error& error) {
    reporter_.warn(str(error.what(), "; the export is whole, but a power failure now might bring the old one back"));
  }
  staging_tree_.reset();
}

}  // namespace arkit::output
