#include "output/swap_journal.h"

#include <algorithm>
#include <cerrno>
#include <functional>
#include <set>
#include <utility>

#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "output/file_tree.h"

namespace arkit::output {
namespace fs = std::filesystem;

namespace {

constexpr const char* kJournal = ".arkit-swap.json";
constexpr const char* kInside = ".arkit-part";
constexpr size_t kLongestName = 180;  // of 255: the staging folder's name is longer

bool is_there(const fs::path& path) {
  struct stat state {};
  return ::lstat(path.c_str(), &state) == 0;
}

bool is_folder(const fs::path& path) {
  struct stat state {};
  return ::lstat(path.c_str(), &state) == 0 && S_ISDIR(state.st_mode);
}

// The file that makes a folder a model: gone before anything else goes, back after everything else has come.
bool makes_a_model(const fs::path& name) {
  return name.filename() == "config.json";
}

class Swap {
 public:
  Swap(SwapSet set, std::vector<fs::path> remove, std::vector<fs::path> add)
      : set_(std::move(set)), folder_(set_.folder), remove_(std::move(remove)), add_(std::move(add)) {
    const auto is_text = [](const fs::path& name) { return !makes_a_model(name); };
    std::stable_partition(remove_.begin(), remove_.end(), makes_a_model);
    std::stable_partition(add_.begin(), add_.end(), is_text);
    adding_.insert(add_.begin(), add_.end());
  }

  static Swap read(const fs::path& folder);

  [[nodiscard]] bool touches(const fs::path& subfolder) const {
    const auto below = [&](const fs::path& name) { return *name.begin() == subfolder; };
    return std::any_of(add_.begin(), add_.end(), below) || std::any_of(remove_.begin(), remove_.end(), below);
  }

  void write_journal() const {
    const auto names = [](const std::vector<fs::path>& paths) {
      json::Array array;
      for (const fs::path& path : paths) array.emplace_back(path.string());
      return array;
    };
    const json::Object journal{{"arkit_swap", 1},
                               {"staging", set_.place == Staging::beside ? "beside" : "inside"},
                               {"apart", names({set_.apart.begin(), set_.apart.end()})},
                               {"remove", names(remove_)},
                               {"add", names(add_)}};
    const fs::path draft =
        staging_folder(folder_, set_.place) / "journal";  // a killed run leaves no half of it in the folder itself
    write_file(draft, json::dump(journal, 1) + "\n");
    if (::rename(draft.c_str(), (folder_ / kJournal).c_str()) != 0)
      throw_io(folder_ / kJournal, "writing the journal", errno);
    sync_folder(folder_);
  }

  // A file of ours must not have to replace a folder, nor to lie below a file, of the user's.
  void check_names() const {
    const std::set<fs::path> going(remove_.begin(), remove_.end());
    for (const fs::path& name : add_) {
      if (is_folder(folder_ / name)) refuse(name, "is a folder");
      for (fs::path above = name.parent_path(); !above.empty(); above = above.parent_path())
        if (is_there(folder_ / above) && !is_folder(folder_ / above) && !going.contains(above))
          refuse(above, "is a file");
    }
  }

  void check_files() const {
    for (const fs::path& name : add_)
      if (!is_there(waiting(name)) && !is_there(folder_ / name))
        throw_input(str("'", folder_.string(), "': an interrupted run left '", kJournal, "' here, but its '",
                        name.string(), "' is neither here nor at '", waiting(name).string(),
                        "'; remove the folder's export and run the command again"));
  }

  // Can be begun anew at any place.
  void apply() const {
    for (const fs::path& name : remove_)
      if (is_there(folder_ / name) && (!adding_.contains(name) || is_there(waiting(name))))
        move(folder_ / name, replaced(name));
    for (const fs::path& name : add_)
      if (is_there(waiting(name))) move(waiting(name), folder_ / name);
  }

  void undo() const {
    for (auto name = add_.rbegin(); name != add_.rend(); ++name)
      if (!is_there(waiting(*name)) && is_there(folder_ / *name)) move(folder_ / *name, waiting(*name));
    for (auto name = remove_.rbegin(); name != remove_.rend(); ++name)
      if (is_there(replaced(*name))) move(replaced(*name), folder_ / *name);
    remove_empty_folders(add_);
    drop_journal();
  }

  void finish() const {
    remove_empty_folders(remove_);
    sync_folders();
    drop_journal();
  }

 private:
  [[noreturn]] void refuse(const fs::path& name, std::string_view what) const {
    throw_input(str("'", (folder_ / name).string(), "': ", what,
                    ", and the export has something else of that name; rename it or choose another --output_dir"));
  }

