#include "convert/config_difference.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <string>

#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::array<std::string_view, 10> kStorage = {
    "quantization_config",  "quantization",  "compression_config", "dtype",         "torch_dtype",
    "transformers_version", "_name_or_path", "use_cache",          "architectures", "auto_map"};

using Flat = std::map<std::string, json::Value>;

void flatten(const json::Object& object, const std::string& prefix, Flat& flat) {
  for (const auto& member : object) {
    const std::string_view key = member.key();
    if (std::find(kStorage.begin(), kStorage.end(), key) != kStorage.end() || member.value().is_null()) continue;
    const json::Object* inner = member.value().if_object();
    if (inner == nullptr)
      flat[prefix + std::string(key)] = member.value();
    else
      flatten(*inner, key == "rope_parameters" ? prefix : str(prefix, key, "."), flat);
  }
  if (const auto type = flat.find(prefix + "rope_type"); type != flat.end() && type->second == json::Value("default"))
    flat.erase(type);
}

bool same(const json::Value& a, const json::Value& b) {
  if (a.is_number() && b.is_number()) return a.to_number<double>() == b.to_number<double>();  // 10000 and 10000.0
  return a == b;
}

}  // namespace

json::Array config_difference(const json::Object& a, const json::Object& b) {
  Flat left, right;
  flatten(a, "", left);
  flatten(b, "", right);
  std::set<std::string> keys;
  for (const Flat* flat : {&left, &right})
    for (const auto& [key, value] : *flat) keys.insert(key);
  json::Array rows;
  for (const std::string& key : keys) {
    const auto in_a = left.find(key), in_b = right.find(key);
    const json::Value value_a = in_a == left.end() ? json::Value() : in_a->second;
    const json::Value value_b = in_b == right.end() ? json::Value() : in_b->second;
    if (!same(value_a, value_b)) rows.push_back(json::Object{{"key", key}, {"a", value_a}, {"b", value_b}});
  }
  return rows;
}

}  // namespace arkit
