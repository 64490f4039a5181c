#include "called_as.h"

#include <algorithm>
#include <string>

namespace arkit::cli {
namespace {

constexpr std::string_view kFolder = "tmp_autoround";

constexpr CalledAs kNames[] = {
    {"arkit", "", ""},
    {"arkit-best", "best", ""},
    {"arkit-light", "light", ""},
    {"auto-round", "", kFolder},
    {"auto-round-best", "best", kFolder},
    {"auto-round-light", "light", kFolder},
    {"auto-round-rtn", "rtn", kFolder},
    {"auto-round-opt-rtn", "opt-rtn", kFolder},
};

}  // namespace

std::span<const CalledAs> called_as() {
  return kNames;
}

const CalledAs& called_as(std::string_view program) {
  std::string name(program.substr(program.rfind('/') + 1));
  std::replace(name.begin(), name.end(), '_', '-');
  const auto* found =
      std::find_if(std::begin(kNames), std::end(kNames), [&](const auto& one) { return one.name == name; });
  return found == std::end(kNames) ? kNames[0] : *found;
}

}  // namespace arkit::cli
