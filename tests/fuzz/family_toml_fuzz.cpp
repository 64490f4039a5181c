// Bytes as a family file; and, where they are JSON, as the configuration a file is drafted from: what arkit drafts it
// can read.

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/sdk/family.h>
#include <arkit/sdk/family_draft.h>

namespace {

void read(std::string_view text) {
  try {
    if (arkit::sdk::parse_family(text, "fuzz.toml").model_types.empty()) std::abort();
  } catch (const arkit::Error& error) {  // refused, with the name of the file: fine
    if (std::string_view(error.what()).find("fuzz.toml") == std::string_view::npos) std::abort();
  }
}

void draft(std::string_view text) {
  arkit::sdk::FamilyDraft drafted;
  try {
    const arkit::json::Value config = arkit::json::parse(text, "fuzz.json");
    if (!config.is_object()) return;
    drafted = arkit::sdk::draft_family(config.get_object(), {});
  } catch (const arkit::Error&) {
    return;
  }
  (void)arkit::sdk::parse_family(drafted.toml, "the draft");  // throws: a bug
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  read(text);
  draft(text);
  return 0;
}
