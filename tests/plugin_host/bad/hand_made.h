#pragma once
// A manifest written by hand, so that single fields can be wrong.

#include "../sample_reader.h"

inline constexpr ArkitComponent kHandMadeComponents[] = {
    arkit::component<arkit::ModelReader, SampleReader>("sample", "reads nothing")};

#define HAND_MADE(magic, size, api, count, tag, id)           \
  extern "C" ARKIT_EXPORT const ArkitManifest arkit_manifest; \
  extern "C" const ArkitManifest arkit_manifest = {           \
      magic, size, api, count, tag, id, "1.0", "Example", "Apache-2.0", "https://example.org", kHandMadeComponents}
