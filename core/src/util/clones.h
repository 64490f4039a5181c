#pragma once
// How element loops of core are compiled for several CPUs. No LibTorch here.

// One body, three instruction sets, chosen by the loader.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define ARKIT_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define ARKIT_CLONES
#endif
// A helper that is not inlined into a clone would be compiled for the default instruction set.
#define ARKIT_INLINE inline __attribute__((always_inline))
