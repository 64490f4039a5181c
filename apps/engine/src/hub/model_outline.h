#pragma once
// A model of a hub before its weights are fetched: enough to open it and to plan what is done with it.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <arkit/error.h>
#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

// A folder in the system's place for temporary files, gone with this: links to the texts of the model, and for each
// file of weights one of its size with the header of the original, read by ranges, and a hole for the data.
class ARKIT_INTERNAL ModelOutline {
 public:
  // `texts` lie in `folder`. Throws ErrorCode::resource where headers cannot be read or kept, and what the hub throws.
  ModelOutline(Hub& hub, const Snapshot& snapshot, const std::filesystem::path& folder,
               const std::vector<std::string>& texts, const std::vector<std::string>& weights, int parallel);
  ~ModelOutline();
  ModelOutline(const ModelOutline&) = delete;
  ModelOutline& operator=(const ModelOutline&) = delete;

  // Ends with the name of the repository, without its owner.
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }

 private:
  void remove() noexcept;

  std::filesystem::path temporary_, path_;
};

// The id of the repository, where that is the path() of an outline that is there.
[[nodiscard]] ARKIT_INTERNAL std::optional<std::string> outlined_id(const std::filesystem::path& path);

// What is thrown where the data of an outline is asked for. The question is one that needs the weights.
class WeightsAbsent final : public Error {
 public:
  explicit WeightsAbsent(const std::string& message) : Error(ErrorCode::internal, message) {}
};

}  // namespace arkit::hub
