#include "mlx_rope.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/sdk/rope.h>
#include <arkit/str.h>

#include "mlx_classes.h"

namespace arkit::mlx {
namespace {

constexpr const char* kRope = "config.json: rope parameters";
constexpr std::array<std::string_view, 8> kTypes = {"default", "linear",   "dynamic",      "llama3",
                                                    "yarn",    "longrope", "proportional", "mrope"};

std::string text_of(const json::Object& object, std::string_view key) {
  return json::get_string(object, key, kRope).value_or("");
}

const json::Object* object_of(const json::Object& config, std::string_view key) {
  const json::Value* found = json::find(config, key);
  return found != nullptr && found->is_object() ? &found->get_object() : nullptr;
}

bool by_layer_type(const json::Object& rope) {
  return std::any_of(rope.begin(), rope.end(), [](const auto& entry) { return entry.value().is_object(); });
}

const json::Object* rope_of(const json::Object& config) {
  const json::Object* rope = sdk::counting_rope(config);
  if (rope == nullptr || rope == object_of(config, "rope_scaling")) return rope;
  const json::Object* mode = object_of(*rope, "default");
  return mode != nullptr ? mode : rope;
}

constexpr const char* kOriginal = "original_max_position_embeddings";
constexpr const char* kLongest = "max_position_embeddings";

// Phi's configuration class, in transformers and in mlx-lm.
bool is_phi(const json::Object& config) {
  const std::string type = text_of(config, "model_type");
  return type == "phi3" || type == "phimoe";
}

// mlx-lm knows one spelling of each.
std::string type_of(const json::Object& rope, const json::Object& config) {
  std::string type = text_of(rope, "rope_type");
  if (type.empty()) type = text_of(rope, "type");
  if (type == "su" || (type == "yarn" && is_phi(config))) return "longrope";
  return type.empty() ? "default" : type;
}

double number(const json::Object& rope, std::string_view key, double fallback) {
  return json::get_double(rope, key, kRope).value_or(fallback);
}

// The positions a model was first made for, and those it may use; 0 = config.json does not say.
struct Lengths {
  double original = 0.0, longest = 0.0;
};

Lengths lengths_of(const json::Object& rope, const json::Object& config) {
  Lengths lengths{.longest = number(config, kLongest, 0.0)};
  const bool is_phi3 = text_of(config, "model_type") == "phi3";  // its configuration class has this default
  const double inside = is_phi3 ? 4096.0 : number(rope, kOriginal, lengths.longest);
  lengths.original = number(config, kOriginal, inside);
  return lengths;
}

// A factor of null is the ratio of the lengths.
double factor_of(const json::Object& rope, const json::Object& config) {
  const Lengths lengths = lengths_of(rope, config);
  const double ratio = lengths.original > 0.0 && lengths.longest > 0.0 ? lengths.longest / lengths.original : 1.0;
  return number(rope, "factor", ratio);
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

// What the tables of a yarn embedding are multiplied with.
double wanted_attention(const json::Object& rope, double factor) {
  const double mscale = number(rope, "mscale", 0.0), all = number(rope, "mscale_all_dim", 0.0);
  if (const auto given = json::get_double(rope, "attention_factor", kRope)) return *given;
  return mscale != 0.0 && all != 0.0 ? yarn_mscale(factor, mscale) / yarn_mscale(factor, all)
                                     : yarn_mscale(factor, 1.0);
}

double mlx_attention(const json::Object& rope, double factor) {
  return yarn_mscale(factor, number(rope, "mscale", 1.0)) / yarn_mscale(factor, number(rope, "mscale_all_dim", 0.0));
}

bool same(double a, double b) {
  return std::fabs(a - b) <= 1e-9 * std::fabs(b);
}

// mlx-lm knows no attention_factor; its mscale says the same. mscale_all_dim stays: Deepseek's attention looks at it,
// too.
void write_attention(json::Object& rope, double factor) {
  const double wanted = wanted_attention(rope, factor), all = number(rope, "mscale_all_dim", 0.0);
  if (same(mlx_attention(rope, factor), wanted) || factor <= 1.0) return;
  rope["mscale"] = (wanted * yarn_mscale(factor, all) - 1.0) / (0.1 * std::log(factor));
  rope["mscale_all_dim"] = all;
}

// Its classes take whatever is there, transformers reads these as if they were not.
void write_yarn(json::Object& rope, const json::Object& config) {
  const double factor = factor_of(rope, config);
  if (json::find(rope, "factor") == nullptr) rope["factor"] = factor;
  for (const char* beta : {"beta_fast", "beta_slow"})
    if (number(rope, beta, 0.0) == 0.0) rope.erase(beta);
  for (const char* scale : {"mscale", "mscale_all_dim", "attention_factor"})
    if (json::find(rope, scale) == nullptr) rope.erase(scale);
  write_attention(rope, factor);
}

// What the tables of a longrope embedding are multiplied with, for a factor.
double longrope_attention(double factor, double original) {
  return factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original));
}

// mlx-lm turns texts of any length by the long factors, with a scale that follows from the two lengths.
Verdict supports_longrope(const json::Object& rope, const json::Object& config) {
  const auto [original, longest] = lengths_of(rope, config);
  if (original <= 1.0 || longest <= 0.0) return Verdict::yes();
  const bool by_mscale = text_of(config, "model_type") == "phimoe";  // given for each of the two, always
  if (by_mscale && number(rope, "short_mscale", 1.0) != number(rope, "long_mscale", 1.0))
    return Verdict::no(
        "mlx-lm's class for model_type 'phimoe' scales every text by 'long_mscale', and config.json has "
        "another 'short_mscale'");
  const json::Value *few = json::find(rope, "short_factor"), *many = json::find(rope, "long_factor");
  if (few == nullptr || many == nullptr)
    return Verdict::no("rope scaling of type 'longrope' needs 'short_factor' and 'long_factor'");
  if (longest > original && *few != *many)
    return Verdict::no(str("mlx-lm turns every text by 'long_factor', and config.json asks for 'short_factor' up to ",
                           original, " positions; set 'max_position_embeddings' to ", original,
                           " for a model of short texts, or 'short_factor' to the numbers of 'long_factor'"));
  const double wanted =
      json::get_double(rope, "attention_factor", kRope).value_or(longrope_attention(factor_of(rope, config), original));
  if (!by_mscale && !same(longrope_attention(longest / original, original), wanted))
    return Verdict::no(
        str("mlx-lm has no place for the 'attention_factor' or 'factor' of longrope scaling, and "
            "config.json asks for a scale of ",
            wanted));
  return Verdict::yes();
}

// The rope_scaling of a class: "type" and "rope_type", as classes look for either, and the lengths they would guess.
json::Object scaling_of(const json::Object& rope, const json::Object& config) {
  json::Object scaling = rope;
  for (const char* elsewhere : {"rope_theta", "partial_rotary_factor"}) scaling.erase(elsewhere);
  const std::string type = type_of(rope, config);
  scaling["type"] = type;
  scaling["rope_type"] = type;
  if (type == "llama3" || type == "yarn" || type == "longrope") {
    if (const json::Value* top = json::find(config, kOriginal))
      scaling[kOriginal] = *top;
    else if (text_of(config, "model_type") == "phi3")
      scaling[kOriginal] = 4096;  // as lengths_of
    else if (const json::Value* longest = json::find(config, kLongest);
             longest != nullptr && json::find(scaling, kOriginal) == nullptr)
      scaling[kOriginal] = *longest;
  }
  if (type == "yarn") write_yarn(scaling, config);
  if (type == "longrope") {
    // Within the positions of before, it is the short ones that count.
    const auto [original, longest] = lengths_of(rope, config);
    const json::Value* few = json::find(rope, "short_factor");
    if (few != nullptr && longest > 0.0 && longest <= original) scaling["long_factor"] = *few;
  }
  return scaling;
}

void copy_beside(const json::Object& rope, std::string_view key, json::Object& config, std::string_view name = {}) {
  if (const json::Value* value = json::find(rope, key)) config[name.empty() ? key : name] = *value;
}

// gemma3 and its like: one rope for layers that see all, one without scaling for those that see a window.
void write_by_layer_type(const json::Object& rope, json::Object& config) {
  if (const json::Object* full = object_of(rope, "full_attention")) {
    copy_beside(*full, "rope_theta", config);
    copy_beside(*full, "partial_rotary_factor", config);
    if (type_of(*full, config) != "default") config["rope_scaling"] = scaling_of(*full, config);
  }
  if (const json::Object* window = object_of(rope, "sliding_attention"))
    if (const json::Value* theta = json::find(*window, "rope_theta")) config["rope_local_base_freq"] = *theta;
}

bool is_plain(const json::Object& rope, const json::Object& config) {
  return type_of(rope, config) == "default" && std::all_of(rope.begin(), rope.end(), [](const auto& entry) {
           return entry.key() == "rope_theta" || entry.key() == "rope_type" || entry.key() == "type" ||
                  entry.key() == "partial_rotary_factor";
         });
}

void write_scaling(const json::Object& rope, json::Object& config) {
  json::Object scaling = scaling_of(rope, config);
  const json::Value* original = json::find(scaling, kOriginal);
  // Phi's classes look for it beside the factors.
  if (is_phi(config) && original != nullptr && json::find(config, kOriginal) == nullptr)
    config[kOriginal] = json::Value(*original);
  config["rope_scaling"] = std::move(scaling);
}

void write_one(json::Object& config, const ModelClass& target) {
  const json::Object* given = rope_of(config);
  if (given == nullptr) return;
  const json::Object rope = *given;
  if (by_layer_type(rope)) return write_by_layer_type(rope, config);
  copy_beside(rope, "rope_theta", config);
  copy_beside(rope, "partial_rotary_factor", config);
  const json::Object* scaling = object_of(config, "rope_scaling");
  const bool was_scaling = scaling != nullptr && !scaling->empty();
  const bool plain = is_plain(rope, config);
  if (text_of(config, "model_type") == "gpt_neox") {  // has names of its own
    copy_beside(rope, "rope_theta", config, "rotary_emb_base");
    copy_beside(rope, "partial_rotary_factor", config, "rotary_pct");
  }
  if (!plain)
    write_scaling(rope, config);
  else if (!was_scaling)
    config["rope_type"] = type_of(rope, config);  // as the reference writes it
  const bool lives_on = target.nested || (target.reads_parameters && !(plain && target.scales_rope));
  if (!lives_on) config.erase("rope_parameters");
  // Where both stood, the other one does not count.
  if (lives_on && was_scaling && object_of(config, "rope_parameters") != nullptr) {
    json::Object counts = rope;
    if (const json::Value* theta = json::find(config, "rope_theta")) counts["rope_theta"] = *theta;
    config["rope_parameters"] = std::move(counts);
  }
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

Verdict supports_yarn(const json::Object& rope, const json::Object& config) {
  const bool truncates = json::get_bool(rope, "truncate", kRope).value_or(!rope.contains("truncate"));
  if (!truncates)
    return Verdict::no("mlx-lm always truncates the bounds of yarn scaling, and config.json says 'truncate' false");
  const double factor = factor_of(rope, config);
  if (factor <= 1.0 && !same(wanted_attention(rope, factor), 1.0))
    return Verdict::no("mlx-lm has no place for the 'attention_factor' of yarn scaling with a factor of 1");
  return Verdict::yes();
}

// These rotate whole heads, in mlx-lm always.
bool rotates_whole_heads(std::string_view model_type) {
  return model_type == "llama" || model_type == "mistral" || model_type == "qwen2" || model_type == "qwen3";
}

Verdict supports_one(const json::Object& config, const ModelClass& target) {
  const json::Object* given = rope_of(config);
  const std::string model_type = text_of(config, "model_type");
  // Transformers takes one half for granted.
  const double beside = number(config, "partial_rotary_factor", 0.5);
  if (model_type == "glm" && (given == nullptr ? beside : number(*given, "partial_rotary_factor", beside)) != 1.0)
    return Verdict::no("mlx-lm's class for model_type 'glm' rotates whole heads, and the model's rotate in part");
  if (given == nullptr || by_layer_type(*given)) return Verdict::yes();
  const std::string type = type_of(*given, config);
  if (type == "default") return Verdict::yes();
  if (std::find(kTypes.begin(), kTypes.end(), type) == kTypes.end())
    return Verdict::no(str("mlx-lm has no rope scaling of type '", printable(type), "'"));
  if (target.known && !target.scales_rope && !target.reads_parameters && !target.nested)
    return Verdict::no(str("mlx-lm's class for model_type '", printable(model_type),
                           "' knows no rope scaling, and config.json asks for '", type, "'"));
  const double share = number(*given, "partial_rotary_factor", number(config, "partial_rotary_factor", 1.0));
  if (rotates_whole_heads(model_type) && share != 1.0 && type != "mrope")
    return Verdict::no(str("mlx-lm's class for model_type '", model_type,
                           "' rotates whole heads, and config.json asks for a 'partial_rotary_factor' of ", share));
  if (type == "yarn") return supports_yarn(*given, config);
  if (type == "longrope") return supports_longrope(*given, config);
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
