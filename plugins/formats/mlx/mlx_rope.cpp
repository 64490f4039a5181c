#include "mlx_rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/error.h>
#include <arkit/str.h>

#include "mlx_classes.h"

namespace arkit::mlx {
namespace {

constexpr const char* kWhat = "config.json: rope parameters";
constexpr std::array<std::string_view, 8> kTypes = {"default", "linear",   "dynamic",      "llama3",
                                                    "yarn",    "longrope", "proportional", "mrope"};

std::string text_of(const json::Object& object, std::string_view key) {
  return json::get_string(object, key, kWhat).value_or("");
}

const json::Object* object_of(const json::Object& config, std::string_view key) {
  const json::Value* found = json::find(config, key);
  return found != nullptr && found->is_object() ? &found->get_object() : nullptr;
}

bool by_layer_type(const json::Object& rope) {
  return std::any_of(rope.begin(), rope.end(), [](const auto& entry) { return entry.value().is_object(); });
}

// As transformers: rope_scaling, where there is one, is what counts.
const json::Object* rope_of(const json::Object& config) {
  const json::Object* scaling = object_of(config, "rope_scaling");
  if (scaling != nullptr && !scaling->empty()) return scaling;
  const json::Object* rope = object_of(config, "rope_parameters");
  if (rope == nullptr) return nullptr;
  const json::Object* mode = object_of(*rope, "default");
  return mode != nullptr ? mode : rope;
}

// mlx-lm knows one spelling of each.
std::string type_of(const json::Object& rope) {
  std::string type = text_of(rope, "rope_type");
  if (type.empty()) type = text_of(rope, "type");
  if (type == "su") return "longrope";
  return type.empty() ? "default" : type;
}

double number(const json::Object& rope, std::string_view key, double fallback) {
  return json::get_double(rope, key, kWhat).value_or(fallback);
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// What the tables of a yarn embedding are multiplied with.
double wanted_attention(const json::Object& rope) {
  const double factor = number(rope, "factor", 1.0);
  const double mscale = number(rope, "mscale", 0.0), all = number(rope, "mscale_all_dim", 0.0);
  if (const auto given = json::get_double(rope, "attention_factor", kWhat)) return *given;
  return mscale != 0.0 && all != 0.0 ? yarn_mscale(factor, mscale) / yarn_mscale(factor, all)
                                     : yarn_mscale(factor, 1.0);
}

double mlx_attention(const json::Object& rope) {
  const double factor = number(rope, "factor", 1.0);
  return yarn_mscale(factor, number(rope, "mscale", 1.0)) / yarn_mscale(factor, number(rope, "mscale_all_dim", 0.0));
}

bool same(double a, double b) {
  return std::fabs(a - b) <= 1e-9 * std::fabs(b);
}

// mlx-lm knows no attention_factor; its mscale says the same.
void write_attention(json::Object& rope) {
  const double wanted = wanted_attention(rope), factor = number(rope, "factor", 1.0);
  if (same(mlx_attention(rope), wanted) || factor <= 1.0) return;
  rope["mscale"] = (wanted - 1.0) / (0.1 * std::log(factor));
  rope["mscale_all_dim"] = 0.0;
}

// The rope_scaling of a class: "type" and "rope_type", as classes look for either, and the lengths they would guess.
json::Object scaling_of(const json::Object& rope, const json::Object& config) {
  json::Object scaling = rope;
  for (const char* elsewhere : {"rope_theta", "partial_rotary_factor"}) scaling.erase(elsewhere);
  const std::string type = type_of(rope);
  scaling["type"] = type;
  scaling["rope_type"] = type;
  if (type == "llama3" || type == "yarn" || type == "longrope") {
    constexpr const char* original = "original_max_position_embeddings";
    if (const json::Value* top = json::find(config, original))
      scaling[original] = *top;
    else if (const json::Value* longest = json::find(config, "max_position_embeddings");
             longest != nullptr && json::find(scaling, original) == nullptr)
      scaling[original] = *longest;
  }
  if (type == "yarn") write_attention(scaling);
  return scaling;
}

void copy_beside(const json::Object& rope, std::string_view key, json::Object& config) {
  if (const json::Value* value = json::find(rope, key)) config[key] = *value;
}

// gemma3 and its like: one rope for layers that see all, one without scaling for those that see a window.
void write_by_layer_type(const json::Object& rope, json::Object& config) {
  if (const json::Object* full = object_of(rope, "full_attention")) {
    copy_beside(*full, "rope_theta", config);
    copy_beside(*full, "partial_rotary_factor", config);
    if (type_of(*full) != "default") config["rope_scaling"] = scaling_of(*full, config);
  }
  if (const json::Object* window = object_of(rope, "sliding_attention"))
    if (const json::Value* theta = json::find(*window, "rope_theta")) config["rope_local_base_freq"] = *theta;
}

bool is_plain(const json::Object& rope) {
  return type_of(rope) == "default" && std::all_of(rope.begin(), rope.end(), [](const auto& entry) {
           return entry.key() == "rope_theta" || entry.key() == "rope_type" || entry.key() == "type" ||
                  entry.key() == "partial_rotary_factor";
         });
}

void write_one(json::Object& config, const ModelClass& target) {
  const json::Object* given = rope_of(config);
  if (given == nullptr) return;
  const json::Object rope = *given;
  if (by_layer_type(rope)) return write_by_layer_type(rope, config);
  copy_beside(rope, "rope_theta", config);
  copy_beside(rope, "partial_rotary_factor", config);
  const bool was_scaling = object_of(config, "rope_scaling") != nullptr;
  if (!is_plain(rope))
    config["rope_scaling"] = scaling_of(rope, config);
  else if (!was_scaling)
    config["rope_type"] = type_of(rope);  // as the reference writes it
  const bool lives_on = target.nested || (target.reads_parameters && !(is_plain(rope) && target.scales_rope));
  if (!lives_on) config.erase("rope_parameters");
}

void write_theta(json::Object& config) {
  const std::string type = text_of(config, "model_type");
  // Where positions are rotated at all: absolute positions and state spaces have no such key.
  const bool rotates = json::find(config, "rope_parameters") != nullptr || model_class(type).scales_rope ||
                       type == "starcoder2" || type == "cohere";
  if (rotates && json::find(config, "rope_theta") == nullptr) config["rope_theta"] = default_theta(type);
}

// Classes that do not start without a rope_scaling, whatever is in it.
void write_unscaled(json::Object& config) {
  const std::string type = text_of(config, "model_type");
  const bool wants_one = type == "deepseek_v2" || type == "glm4_moe" || type == "exaone4";
  if (wants_one && json::find(config, "rope_scaling") == nullptr)
    config["rope_scaling"] = json::Object{{"type", "default"}, {"rope_type", "default"}, {"factor", 1.0}};
}

// Keys of its own for the same thing.
void write_gpt_neox(json::Object& config) {
  if (text_of(config, "model_type") != "gpt_neox") return;
  const auto take = [&](const char* key, const char* from, double fallback) {
    if (json::find(config, key) != nullptr) return;
    const json::Value* value = json::find(config, from);
    config[key] = value != nullptr ? *value : json::Value(fallback);
  };
  take("rotary_emb_base", "rope_theta", 10000.0);
  take("rotary_pct", "partial_rotary_factor", 0.25);
}

Verdict supports_one(const json::Object& config, const ModelClass& target) {
  const json::Object* given = rope_of(config);
  if (given == nullptr || by_layer_type(*given)) return Verdict::yes();
  const std::string type = type_of(*given);
  if (type == "default") return Verdict::yes();
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end())
    return Verdict::no(str("mlx-lm has no rope scaling of type '", printable(type), "'"));
  if (target.known && !target.scales_rope && !target.reads_parameters && !target.nested)
    return Verdict::no(str("mlx-lm's class for model_type '", printable(text_of(config, "model_type")),
                           "' knows no rope scaling, and config.json asks for '", type, "'"));
  if (type == "yarn" && !json::get_bool(*given, "truncate", kWhat).value_or(true))
    return Verdict::no("mlx-lm always truncates the bounds of yarn scaling, and config.json says 'truncate' false");
  if (type == "yarn" && number(*given, "factor", 1.0) <= 1.0 && !same(wanted_attention(*given), 1.0))
    return Verdict::no("mlx-lm has no place for the 'attention_factor' of yarn scaling with a factor of 1");
  return Verdict::yes();
}

// The file itself, and what it says of a language model in it.
template <typename Config>
std::vector<Config*> language_configs(Config& config) {
  std::vector<Config*> parts = {&config};
  for (const char* key : {"text_config", "llm_config", "language_config"})
    if (auto* found = config.if_contains(key); found != nullptr && found->is_object())
      parts.push_back(&found->get_object());
  return parts;
}

}  // namespace

Verdict supports_rope(const json::Object& config) {
  const ModelClass target = model_class(text_of(config, "model_type"));
  for (const json::Object* part : language_configs(config))
    if (Verdict verdict = supports_one(*part, target); !verdict) return verdict;
  return Verdict::yes();
}

void write_rope(json::Object& config) {
  const ModelClass target = model_class(text_of(config, "model_type"));
  // From the inside out: a new member may move what lies inside.
  const std::vector<json::Object*> parts = language_configs(config);
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    write_one(**part, target);
    if (*part == parts.back()) write_theta(**part);  // with a language model inside, the file itself has no positions
    write_unscaled(**part);
    write_gpt_neox(**part);
  }
}

}  // namespace arkit::mlx
