#include "hub/cached_hub.h"

#include "hub/settings.h"

namespace arkit::hub {

std::unique_ptr<Hub> open_cached_hub(Reporter& reporter) {
  Settings settings = settings_from_environment(usual_service());
  settings.offline = true;
  return open_hub(settings, reporter);
}

}  // namespace arkit::hub