  // Where a new file waits, and where an old one goes: on the disk it belongs to.
  [[nodiscard]] fs::path waiting(const fs::path& name) const { return staged("new", name); }
  [[nodiscard]] fs::path replaced(const fs::path& name) const { return staged("old", name); }
  [[nodiscard]] fs::path staged(const char* which, const fs::path& name) const {
    const fs::path first = *name.begin();
    if (!set_.apart.contains(first.string())) return staging_folder(folder_, set_.place) / which / name;
    return staging_folder(folder_ / first, Staging::inside) / which / name.lexically_relative(first);
  }

  static void move(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::create_directories(to.parent_path(), error);
    if (error) throw_io(to.parent_path(), "creating the folder", error.value());
    if (::rename(from.c_str(), to.c_str()) != 0) throw_io(to, "moving the file into its place", errno);
  }

  // Folders that nothing is left in, except the folder itself.
  void remove_empty_folders(const std::vector<fs::path>& names) const {
    for (const fs::path& name : names)
      for (fs::path above = name.parent_path(); !above.empty(); above = above.parent_path())
        if (::rmdir((folder_ / above).c_str()) != 0) break;
  }

  void sync_folders() const {
    std::set<fs::path> folders{folder_};
    for (const fs::path& name : add_) folders.insert((folder_ / name).parent_path());
    for (const fs::path& folder : folders) sync_folder(folder);
  }

  void drop_journal() const {
    if (::unlink((folder_ / kJournal).c_str()) != 0 && errno != ENOENT)
      throw_io(folder_ / kJournal, "removing the journal", errno);
    sync_folder(folder_);
  }

  SwapSet set_;
  fs::path folder_;
  std::vector<fs::path> remove_, add_;
  std::set<fs::path> adding_;
};

Swap Swap::read(const fs::path& folder) {
  const std::string what = str("'", (folder / kJournal).string(), "'");
  const auto damaged = [&]() {
    throw_input(str(what, ": is no journal of an interrupted run; remove it if you know that the folder is whole"));
  };
  const json::Value file = json::read_file(folder / kJournal);
  const json::Object& journal = json::as_object(file, what);
  const auto names = [&](const char* key) {
    std::vector<fs::path> paths;
    const json::Value* list = json::find(journal, key);
    if (list == nullptr && std::string_view(key) == "apart") return paths;  // of versions that had one disk
    if (list == nullptr || !list->is_array()) damaged();
    for (const json::Value& entry : list->get_array()) {
      const fs::path name = entry.is_string() ? std::string(entry.get_string()) : std::string();
      // Whoever else writes such a file must not move files around in this way.
      if (name.empty() || name.is_absolute() || name != name.lexically_normal() || *name.begin() == "..") damaged();
      paths.push_back(name);
    }
    return paths;
  };
  const std::string place = json::get_string(journal, "staging", what).value_or("");
  if (place != "beside" && place != "inside") damaged();
  SwapSet set{folder, place == "beside" ? Staging::beside : Staging::inside};
  for (const fs::path& name : names("apart")) set.apart.insert(name.string());
  return {std::move(set), names("remove"), names("add")};
}

}  // namespace

fs::path staging_folder(const fs::path& folder, Staging place) {
  if (place == Staging::inside) return folder / kInside;
  const std::string name = folder.filename().string();
  if (name.size() <= kLongestName) return folder.parent_path() / str(".", name, kInside);
  return folder.parent_path() / str(".", std::hash<std::string>{}(name), kInside);
}

bool has_journal(const fs::path& folder) {
  return is_there(folder / kJournal);
}

void refuse_unfinished_swap(const fs::path& given) {
  std::error_code error;
  const fs::path folder = fs::canonical(given, error);
  if (error) return;
  const auto refuse = [](const fs::path& place) {
    throw_input(str("'", place.string(), "': a run is replacing the export here or was stopped while it did, and the ",
                    "files are neither the old ones nor the new ones; wait for it, or complete it by any 'arkit ",
                    "quantize' or 'arkit convert' with --output_dir '", place.string(), "'"));
  };
  if (has_journal(folder)) refuse(folder);
  const fs::path above = folder.parent_path();
  if (has_journal(above) && Swap::read(above).touches(folder.filename())) refuse(above);
}

void swap_files(const SwapSet& set, const std::vector<fs::path>& remove) {
  std::vector<fs::path> add = files_in(staging_folder(set.folder, set.place) / "new");
  for (const fs::path apart : set.apart)
    for (const fs::path& name : files_in(staging_folder(set.folder / apart, Staging::inside) / "new"))
      add.push_back(apart / name);
  std::set<fs::path> going(remove.begin(), remove.end());
  for (const fs::path& name : add)
    if (is_there(set.folder / name) && !is_folder(set.folder / name)) going.insert(name);
  const Swap swap(set, {going.begin(), going.end()}, add);
  swap.check_names();
  try {
    swap.write_journal();
    swap.apply();
    swap.finish();
  } catch (...) {
    swap.undo();
    throw;
  }
}

void complete_swap(const fs::path& folder) {
  const Swap swap = Swap::read(folder);
  swap.check_files();
  swap.apply();
  swap.finish();
}

}  // namespace arkit::output
