#pragma once
// Where files are mapped, for the handler of arkit/lost_file.h.

#include <cstddef>
#include <string>

namespace arkit::io {

void add_mapped_range(const void* data, size_t size, const std::string& path);
void remove_mapped_range(const void* data);  // before it is unmapped

}  // namespace arkit::io
