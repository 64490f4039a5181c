#pragma once
// What /metrics says, in Prometheus' text format.

#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "serve/engine_thread.h"
#include "serve/http_server.h"

namespace arkit::serve {

[[nodiscard]] std::string metrics_text(const EngineCounts& engine, const HttpCounts& connections,
                                       const std::map<std::pair<std::string, int>, int64_t>& answered);

}  // namespace arkit::serve
