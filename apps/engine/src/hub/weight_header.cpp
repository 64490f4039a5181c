#include "hub/weight_header.h"

#include <algorithm>
#include <cstring>

namespace arkit::hub {
namespace {

constexpr int64_t kLength = 8;                   // bytes of a header's length, little-endian
constexpr int64_t kLargestHeader = 100'000'000;  // more is refused by whoever reads the file
constexpr int64_t kPointer = 64;                 // what is no safetensors file is known by these

}  // namespace

std::string weight_header(RandomAccess& file, int64_t first, const std::function<void(int64_t)>& before_reading) {
  std::string head(static_cast<size_t>(std::min(first, file.size())), '\0');
  file.read(0, static_cast<int64_t>(head.size()), head.data());
  const int64_t left = std::max<int64_t>(0, file.size() - kLength);
  uint64_t length = 0;
  if (head.size() >= sizeof(length)) std::memcpy(&length, head.data(), sizeof(length));
  const bool plausible = length <= static_cast<uint64_t>(std::min(kLargestHeader, left));
  const int64_t wanted = plausible ? static_cast<int64_t>(length) : std::min(kPointer, left);
  if (before_reading) before_reading(wanted);
  const size_t all = static_cast<size_t>(std::min(kLength, file.size()) + wanted), had = std::min(head.size(), all);
  head.resize(all);
  if (all > had) file.read(static_cast<int64_t>(had), static_cast<int64_t>(all - had), head.data() + had);
  return head;
}

}  // namespace arkit::hub
