#pragma once
// What one run works out and the next one would work out again: a JSON file named by a hash of everything it follows
// from. Whatever is wrong with a file, it is not used.

#include <filesystem>
#include <functional>
#include <string>
#include <string_view>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>

namespace arkit::auto_scheme {

class ARKIT_INTERNAL KeptFile {
 public:
  // `what` is kept, in the plural ("scores"); `key` has 64 hexadecimal digits. Empty folder =
  // $XDG_CACHE_HOME/arkit/autoscheme, ~/.cache/arkit/autoscheme without that. Nothing is created yet.
  KeptFile(const std::filesystem::path& folder, std::string_view what, std::string key);

  // Takes the content apart; throws ErrorCode::input for content it cannot use.
  using Read = std::function<void(const json::Object& content)>;
  // Was there a file, and could `read` use it? A file that is damaged or of another key is warned about and ignored.
  [[nodiscard]] bool load(const Read& read, Reporter& reporter) const;

  // A folder that cannot be written to is only a warning.
  void store(const json::Object& content, Reporter& reporter) const;

  [[nodiscard]] const std::string& key() const noexcept { return key_; }
  [[nodiscard]] const std::filesystem::path& file() const noexcept { return file_; }  // empty = no place for one

 private:
  std::string what_, key_;
  std::filesystem::path file_;
};

}  // namespace arkit::auto_scheme
