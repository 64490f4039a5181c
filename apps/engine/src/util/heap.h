#pragma once
// What the C library's heap does with large blocks.

namespace arkit {

// From now on blocks of 1 MiB and more go back to the system when they are freed. By default glibc raises that limit to
// 32 MiB as a program runs; buffers of one layer then stay in the heap, small allocations settle between them, and the
// resident set grows with the number of layers. Forward passes that reuse the
// same buffers over and over are faster without, or with a TensorCacheScope. Of the smaller blocks 4 MiB stay with each
// thread's heap: strips of a layer are made and dropped all the time, and their pages need not be new each time.
void return_large_blocks() noexcept;

}  // namespace arkit
