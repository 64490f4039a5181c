#include <arkit/sdk/group.h>

#include <arkit/error.h>

namespace arkit::sdk {

GroupShape group_shape(int64_t out_features, int64_t in_features, int64_t group_size) {
  ARKIT_CHECK(group_size == -1 || group_size > 0, "row-wise groups need group_size -1 or > 0");
  const int64_t group = group_size == -1 || group_size > in_features ? in_features : group_size;
  return {group, (in_features + group - 1) / group, out_features, in_features};
}

}  // namespace arkit::sdk
