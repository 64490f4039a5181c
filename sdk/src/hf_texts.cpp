#include "hf_texts.h"

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include <arkit/error.h>
#include <arkit/sdk/quant_config.h>
#include <arkit/sdk/rope.h>
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

constexpr const char* kRope = "config.json: rope parameters";

bool is_same_number(const json::Value& a, const json::Value& b) {
  return a.is_number() && b.is_number() ? a.to_number<double>() == b.to_number<double>() : a == b;
}

// What transformers 5 takes from inside, older readers look for beside it.
void say_beside(json::Object& config, const json::Object& rope) {
  const std::string family = json::get_string(config, "model_type", kRope).value_or("");
  static constexpr std::array<std::string_view, 4> kBase10000 = {"llama", "mistral", "qwen2", "qwen3"};
  const bool base_10000 = std::find(kBase10000.begin(), kBase10000.end(), family) != kBase10000.end();
  for (const char* key : {"rope_theta", "partial_rotary_factor"}) {
    const json::Value* inside = json::find(rope, key);
    if (inside == nullptr) continue;
    const json::Value* beside = json::find(config, key);
    const bool granted = beside == nullptr && base_10000 && std::string_view(key) == "rope_theta" &&
                         is_same_number(*inside, json::Value(10000.0));
    if (!granted && (beside == nullptr || !is_same_number(*inside, *beside))) config[key] = json::Value(*inside);
  }
}

// transformers 4, and engines with configuration classes of its time, read the rotary embedding in older words. They
// are added where those would take something else for granted; transformers 5 reads both, to the same effect.
void add_old_rope(json::Object& config) {
  const json::Object* counts = counting_rope(config);
  if (counts == nullptr || counts->empty()) return;
  json::Object rope = *counts;
  const auto is_object = [](const auto& entry) { return entry.value().is_object(); };
  if (std::any_of(rope.begin(), rope.end(), is_object)) return;  // one a kind of layer: has no older words
  say_beside(config, rope);
  const json::Value* scaling = json::find(config, "rope_scaling");
  if (scaling != nullptr && *scaling == json::Value(rope)) return;
  for (const char* key : {"rope_theta", "partial_rotary_factor"}) rope.erase(key);
  std::string type = json::get_string(rope, "rope_type", kRope).value_or("");
  if (type.empty()) type = json::get_string(rope, "type", kRope).value_or("default");
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
