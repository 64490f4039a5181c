#include "inference/residency.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

namespace arkit {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

std::optional<int64_t> number_in(const fs::path& file) {
  std::ifstream in(file);
  std::string word;
  int64_t value = 0;
  if (!(in >> word)) return std::nullopt;
  const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;  // "max"
  return value;
}

// A member of a file of lines "name value" or "name: value kB".
int64_t member_of(const fs::path& file, std::string_view name) {
  std::ifstream in(file);
  std::string word;
  int64_t value = 0;
  for (std::string line; std::getline(in, line);) {
    std::istringstream fields(line);
    if (fields >> word >> value && word == name) return value;
  }
  return 0;
}

// What a group leaves: its limit, less what is in use and cannot be given back. Pages of files that are not in use can.
int64_t left_in_group(const fs::path& group, const char* limit, const char* used, const char* pages) {
  const auto most = number_in(group / limit), now = number_in(group / used);
  if (!most || !now) return kUnlimited;
  return std::max<int64_t>(0, *most - std::max<int64_t>(0, *now - member_of(group / "memory.stat", pages)));
}

// The group this process is in and all above it. Inside a container the own group is the root of what is mounted.
int64_t left_in_groups() {
  int64_t left = kUnlimited;
  std::ifstream groups("/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string kinds = line.substr(first + 1, second - first - 1);
    const bool second_version = kinds.empty();
    if (!second_version && kinds.find("memory") == std::string::npos) continue;
    const fs::path root = second_version ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (fs::path path = line.substr(second + 1);; path = path.parent_path()) {
      const fs::path group = root / path.relative_path();
      left = std::min(left, second_version ? left_in_group(group, "memory.max", "memory.current", "inactive_file")
                                           : left_in_group(group, "memory.limit_in_bytes", "memory.usage_in_bytes",
                                                           "total_inactive_file"));
      if (path.empty() || path == path.root_path()) break;
    }
  }
  return left;
}

int64_t computed_bytes(const ModelSource& model, at::ScalarType dtype) {
  const auto element = static_cast<int64_t>(c10::elementSize(dtype));
  int64_t bytes = 0;
  for (const TensorInfo& tensor : model.weights().tensors())
    if (at::isFloatingType(tensor.dtype)) bytes += tensor.numel() * element;
  for (const LinearSpec& layer : sdk::packed_layers(model)) bytes += layer.out_features * layer.in_features * element;
  return bytes;
}

std::string megabytes(int64_t bytes) {
  return str(bytes / 1'000'000, " MB");
}

}  // namespace

json::Object Residency::describe() const {
  return {{"blocks", all ? "all" : "one"},
          {"why", why},
          {"model_bytes", model_bytes},
          {"available_bytes", available_bytes}};
}

int64_t available_memory() {
  constexpr int64_t kKilo = 1024;
  const int64_t machine = member_of("/proc/meminfo", "MemAvailable:") * kKilo;
  return std::min(machine > 0 ? machine : kUnlimited, left_in_groups());
}

Residency choose_residency(const std::string& asked, std::span<const ModelSource* const> models, at::ScalarType dtype,
                           int64_t passes) {
  Residency chosen{.available_bytes = available_memory(), .why = {}};
  for (const ModelSource* model : models) chosen.model_bytes += computed_bytes(*model, dtype);
  if (asked == "all" || asked == "one") {
    chosen.all = asked == "all";
    chosen.why = "as asked";
  } else if (asked != "auto") {
    throw_usage(str("unknown value '", printable(asked), "' of resident; expected auto, all or one"));
  } else if (passes < 2) {
    chosen.why = "every block is needed once";
  } else {
    // Activations, the page cache of the files and other programs need room as well.
    chosen.all = chosen.model_bytes <= chosen.available_bytes / 2;
    chosen.why =
        str("the model computes with ", megabytes(chosen.model_bytes), ", ", chosen.all ? "at most" : "more than",
            " half of the ", megabytes(chosen.available_bytes), " available");
  }
  return chosen;
}

}  // namespace arkit
