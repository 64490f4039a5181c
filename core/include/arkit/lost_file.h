#pragma once
// A mapped file that somebody cuts short while it is read. The kernel answers the next access to what is gone with
// SIGBUS. The handler here puts zeros where the file was and remembers its name: the work goes on to the next place
// that asks whether to stop, and ends there as an ordinary error that cleans up behind itself.

#include <string>

#include <arkit/export.h>

namespace arkit {

// From now on files of MappedFile are looked after; once, at the start of a program.
ARKIT_EXPORT void watch_mapped_files();

// What to say of the first mapped file that was found cut short; empty = all were whole. Results computed since then
// are made of zeros: whoever has some to show asks first. throw_if_interrupted() asks too.
[[nodiscard]] ARKIT_EXPORT std::string lost_file();
ARKIT_EXPORT void throw_if_file_lost();  // ErrorCode::input

// The kernel itself could not read the memory at `address` (EFAULT): throws as above when it belongs to a mapped file.
ARKIT_EXPORT void throw_if_mapped(const void* address);

// For tests.
ARKIT_EXPORT void forget_lost_file() noexcept;

}  // namespace arkit
