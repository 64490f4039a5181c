#include "hub/settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <system_error>

#include <pwd.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kBlanks = " \t\r\n";

std::string trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(kBlanks);
  if (begin == std::string_view::npos) return {};
  return std::string(text.substr(begin, text.find_last_not_of(kBlanks) - begin + 1));
}

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string() : trimmed(value);
}

bool is_true(const char* name) {
  const std::string value = lower(variable(name));
  return value == "1" || value == "true" || value == "yes" || value == "on";
}

// As huggingface_hub finds it.
fs::path home() {
  if (const std::string home = variable("HOME"); !home.empty()) return home;
  std::array<char, 4096> text{};
  struct passwd entry {
  }, *found = nullptr;
  if (::getpwuid_r(::geteuid(), &entry, text.data(), text.size(), &found) == 0 && found != nullptr &&
      found->pw_dir != nullptr && found->pw_dir[0] == '/')
    return found->pw_dir;
  throw_input(
      "HOME is not set, so that there is no usual place for what comes from hubs; set HF_HOME or HF_HUB_CACHE "
      "(MODELSCOPE_CACHE)");
}

// "~/models" as a shell would read it.
fs::path expanded(const std::string& path) {
  if (path == "~") return home();
  return path.starts_with("~/") ? home() / path.substr(2) : fs::path(path);
}

fs::path hugging_face_home() {
  if (const std::string folder = variable("HF_HOME"); !folder.empty()) return expanded(folder);
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty()) return expanded(cache) / "huggingface";
  return home() / ".cache/huggingface";
}

// A token goes into a header line: anything that could end the line or begin another is refused.
std::string checked_token(std::string token, std::string_view where) {
  if (!std::all_of(token.begin(), token.end(), [](char c) { return c > ' ' && c < 0x7f; }))
    throw_input(str(where,
                    ": holds something that is no token (blanks or characters beyond ASCII); put the token "
                    "alone into it"));
  return token;
}

std::string token_of_file(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return {};
  std::ifstream in(file);
  std::string text(4096, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<size_t>(in.gcount()));
  return checked_token(trimmed(text), str("'", file.string(), "'"));
}

std::string hugging_face_token() {
  if (is_true("HF_HUB_DISABLE_IMPLICIT_TOKEN")) return {};
  for (const char* name : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
    if (std::string token = variable(name); !token.empty()) return checked_token(std::move(token), name);
  const std::string file = variable("HF_TOKEN_PATH");
  return token_of_file(file.empty() ? hugging_face_home() / "token" : expanded(file));
}

std::string checked_endpoint(std::string url, const char* name) {
  while (url.ends_with('/')) url.pop_back();
  const bool has_scheme = url.starts_with("https://") || url.starts_with("http://");
  const bool plain = std::all_of(url.begin(), url.end(), [](char c) { return c > ' ' && c < 0x7f; });
  if (!has_scheme || !plain || url.find_first_of("?#@") != std::string::npos)
    throw_input(str(name, ": '", printable(url), "' is no endpoint; expected a URL such as 'https://huggingface.co'"));
  return url;
}

// The certificates that other programs are told to trust are ours as well. An empty value does not mean "trust all".
fs::path trusted_authorities() {
  for (const char* name : {"CURL_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"}) {
    const std::string path = variable(name);
    if (path.empty()) continue;
    std::error_code error;
    if (!fs::exists(path, error))
      throw_input(str(name, ": '", printable(path), "' is not there; name a file of trusted certificates or unset it"));
    return path;
  }
  return {};
}

std::chrono::seconds seconds_of(const char* name, std::chrono::seconds usual) {
  const std::string text = variable(name);
  if (text.empty()) return usual;
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 1)
    throw_input(str(name, ": '", printable(text), "' is no number of seconds; expected a whole number from 1 on"));
  return std::chrono::seconds(value);
}

void set_hugging_face(Settings& settings) {
  const std::string endpoint = variable("HF_ENDPOINT");
  settings.endpoint = endpoint.empty() ? "https://huggingface.co" : checked_endpoint(endpoint, "HF_ENDPOINT");
  settings.token = hugging_face_token();
  settings.cache = hugging_face_cache();
  settings.symlinks = !is_true("HF_HUB_DISABLE_SYMLINKS");
}

void set_modelscope(Settings& settings) {
  std::string endpoint = variable("MODELSCOPE_ENDPOINT");
  if (endpoint.empty()) endpoint = variable("MODELSCOPE_DOMAIN");
  if (endpoint.empty()) endpoint = "modelscope.cn";
  if (endpoint.find("://") == std::string::npos) endpoint = "https://" + endpoint;
  settings.endpoint = checked_endpoint(endpoint, "MODELSCOPE_ENDPOINT");
  settings.token = checked_token(variable("MODELSCOPE_API_TOKEN"), "MODELSCOPE_API_TOKEN");
  const std::string cache = variable("MODELSCOPE_CACHE");
  settings.cache = cache.empty() ? home() / ".cache/modelscope" : expanded(cache);
  settings.symlinks = false;
}

}  // namespace

std::string_view service_name(Service service) {
  return service == Service::modelscope ? "modelscope" : "hf";
}

Service usual_service() {
  return is_true("AR_USE_MODELSCOPE") ? Service::modelscope : Service::hugging_face;
}

fs::path hugging_face_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string folder = variable(name); !folder.empty()) return expanded(folder);
  return hugging_face_home() / "hub";
}

Settings settings_from_environment(Service service) {
  Settings settings;
  settings.service = service;
  settings.offline = is_true("HF_HUB_OFFLINE") || is_true("TRANSFORMERS_OFFLINE");
  settings.authorities = trusted_authorities();
  settings.connect_timeout = seconds_of("HF_HUB_ETAG_TIMEOUT", std::chrono::seconds(10));
  settings.stall_timeout = seconds_of("HF_HUB_DOWNLOAD_TIMEOUT", std::chrono::seconds(10));
  service == Service::modelscope ? set_modelscope(settings) : set_hugging_face(settings);
  return settings;
}

}  // namespace arkit::hub
