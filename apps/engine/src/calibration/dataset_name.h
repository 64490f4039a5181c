#pragma once
// What a name of the dataset argument stands for (docs/spec/calibration.md 1).

#include <string>

#include "calibration/dataset_registry.h"
#include "calibration/dataset_spec.h"

namespace arkit::calibration {

// Whatever is there under this name, or may be but cannot be looked at, is meant; a folder may be called like a
// dataset.
[[nodiscard]] bool names_file(const std::string& name);

// The data set of an entry that has documents: a local file, a description, a known name, a folder, a part of a known
// name or a hub id, in this order, with what the entry says otherwise. Throws ErrorCode::input for a name that is none of these, with the one it
// may mean, and ErrorCode::usage for keys that have no meaning for it.
[[nodiscard]] KnownDataset described(const DatasetSpec& spec);

}  // namespace arkit::calibration
