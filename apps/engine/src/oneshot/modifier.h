#pragma once
// QuantizationModifier and AutoRoundModifier with their fields read, checked and resolved to schemes
// (docs/spec/modifier-recipes.md 2); every other modifier is refused by name.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include <arkit/engine/jobs.h>
#include <arkit/export.h>
#include <arkit/json.h>

#include "oneshot/quant_args.h"
#include "oneshot/recipe_document.h"

namespace arkit::oneshot {

struct Modifier {
  std::string stage, group, type;
  bool tunes = false;                // AutoRoundModifier
  std::string scheme_name;           // a preset given by name, as typed; empty = a map, config_groups or none
  std::vector<QuantScheme> schemes;  // in the order of the recipe, observers resolved
  std::vector<std::string> ignore;
  std::optional<QuantArgs> kv_cache;
  int64_t iters = 200, batch_size = 8;
  std::optional<double> lr;
  bool disable_opt_rtn = false;
  json::Object fields;  // as recipe.yaml states them: defaults filled in, in the order of the class
};

struct Recipe {
  Modifier modifier;
  std::vector<std::string> warnings, notes;
};

// Throws ErrorCode::input for what contradicts the grammar, ErrorCode::unsupported for what arkit has not.
[[nodiscard]] ARKIT_INTERNAL Recipe resolve_recipe(const RecipeDocument& document);
[[nodiscard]] ARKIT_INTERNAL Recipe read_recipe_file(const std::filesystem::path& path);

// Options the recipe states, for where `given` leaves them unset; and what `given` states, into the recipe. Throws
// ErrorCode::usage for options that contradict a recipe.
[[nodiscard]] ARKIT_INTERNAL QuantizeOptions apply_recipe(Recipe& recipe, const QuantizeOptions& given);

}  // namespace arkit::oneshot
