#pragma once
// A second face of a ModelAdapter whose families are files (docs/FAMILIES.md), found by dynamic_cast.

#include <filesystem>
#include <span>

#include <arkit/export.h>

namespace arkit {

class ARKIT_EXPORT FamilyFiles {
 public:
  virtual ~FamilyFiles();
  // Called once, before anything else is asked: files, and folders that need not be there; earlier ones win. Throws
  // ErrorCode::input naming file and key.
  virtual void read_families(std::span<const std::filesystem::path> places) = 0;
};

}  // namespace arkit
