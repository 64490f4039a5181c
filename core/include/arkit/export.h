#pragma once
// Symbol visibility: everything is hidden unless marked. ARKIT_EXPORT marks what libarkit_core and plugin manifests
// show.

#define ARKIT_EXPORT __attribute__((visibility("default")))

// A function of core/src that arkit's own tests call: visible in libarkit_core, but no part of the plugin API (no
// header of it is installed).
#define ARKIT_INTERNAL __attribute__((visibility("default")))
