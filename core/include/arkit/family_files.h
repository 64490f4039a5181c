#pragma once
// A second face of a ModelAdapter whose families are files (docs/FAMILIES.md), found by dynamic_cast.

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

struct FamilyFile {
  std::string name, summary;
  std::vector<std::string> model_types;
  std::filesystem::path path;
};

class ARKIT_EXPORT FamilyFiles {
 public:
  virtual ~FamilyFiles();
  // Called once, before anything else is asked: files, and folders that need not be there; earlier ones win. Throws
  // ErrorCode::input naming file and key.
  virtual void read_families(std::span<const std::filesystem::path> places) = 0;
  // Those read, in their order.
  [[nodiscard]] virtual std::vector<FamilyFile> families() const = 0;
  // The one that a model with this config.json has; nullopt = none of them.
  [[nodiscard]] virtual std::optional<FamilyFile> family_of(const json::Object& config) const = 0;
};

}  // namespace arkit
