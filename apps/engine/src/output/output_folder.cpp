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

// The folder is this run's, and no run writes into a folder of it that this one writes or replaces; runs that write into
// the folder above are in nobody's way, unless one writes it all.
void OutputFolder::lock() {
  const fs::path above = folder_.parent_path();
  std::error_code error;
  const bool mounted_on_itself = fs::equivalent(folder_, above, error);
  if (folder_.has_filename() && is_folder(above) && !mounted_on_itself) {
    if (has_journal(above)) {
      const FolderGuard guard(above, above);
      complete(above);
    }
    above_guard_ = std::make_unique<FolderGuard>(above, request_.folder, Hold::shared);
  }
  for (int attempt = 0; attempt < kLockAttempts && is_folder(folder_); ++attempt) {
    folder_guard_ = std::make_unique<FolderGuard>(folder_, request_.folder);
    if (folder_guard_->names(folder_)) break;  // else it was exchanged between two looks
    folder_guard_.reset();
  }
  for (const std::string& name : request_.subfolders)
    if (is_folder(folder_ / name))
      subfolder_guards_.push_back(std::make_unique<FolderGuard>(folder_ / name, request_.folder / name));
  place_ = place_of_staging(folder_);
  if (is_folder(folder_) && ::access(folder_.c_str(), W_OK | X_OK) != 0)
    throw_resource(str("output_dir '", request_.folder.string(), "': cannot be written (", std::strerror(errno), ")"));
}

// Ends what a killed run has begun there. No run may be in it but this one.
void OutputFolder::complete(const fs::path& folder) {
  complete_swap(folder);
  const fs::path shown = folder == folder_ ? request_.folder : folder;
  reporter_.warn(str("output_dir '", shown.string(),
                     "': an earlier run was killed while its export appeared here; it is complete now"));
}

// What killed runs left is in nobody's way; everything else is somebody's.
void OutputFolder::clear_leftovers() {
  size_t removed = 0;
  bool found = false;
  const auto clear = [&](const fs::path& staging) {
    const std::optional<size_t> files = clear_part_folder(staging, request_.folder);
    found = found || files.has_value();
    removed += files.value_or(0);
  };
  if (is_folder(folder_)) {
    if (has_journal(folder_)) complete(folder_);
    if (!folder_guard_ || !folder_guard_->is_a_file()) {   // else the lock file there is this run's
      if (const auto parts = clear_killed_run(folder_)) {  // of versions that wrote into the folder itself
        found = true;
        removed += parts->size();
      }
    }
    clear(staging_folder(folder_, Staging::inside));
    for (const fs::path& place : folders_in(folder_)) {  // of other runs, into one of several formats
      if (has_journal(place)) complete(place);
      clear(staging_folder(place, Staging::inside));
    }
    for (const std::string& name : request_.subfolders) clear(staging_folder(folder_ / name, Staging::beside));
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
      if (entry.path() == staging_folder(place, Staging::inside) || entry.path() == shards_folder(place)) continue;
      if (name == FolderLock::file_name()) continue;
      throw_input(str("output_dir '", shown.string(), "' is not empty (it holds '", entry.path().filename().string(),
                      "'); give another folder or pass --force to replace its export"));
    }
  }
}

// Where the files of each format wait. A format's folder that lies on another disk gets a staging folder there.
void OutputFolder::make_staging() {
  part_.emplace(staging_folder(folder_, place_), request_.folder);
  for (const std::string& name : request_.subfolders) {
    const fs::path place = folder_ / name;
    if (is_folder(place) && !in_one_mount(folder_, place))
      apart_.try_emplace(name, staging_folder(place, Staging::inside), request_.folder / name);
    else if (::mkdir((part_->filled() / name).c_str(), 0777) != 0)
      throw_io(part_->filled() / name, "creating the folder", errno);
  }
}

fs::path OutputFolder::staged(const std::string& subfolder) const {
  const auto apart = apart_.find(subfolder);
  return apart == apart_.end() ? part_->filled() / subfolder : apart->second.filled();
}

void OutputFolder::require_space(const std::vector<int64_t>& bytes, int64_t shards) const {
  struct Need {
    fs::path place;
    int64_t bytes = 0;
  };
  std::map<dev_t, Need> needs;
  for (size_t i = 0; i < bytes.size(); ++i) {
    const fs::path place = request_.subfolders.empty() ? staged() : staged(request_.subfolders[i]);
    const auto state = state_of(place);
    Need& need = needs[state ? state->st_dev : 0];
    need.place = place;
    need.bytes += bytes[i];
  }
  const auto beside = state_of(place_ == Staging::inside ? folder_ : folder_.parent_path());
  if (const auto same = needs.find(beside ? beside->st_dev : 0); same != needs.end()) same->second.bytes += shards;
  for (const auto& [disk, need] : needs) {
    std::error_code error;
    const fs::space_info space = fs::space(need.place, error);
    if (error || static_cast<int64_t>(space.available) >= need.bytes) continue;
    const int64_t old = bytes_of(folder_, {old_.begin(), old_.end()});
    throw_resource(str("output_dir '", request_.folder.string(), "': the export",
                       shards > 0 ? " and the files it is read from need " : " needs ", need.bytes >> 20,
                       " MiB, the disk has ", space.available >> 20, " MiB free",
                       old == 0 ? "" : str("; the old export's ", old >> 20, " MiB stay until the new one is whole"),
                       "; free some space there or choose another --output_dir"));
  }
}

