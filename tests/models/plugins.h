#pragma once
// The model plugins of this build tree, through the registry.

#include <arkit/registry.h>

namespace arkit {
class ModelAdapter;
}

namespace arkit::tests {

const Registry& registry();
ModelAdapter& llama();
ModelAdapter& qwen();

}  // namespace arkit::tests
