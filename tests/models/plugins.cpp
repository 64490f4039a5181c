#include "models/plugins.h"

namespace arkit::tests {

const Registry& registry() {
  static const Registry kRegistry(PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return kRegistry;
}
ModelAdapter& llama() {
  return registry().model("llama");
}
ModelAdapter& qwen() {
  return registry().model("qwen");
}

}  // namespace arkit::tests
