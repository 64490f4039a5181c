#include "sample_reader.h"

ARKIT_PLUGIN("org.example.good", "1.2.3", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, SampleReader>("sample", "reads nothing"));
