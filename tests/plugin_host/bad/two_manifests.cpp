#include <arkit/backend_c.h>

#include "../sample_reader.h"

extern "C" ARKIT_EXPORT const ArkitBackendManifest arkit_backend_manifest = {sizeof(ArkitBackendManifest),
                                                                             ARKIT_BACKEND_MAGIC,
                                                                             ARKIT_BACKEND_MAJOR,
                                                                             ARKIT_BACKEND_MINOR,
                                                                             0,
                                                                             "org.example.two",
                                                                             "1.0",
                                                                             "Example",
                                                                             "Apache-2.0",
                                                                             "https://example.org",
                                                                             "two",
                                                                             "a backend beside a reader",
                                                                             nullptr};

ARKIT_PLUGIN("org.example.two", "1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, SampleReader>("sample", "reads nothing"));
