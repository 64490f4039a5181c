// Calls a function of the core that this arkit does not have; linked without -z defs, so only loading can notice.
#include "../sample_reader.h"

namespace arkit {
int function_of_another_release(int);
}
extern "C" ARKIT_EXPORT int unresolved_use() {
  return arkit::function_of_another_release(1);
}

ARKIT_PLUGIN("org.example.unresolved", "1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, SampleReader>("unresolved", "never loads"));
