#pragma once
// The containers of a recipe: stages of groups of modifiers (docs/spec/modifier-recipes.md 1), read from YAML or JSON.

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit::oneshot {

struct RawModifier {
  std::string stage, group;  // "default_stage", "default_modifiers": the keys as a recipe has them
  std::string type;          // "QuantizationModifier"
  json::Object fields;
};

struct RecipeDocument {
  std::string where;  // names the text in errors
  std::vector<RawModifier> modifiers;
  std::vector<std::string> warnings;  // what was read as the obvious meaning of something llm-compressor ignores
};

// Throws ErrorCode::input for what is no recipe and for one without modifiers.
[[nodiscard]] ARKIT_INTERNAL RecipeDocument read_document(const json::Value& root, const std::string& where);

// A text as .yaml, .json or Markdown (what stands between its first two lines of --- or +++), by `name`'s ending.
[[nodiscard]] ARKIT_INTERNAL json::Value parse_recipe_text(std::string_view text, const std::string& name,
                                                           const std::string& where);
[[nodiscard]] ARKIT_INTERNAL json::Value load_recipe_file(const std::filesystem::path& path);

}  // namespace arkit::oneshot
