#pragma once
// The kinds of components a plugin may offer. Apart from plugin.h, whose ABI tag changes with every header.

#include <cstdint>

namespace arkit {

class Scheme;
class Exporter;
class ModelReader;
class InferenceBackend;
class ModelAdapter;
class Transform;

enum class Kind : uint32_t { scheme = 1, exporter = 2, backend = 3, model = 4, reader = 5, transform = 6 };

}  // namespace arkit
