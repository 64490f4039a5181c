// Bytes as config.json: strict parsing, typed look-ups, and a dump that reads back and is then stable (1e400 becomes
// infinity, which the first dump writes bare and the second, as read back, in quotes).

#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const json::Value value = json::parse(text, "'fuzz'", true);
    const json::Object& config = json::as_object(value, "'fuzz'");
    const std::string dumped = json::dump(json::parse(json::dump(value, 2), "'dump'", true), 2);
    if (json::dump(json::parse(dumped, "'dump'", true), 2) != dumped) std::abort();
    (void)json::get_string(config, "model_type", "'fuzz'");
    (void)json::get_int(config, "hidden_size", "'fuzz'");
    (void)json::get_double(config, "rms_norm_eps", "'fuzz'");
    (void)json::get_bool(config, "tie_word_embeddings", "'fuzz'");
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
