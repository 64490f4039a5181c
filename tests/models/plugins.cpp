#include "models/plugins.h"

#include <arkit/model_adapter.h>

namespace arkit::tests {

const Registry& registry() {
  static const Registry kRegistry(PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return kRegistry;
}
ModelAdapter& llama() {
  return registry().model("llama");
}
ModelAdapter& mistral() {
  return registry().model("mistral");
}
ModelAdapter& qwen2() {
  return registry().model("qwen2");
}
ModelAdapter& qwen3() {
  return registry().model("qwen3");
}
ModelAdapter& declared() {
  static const Registry kRegistry(
      PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}, .families = {kFamilies}});
  return kRegistry.model("declared");
}
ModelAdapter& adapter_of(const ModelSource& source) {
  for (ModelAdapter* (*adapter)() :
       {+[] { return &llama(); }, +[] { return &mistral(); }, +[] { return &qwen2(); }, +[] { return &qwen3(); }})
    if (adapter()->matches(source.config())) return *adapter();
  return declared();
}

}  // namespace arkit::tests
