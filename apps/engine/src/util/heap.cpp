#include "util/heap.h"

#include <malloc.h>

namespace arkit {

void return_large_blocks() noexcept {
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 4 << 20);
  ::malloc_trim(0);
}

}  // namespace arkit
