#pragma once
// Symbol visibility: everything is hidden unless marked. ARKIT_EXPORT marks what libarkit_core, libarkit_engine
// and plugin manifests show.

#define ARKIT_EXPORT __attribute__((visibility("default")))

// A function that arkit's own libraries and tests call: visible in libarkit_core or libarkit_engine, but no part of
// their API (no header of it is installed).
#define ARKIT_INTERNAL __attribute__((visibility("default")))
