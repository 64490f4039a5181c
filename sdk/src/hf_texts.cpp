#include "hf_texts.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/str.h>

namespace arkit::sdk {
namespace {

void set_dtype(json::Object& config, const std::string& name, bool both) {
  const bool has_new = config.contains("dtype");
  const bool has_old = config.contains("torch_dtype");
  if (has_new || both) config["dtype"] = name;
  // Every transformers release reads the old spelling; it is the one to add where the source has neither.
  if (has_old || both || !has_new) config["torch_dtype"] = name;
}

// transformers 4, and engines with configuration classes of its time, read the rotary embedding in older words. They
// are added where those would take something else for granted; transformers 5 reads both, to the same effect.
void add_old_rope(json::Object& config) {
  const json::Value* found = json::find(config, "rope_parameters");
  if (found == nullptr || !found->is_object() || json::find(config, "rope_scaling") != nullptr) return;
  json::Object rope = found->get_object();
  const auto is_object = [](const auto& entry) { return entry.value().is_object(); };
  if (std::any_of(rope.begin(), rope.end(), is_object)) return;  // one a kind of layer: has no older words
  const std::string what = "config.json: rope_parameters";
  const std::string family = json::get_string(config, "model_type", what).value_or("");
  static constexpr std::array<std::string_view, 4> kBase10000 = {"llama", "mistral", "qwen2", "qwen3"};
  const bool taken_for_granted = json::get_double(rope, "rope_theta", what).value_or(10000.0) == 10000.0 &&
                                 std::find(kBase10000.begin(), kBase10000.end(), family) != kBase10000.end();
  for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
    const json::Value* value = json::find(rope, key);
    if (value == nullptr) continue;
    const bool granted = taken_for_granted && std::string_view(key) == "rope_theta";
    if (!granted && json::find(config, key) == nullptr) config[key] = *value;
    rope.erase(key);
  }
  std::string type = json::get_string(rope, "rope_type", what).value_or("");
  if (type.empty()) type = json::get_string(rope, "type", what).value_or("default");
  if (type != "default" || rope.contains("mrope_section")) config["rope_scaling"] = std::move(rope);
}

}  // namespace

json::Object export_config(const ExportRequest& request, const HfFormat& format) {
  json::Object config = request.source.config();
  for (const char* old : {"quantization_config", "quantization"}) config.erase(old);  // mlx keeps it in the latter
  // Without a model family nothing was cast: what the source says of its dtype still holds, unless its format said it.
  if (!request.run.model_free || request.run.converted || format.declared_dtype)
    set_dtype(config, dtype_name(format.declared_dtype.value_or(request.model_dtype)),
              format.declared_dtype.has_value());
  add_old_rope(config);
  for (const char* part : {"text_config", "llm_config", "language_config"})
    if (json::Value* text = config.if_contains(part); text != nullptr && text->is_object())
      add_old_rope(text->get_object());
  if (!format.quantization_config.empty()) config["quantization_config"] = format.quantization_config;
  if (format.edit_config) format.edit_config(config);
  return config;
}

std::string export_generation_config(const std::string& text) {
  json::Value value = json::parse(text, "'generation_config.json'", true);
  if (!value.is_object()) throw_input("'generation_config.json': is not an object; copy it again");
  value.get_object()["do_sample"] = true;
  return json::dump(value, 2) + "\n";
}

}  // namespace arkit::sdk
