#include "../sample_reader.h"

ARKIT_PLUGIN("org.example.duplicate_name", "1.0", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, SampleReader>("sample", "the name good.cpp has"));
