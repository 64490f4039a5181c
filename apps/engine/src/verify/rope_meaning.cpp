#include "verify/rope_meaning.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>

namespace arkit {
namespace {

constexpr const char* kWhat = "config.json: rope parameters";
constexpr const char* kOriginal = "original_max_position_embeddings";
constexpr const char* kLongest = "max_position_embeddings";

const json::Object* given_rope(const json::Object& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"})
    if (const json::Value* found = json::find(config, key))
      if (const json::Object* rope = found->if_object(); rope != nullptr && !rope->empty()) return rope;
  return nullptr;
}

std::optional<double> number(const json::Object& object, std::string_view key) {
  return json::get_double(object, key, kWhat);
}

bool reads_original(std::string_view type) {
  return type == "llama3" || type == "yarn" || type == "longrope";
}

// A number that counts as absent where it is 0.
double not_zero(const json::Object& rope, std::string_view key) {
  return number(rope, key).value_or(0.0);
}

double yarn_scale(const json::Object& rope, double factor) {
  if (const auto given = number(rope, "attention_factor")) return *given;
  const double mscale = not_zero(rope, "mscale"), all = not_zero(rope, "mscale_all_dim");
  if (mscale != 0.0 && all != 0.0) return yarn_mscale(factor, mscale) / yarn_mscale(factor, all);
  return yarn_mscale(factor, 1.0);
}

void say_yarn(json::Object& rope, double ratio) {
  const double factor = number(rope, "factor").value_or(ratio);
  rope["attention_factor"] = yarn_scale(rope, factor);
  rope["factor"] = factor;
  if (json::get_bool(rope, "truncate", kWhat).value_or(!rope.contains("truncate"))) rope.erase("truncate");
  for (const char* beta : {"beta_fast", "beta_slow"})
    if (not_zero(rope, beta) == 0.0) rope.erase(beta);
}

void say_longrope(json::Object& rope, double ratio, double original) {
  const double factor = number(rope, "factor").value_or(ratio);
  const double scale = factor <= 1.0 ? 1.0 : std::sqrt(1.0 + std::log(factor) / std::log(original));
  rope["attention_factor"] = number(rope, "attention_factor").value_or(scale);
  rope.erase("factor");
  if (ratio <= 1.0) rope.erase("long_factor");
}

// What other types have and this one does not look at.
void forget_others(json::Object& rope, std::string_view type) {
  for (const char* key : {"mscale", "mscale_all_dim"}) rope.erase(key);
  if (type == "yarn") return;
  for (const char* key : {"beta_fast", "beta_slow", "truncate"}) rope.erase(key);
  if (type != "longrope") rope.erase("attention_factor");
}

}  // namespace

double yarn_mscale(double factor, double mscale) noexcept {
  return factor <= 1.0 ? 1.0 : 0.1 * mscale * std::log(factor) + 1.0;
}

bool is_rope_word(std::string_view key) {
  static constexpr std::array<std::string_view, 5> kWords = {"rope_scaling", "rope_parameters", "rope_theta",
                                                             "partial_rotary_factor", "rope_type"};
  return std::find(kWords.begin(), kWords.end(), key) != kWords.end();
}

bool has_one_rope(const json::Object& config) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const json::Value* found = json::find(config, key);
    if (found == nullptr || !found->is_object()) continue;
    for (const auto& entry : found->get_object())
      if (entry.value().is_object()) return false;
  }
  return true;
}

json::Object rope_meaning(const json::Object& config) {
  json::Object rope;
  if (const json::Object* given = given_rope(config)) rope = *given;
  for (const char* beside : {"rope_theta", "partial_rotary_factor"})
    if (const json::Value* value = json::find(config, beside); value != nullptr && json::find(rope, beside) == nullptr)
      rope[beside] = *value;
  std::string type = json::get_string(rope, "rope_type", kWhat).value_or("");
  if (type.empty()) type = json::get_string(rope, "type", kWhat).value_or("default");
  if (type == "su") type = "longrope";
  if (type == "mrope") type = "default";
  rope.erase("type");
  rope["rope_type"] = type;
  if (!reads_original(type)) {
    forget_others(rope, type);
    return rope;
  }
  if (const json::Value* top = json::find(config, kOriginal)) rope[kOriginal] = *top;
  if (const json::Value* longest = json::find(config, kLongest); json::find(rope, kOriginal) == nullptr && longest)
    rope[kOriginal] = *longest;
  const auto original = number(rope, kOriginal), longest = number(config, kLongest);
  const double ratio = original && longest && *original > 0.0 ? *longest / *original : 1.0;
  if (type == "yarn") say_yarn(rope, ratio);
  if (type == "longrope") say_longrope(rope, ratio, original.value_or(0.0));
  forget_others(rope, type);
  return rope;
}

}  // namespace arkit
