#include "util/data_file.h"

#include <algorithm>
#include <cstdlib>
#include <system_error>
#include <utility>

#include <boost/dll/runtime_symbol_info.hpp>

#include <arkit/error.h>
#include <arkit/sdk/toml_json.h>
#include <arkit/str.h>

namespace arkit {
namespace fs = std::filesystem;

json::Object parse_toml(std::string_view text, const std::string& what) {
  const json::Value parsed = sdk::toml_as_json(text, what);
  return json::as_object(parsed, what);
}

fs::path shared_data_folder(std::string_view name) {
  std::error_code failed;
  const fs::path library = boost::dll::this_line_location(failed);
  if (failed) return {};
  return fs::weakly_canonical(library, failed).parent_path().parent_path() / "share/arkit" / name;
}

fs::path user_data_folder(std::string_view name) {
  const auto absolute = [](const char* variable) {
    const char* value = ::secure_getenv(variable);
    const fs::path path = value == nullptr ? "" : value;
    return path.is_absolute() ? path : fs::path();
  };
  if (const fs::path data = absolute("XDG_DATA_HOME"); !data.empty()) return data / "arkit" / name;
  if (const fs::path home = absolute("HOME"); !home.empty()) return home / ".local/share/arkit" / name;
  return {};
}

std::vector<fs::path> toml_files(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (fs::directory_iterator it(folder, failed), end; !failed && it != end; it.increment(failed))
    if (it->path().extension() == ".toml") files.push_back(it->path());
  std::sort(files.begin(), files.end());
  return files;
}

void check_keys(const json::Object& object, std::initializer_list<std::string_view> known, const std::string& what) {
  const std::vector<std::string> names(known.begin(), known.end());
  for (const auto& member : object)
    if (std::find(names.begin(), names.end(), std::string_view(member.key())) == names.end()) {
      const std::string near = nearest(std::string(member.key()), names);
      throw_input(str(what, ": key '", printable(std::string(member.key())), "' is unknown",
                      near.empty() ? str("; known are ", quoted_list(names)) : str("; did you mean '", near, "'?")));
    }
}

std::string required_text(const json::Object& object, std::string_view key, const std::string& what) {
  auto text = json::get_string(object, key, what);
  if (!text || text->empty()) throw_input(str(what, ": '", key, "' is missing; a text is expected"));
  return *std::move(text);
}

std::vector<std::string> text_list(const json::Object& object, std::string_view key, const std::string& what) {
  const json::Value* value = json::find(object, key);
  if (value == nullptr) return {};
  const json::Array one{*value};
  std::vector<std::string> out;
  for (const json::Value& entry : value->is_array() ? value->get_array() : one) {
    if (!entry.is_string() || entry.get_string().empty())
      throw_input(str(what, ": '", key, "' holds ", printable(json::dump(entry)),
                      "; expected a text that is not empty, or a list of such"));
    out.emplace_back(entry.get_string());
  }
  if (out.empty()) throw_input(str(what, ": '", key, "' is an empty list; leave it out"));
  return out;
}

std::vector<int64_t> number_list(const json::Object& object, std::string_view key, const std::string& what) {
  std::vector<int64_t> out;
  const json::Value* value = json::find(object, key);
  if (value == nullptr) return out;
  for (const json::Value& entry : json::as_array(*value, str(what, ": '", key, "'"))) {
    if (!entry.is_int64())
      throw_input(str(what, ": '", key, "' holds ", json::dump(entry), "; a list of whole numbers is expected"));
    out.push_back(entry.get_int64());
  }
  if (out.empty()) throw_input(str(what, ": '", key, "' is an empty list and would fit nothing; leave it out"));
  return out;
}

}  // namespace arkit
