#include <arkit/sdk/text_config.h>

#include <array>

namespace arkit {
namespace {

constexpr std::array<std::string_view, 3> kTextConfigs = {"text_config", "llm_config", "language_config"};

}  // namespace

const json::Object& config_with(const json::Object& config, std::string_view key) {
  for (const json::Object* part : text_configs(config))
    if (json::find(*part, key) != nullptr) return *part;
  return config;
}

json::Object& config_with(json::Object& config, std::string_view key) {
  return const_cast<json::Object&>(config_with(static_cast<const json::Object&>(config), key));
}

std::vector<const json::Object*> text_configs(const json::Object& config) {
  std::vector<const json::Object*> parts = {&config};
  for (const std::string_view name : kTextConfigs) {
    const json::Value* nested = json::find(config, name);
    if (nested != nullptr && nested->is_object()) parts.push_back(&nested->get_object());
  }
  return parts;
}

std::vector<json::Object*> text_configs(json::Object& config) {
  std::vector<json::Object*> parts;
  for (const json::Object* part : text_configs(static_cast<const json::Object&>(config)))
    parts.push_back(const_cast<json::Object*>(part));
  return parts;
}

}  // namespace arkit
