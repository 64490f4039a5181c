// Bytes as a recipe of `arkit quantize`. Whatever is accepted names options of the command, and none that chooses code
// to run or another recipe.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "recipe_file.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit::cli;
  static const Command& quantize = *find_command("quantize");
  try {
    const Values values =
        read_recipe(std::string_view(reinterpret_cast<const char*>(data), size), "fuzz.toml", quantize);
    for (const auto& [name, texts] : values)
      if (find_option(quantize, name) == nullptr || name == "plugin" || name == "family" || name == "config" ||
          texts.empty())
        std::abort();
  } catch (const arkit::Error&) {  // refused: fine
  }
  return 0;
}
