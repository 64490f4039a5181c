#pragma once
// The names under which the program can be installed ('./setup install DIR --aliases'): as AutoRound's commands, some
// of which are a recipe.

#include <span>
#include <string_view>

namespace arkit::cli {

struct CalledAs {
  std::string_view name;    // of the program
  std::string_view recipe;  // that quantize takes; empty = as it says itself
  std::string_view folder;  // where results go unless something else is said; empty = as arkit does

  // quantize is the command unless another is named.
  [[nodiscard]] bool quantizes() const { return name != "arkit"; }
};

[[nodiscard]] std::span<const CalledAs> called_as();
// "auto_round-best" and "auto_round_best" are "auto-round-best". Any other name is "arkit".
[[nodiscard]] const CalledAs& called_as(std::string_view program);

}  // namespace arkit::cli
