#pragma once
// Symbol visibility: everything is hidden unless marked. ARKIT_EXPORT marks what libarkit_core and plugin manifests
// show.

#define ARKIT_EXPORT __attribute__((visibility("default")))
