#pragma once
// Layers that must get one scheme together (docs/spec/auto-scheme.md 8): what serving engines fuse, and what users ask
// for.

#include <cstddef>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/log.h>

#include "autoscheme/pool.h"

namespace arkit::auto_scheme {

struct GroupOptions {
  std::vector<std::vector<std::string>> shared_layers;  // each: names, regular expressions or parts of names
  bool share_fused_layers = true;                       // the family's q/k/v and gate/up, all experts of a block
  bool allow_unmatched = false;                         // an entry that matches nothing is a warning
};

// Groups in model order, each a sorted list of indices into pool.layers; a layer nothing binds is a group of its own. A
// group of shared_layers whose entries are all names of layers is taken as it is; any other is matched block by block.
// Groups with a common member are one. Pinned layers are left out. A group without an option that all members may have
// falls apart, with a warning. Throws ErrorCode::usage for an entry that matches no layer.
[[nodiscard]] ARKIT_INTERNAL std::vector<std::vector<size_t>> share_layers(const Pool& pool,
                                                                           const GroupOptions& options,
                                                                           Reporter& reporter);

}  // namespace arkit::auto_scheme
