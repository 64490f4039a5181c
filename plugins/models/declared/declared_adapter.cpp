// Families that are files: those of --family, of the user's data folder and of share/arkit/families.
#include <algorithm>
#include <filesystem>
#include <vector>

#include <arkit/family_files.h>
#include <arkit/input_file.h>
#include <arkit/plugin.h>
#include <arkit/sdk/family.h>
#include <arkit/str.h>

namespace arkit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kLargestFile = 256 * 1024;

// The file itself, or a folder's *.toml by name.
std::vector<fs::path> files_of(const fs::path& place) {
  std::error_code failed;
  if (!fs::is_directory(place, failed)) return fs::exists(place, failed) ? std::vector{place} : std::vector<fs::path>();
  std::vector<fs::path> files;
  for (fs::directory_iterator it(place, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".toml") files.push_back(it->path());
  std::sort(files.begin(), files.end());
  return files;
}

class DeclaredAdapter final : public sdk::FamilyAdapter, public FamilyFiles {
 public:
  DeclaredAdapter() : FamilyAdapter("declared", "families read from files") {}

  void read_families(std::span<const fs::path> places) override {
    for (const fs::path& place : places)
      for (const fs::path& file : files_of(place)) read(file);
  }
  std::vector<FamilyFile> families() const override { return files_; }
  std::optional<FamilyFile> family_of(const json::Object& config) const override {
    const sdk::Family* family = find(config);
    if (family == nullptr) return std::nullopt;
    return *std::find_if(files_.begin(), files_.end(),
                         [&](const FamilyFile& f) { return named(f.path) == family->what; });
  }

 private:
  static std::string named(const fs::path& file) { return str("'", file.string(), "'"); }

  void read(const fs::path& file) {
    const fs::path path = fs::absolute(file).lexically_normal();
    sdk::Family family = sdk::parse_family(read_input_file(file, kLargestFile, "family file "), named(path));
    files_.push_back({.name = family.name, .summary = family.summary, .model_types = family.model_types, .path = path});
    add(std::move(family));
  }

  std::vector<FamilyFile> files_;
};

}  // namespace
}  // namespace arkit

ARKIT_PLUGIN("org.arkit.model.declared", "0.1.0", "arkit", "Apache-2.0", "https://github.com/arkit/arkit",
             arkit::component<arkit::ModelAdapter, arkit::DeclaredAdapter>("declared", "families read from files"));
