#include "model_free/text_config.h"

#include <array>

namespace arkit {
namespace {

constexpr std::array<std::string_view, 3> kTextConfigs = {"text_config", "llm_config", "language_config"};

}  // namespace

const json::Object& config_with(const json::Object& config, std::string_view key) {
  if (json::find(config, key) != nullptr) return config;
  for (const std::string_view name : kTextConfigs) {
    const json::Value* nested = json::find(config, name);
    if (nested != nullptr && nested->is_object() && json::find(nested->get_object(), key) != nullptr)
      return nested->get_object();
  }
  return config;
}

json::Object& config_with(json::Object& config, std::string_view key) {
  return const_cast<json::Object&>(config_with(static_cast<const json::Object&>(config), key));
}

}  // namespace arkit
