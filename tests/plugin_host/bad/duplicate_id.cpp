#include "../sample_reader.h"

ARKIT_PLUGIN("org.example.good", "9.9", "Example", "Apache-2.0", "https://example.org",
             arkit::component<arkit::ModelReader, SampleReader>("other", "the id good.cpp has"));
