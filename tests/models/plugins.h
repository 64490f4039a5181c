#pragma once
// The model plugins of this build tree, through the registry.

#include <arkit/registry.h>

namespace arkit {
class ModelAdapter;
class ModelSource;
}  // namespace arkit

namespace arkit::tests {

inline constexpr const char* kFamilies = ARKIT_TEST_DATA "/../../share/families";

const Registry& registry();
ModelAdapter& llama();
ModelAdapter& mistral();
ModelAdapter& qwen2();
ModelAdapter& qwen3();
ModelAdapter& declared();  // the families of share/families
ModelAdapter& adapter_of(const ModelSource& source);

}  // namespace arkit::tests
