#pragma once
// What the environment says about hubs (docs/HUB.md has the table): where they are, who asks, where files are kept.

#include <chrono>
#include <filesystem>
#include <string>
#include <string_view>

#include <arkit/export.h>

namespace arkit::hub {

enum class Service { hugging_face, modelscope };

// "hf", "modelscope", as --hub and records spell them.
[[nodiscard]] ARKIT_INTERNAL std::string_view service_name(Service service);

struct Settings {
  Service service = Service::hugging_face;
  std::string endpoint;  // "https://huggingface.co", without a slash at its end
  std::string token;     // printable ASCII; empty = none
  bool offline = false;  // no request is made
  std::filesystem::path cache;
  bool symlinks = true;                               // false: snapshots hold the files themselves
  std::filesystem::path authorities;                  // file or folder of trusted certificates; empty = the system's
  std::chrono::milliseconds connect_timeout{10'000};  // until a connection stands
  std::chrono::seconds stall_timeout{10};             // without a byte, after which a transfer counts as broken
  int parallel = 4;                                   // files downloaded at once
  int tries = 6;                                      // in a row without a new byte
  double first_wait = 1.0;                            // seconds before the second try; doubles
  double longest_wait = 600.0;                        // seconds that a hub's Retry-After is obeyed
};

// Throws ErrorCode::input for a variable that makes no sense (an endpoint that is no URL, a token with blanks in it, a
// certificate file that is not there).
[[nodiscard]] ARKIT_INTERNAL Settings settings_from_environment(Service service);

// AR_USE_MODELSCOPE: the hub of ids that do not name one.
[[nodiscard]] ARKIT_INTERNAL Service usual_service();

// HF_HUB_CACHE, else HUGGINGFACE_HUB_CACHE, else HF_HOME/hub, else XDG_CACHE_HOME/huggingface/hub, else
// ~/.cache/huggingface/hub.
[[nodiscard]] ARKIT_INTERNAL std::filesystem::path hugging_face_cache();

}  // namespace arkit::hub
