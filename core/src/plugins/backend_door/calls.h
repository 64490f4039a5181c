#pragma once
// A backend's functions with their statuses turned into errors that name the plugin.

#include <array>
#include <string>
#include <string_view>

#include <arkit/backend_c.h>

#include "plugins/guard_call.h"

namespace arkit::backend_door {

// Where a backend puts words.
class Words {
 public:
  Words() noexcept {
    bytes_[0] = 0;
    text_ = {sizeof(ArkitText), bytes_.data(), bytes_.size(), 0};
  }
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;
  [[nodiscard]] ArkitText* to_fill() noexcept { return &text_; }
  [[nodiscard]] bool was_cut() const noexcept { return text_.length >= bytes_.size(); }
  // What was written, fit for a message; `otherwise` when that is nothing.
  [[nodiscard]] std::string said(std::string_view otherwise = "it gave no reason") const;

 private:
  std::array<char, 1000> bytes_;
  ArkitText text_;
};

// The backend's own table: as long as this arkit's, with null for what the backend does not have.
class Calls {
 public:
  // Opens the backend and checks its table; closes it at the end. Throws NamedError.
  Calls(const ArkitBackendManifest& manifest, plugins::OriginPtr origin);
  ~Calls();
  Calls(const Calls&) = delete;
  Calls& operator=(const Calls&) = delete;

  [[nodiscard]] const ArkitBackend& table() const noexcept { return table_; }
  [[nodiscard]] const plugins::Origin& origin() const noexcept { return *origin_; }
  [[nodiscard]] bool has_memory() const noexcept;
  [[nodiscard]] bool has_blocks() const noexcept { return table_.run_block != nullptr; }

  // function(ArkitText*) -> ArkitStatus is run as code of the plugin; `name` is "run()". An exception out of it breaks
  // the door's rules and is named as any other.
  template <typename Function>
  [[nodiscard]] ArkitStatus status_of(std::string_view name, Words& words, Function&& function) const {
    return plugins::call_plugin(*origin_, name, [&] { return function(words.to_fill()); });
  }
  template <typename Function>
  void call(std::string_view name, Function&& function) const {
    Words words;
    const ArkitStatus status = status_of(name, words, function);
    if (status != ARKIT_OK) fail(name, status, words);
  }
  [[noreturn]] void fail(std::string_view name, ArkitStatus status, const Words& words) const;
  // The backend broke a rule of the door: "gave no ...".
  [[noreturn]] void refuse(const std::string& what) const;

 private:
  plugins::OriginPtr origin_;
  ArkitBackend table_{};
};

}  // namespace arkit::backend_door