bool OutputFolder::may_exchange() const {
  const auto folder = state_of(folder_);
  std::error_code error;
  const fs::path here = fs::current_path(error);
  return place_ == Staging::beside && apart_.empty() && folder && folder->st_uid == ::geteuid() &&
         !has_attributes(folder_) &&
         (error || !is_inside(here, folder_));  // else the shell would be left behind in the old folder
}

// The user's files get a second name in the new folder. False, and nothing is changed, where that does not work.
bool OutputFolder::link_what_stays() {
  const auto folder = state_of(folder_);
  const fs::path& filled = part_->filled();
  const auto made = state_of(filled);
  if (!folder || !made || ::chmod(filled.c_str(), folder->st_mode & kModeBits) != 0) return false;
  const bool same_group = made->st_gid == folder->st_gid;
  if (!same_group && ::chown(filled.c_str(), static_cast<uid_t>(-1), folder->st_gid) != 0) return false;
  const auto stays = [this](const fs::path& name) { return !old_.contains(name); };
  if (link_tree(folder_, filled, stays, kMostLinks, carried_)) return true;
  unlink_made(filled, carried_);
  return false;
}

bool OutputFolder::exchange() {
  if (::renameat2(AT_FDCWD, part_->filled().c_str(), AT_FDCWD, folder_.c_str(), RENAME_EXCHANGE) == 0) return true;
  unlink_made(part_->filled(), carried_);
  return false;
}

// The old folder lies where the new one was. What has come into it since its files were linked is somebody's.
void OutputFolder::keep_latecomers() try {
  const fs::path& left_behind = part_->filled();
  const std::set<fs::path> carried(carried_.begin(), carried_.end());
  for (const fs::path& name : files_in(left_behind)) {
    const auto left = state_of(left_behind / name);
    const auto there = state_of(folder_ / name);
    if (old_.contains(name) || !left || (there && same_file(*left, *there))) continue;
    if (there && !carried.contains(name)) continue;  // replaced: the new export has a file of that name
    std::error_code error;
    fs::create_directories((folder_ / name).parent_path(), error);
    fs::rename(left_behind / name, folder_ / name, error);
    if (!error) continue;
    part_->keep();
    reporter_.warn(str("'", (left_behind / name).string(),
                       "' came while the export was replaced and could not be moved to '", folder_.string(), "' (",
                       error.message(), "); it stays where it is"));
  }
} catch (const Error& error) {
  part_->keep();
  reporter_.warn(error.what());
}

// Exporters lock the folder they write into; of that nothing may appear.
void OutputFolder::remove_locks() const {
  std::vector<fs::path> places{staged()};
  for (const std::string& name : request_.subfolders) places.push_back(staged(name));
  for (const fs::path& place : places) {
    const fs::path file = place / FolderLock::file_name();
    if (::unlink(file.c_str()) != 0 && errno != ENOENT) throw_io(file, "removing the lock file", errno);
  }
}

void OutputFolder::appear() {
  const bool linked = existed_ && may_exchange() && link_what_stays();
  sync_tree(part_->filled());
  for (const auto& [name, part] : apart_) sync_tree(part.filled());
  if (!existed_ || !is_folder(folder_)) {
    if (::rename(part_->filled().c_str(), folder_.c_str()) != 0)
      throw_io(folder_, "renaming the finished folder", errno);
  } else if (linked && exchange()) {
    keep_latecomers();  // from here on nothing can fail any more
  } else {
    std::set<std::string> apart;
    for (const auto& [name, part] : apart_) apart.insert(name);
    swap_files({folder_, place_, apart}, {old_.begin(), old_.end()});
  }
}

void OutputFolder::commit() {
  ARKIT_CHECK(part_.has_value(), "an output folder is committed once");
  check_use();
  remove_locks();
  try {
    appear();
  } catch (...) {
    if (has_journal(folder_)) keep_parts();  // what could not be undone can still be completed
    throw;
  }
  if (parents_) parents_->keep();
  try {
    sync_folder(folder_.parent_path());
  } catch (const Error& error) {
    reporter_.warn(str(error.what(), "; the export is whole, but a power failure now might bring the old one back"));
  }
  part_.reset();
  apart_.clear();
}

void OutputFolder::keep_parts() {
  part_->keep();
  for (auto& [name, part] : apart_) part.keep();
}

}  // namespace arkit::output
