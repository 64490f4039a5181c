#pragma once
// The user's wish to stop, for downloads.

#include <arkit/error.h>
#include <arkit/log.h>

namespace arkit::hub {

// throw_if_interrupted(), where what has arrived stays.
inline void stop_if_interrupted() {
  if (interrupted())
    throw Error(ErrorCode::interrupted, "interrupted; what was downloaded is kept, and the same command goes on there");
}

}  // namespace arkit::hub
