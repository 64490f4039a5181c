#include "inference/backend_catalogue.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <system_error>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "util/data_file.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

constexpr int64_t kLargestFile = 256 * 1024;

std::string text(const json::Object& object, std::string_view key, const std::string& what) {
  return json::find(object, key) == nullptr ? std::string() : required_text(object, key, what);
}

KnownBackend::Runs read_runs(const json::Object& table, const std::string& what) {
  check_keys(table, {"data_type", "bits", "group_size", "sym", "act_bits", "act_dynamic", "score"}, what);
  const int64_t score = json::get_int(table, "score", what).value_or(0);
  if (score < 1 || score > std::numeric_limits<int>::max())
    throw_input(str(what, ": 'score' is ", score, "; expected 1 or more"));
  return {read_quant_filter(table, what), static_cast<int>(score)};
}

KnownBackend::StandsIn read_stands_in(const json::Object& table, const std::string& what) {
  check_keys(table, {"names", "why"}, what);
  KnownBackend::StandsIn stands_in{text_list(table, "names", what), required_text(table, "why", what)};
  if (stands_in.names.empty()) throw_input(str(what, ": 'names' is missing; a list of names is expected"));
  return stands_in;
}

std::vector<KnownBackend> read_installed() {
  std::vector<KnownBackend> all;
  for (const fs::path& file : toml_files(shared_data_folder("backends"))) {
    all.push_back(parse_backend(read_input_file(file, kLargestFile, "backend "), str("'", file.string(), "'")));
    if (all.back().name != file.stem().string())
      throw_input(str("'", file.string(), "': its name is '", printable(all.back().name), "', expected '",
                      file.stem().string(), "' as the file is called; install arkit again"));
  }
  return all;
}

// "0x10de\n" -> "10de"
std::string hexadecimal(const fs::path& file) {
  std::string word;
  std::ifstream(file) >> word;
  return word.starts_with("0x") ? word.substr(2) : word;
}

}  // namespace

KnownBackend parse_backend(std::string_view content, const std::string& what) {
  const json::Object object = parse_toml(content, what);
  check_keys(object, {"name", "title", "devices", "pci", "missing", "get", "enable", "full_size", "runs", "stands_in"},
             what);
  KnownBackend backend;
  backend.name = required_text(object, "name", what);
  backend.title = required_text(object, "title", what);
  backend.devices = text_list(object, "devices", what);
  if (backend.devices.empty()) throw_input(str(what, ": 'devices' is missing; a list of kinds is expected"));
  backend.pci = text_list(object, "pci", what);
  backend.missing = text(object, "missing", what);
  backend.get = text(object, "get", what);
  backend.enable = text(object, "enable", what);
  if (backend.missing.empty() == backend.get.empty())
    throw_input(str(what, ": expected either 'get', the step that brings the plugin, or 'missing', why there is none"));
  backend.full_size = json::get_bool(object, "full_size", what).value_or(false);
  each_table(object, "runs", what, [&](const json::Object& table, const std::string& where) {
    backend.runs.push_back(read_runs(table, where));
  });
  each_table(object, "stands_in", what, [&](const json::Object& table, const std::string& where) {
    backend.stands_in.push_back(read_stands_in(table, where));
  });
  return backend;
}

const std::vector<KnownBackend>& known_backends() {
  static const std::vector<KnownBackend> all = read_installed();
  return all;
}

const KnownBackend* find_backend(const std::vector<KnownBackend>& known, std::string_view name) {
  const auto found = std::find_if(known.begin(), known.end(), [&](const auto& one) { return one.name == name; });
  return found == known.end() ? nullptr : &*found;
}

int would_score(const KnownBackend& backend, const LayerQuant& quant) {
  int best = 0;
  for (const KnownBackend::Runs& runs : backend.runs)
    if (fits(static_cast<const QuantFilter&>(runs), quant)) best = std::max(best, runs.score);
  return best;
}

bool has_hardware(const std::vector<std::string>& pci, const fs::path& bus) {
  if (pci.empty()) return true;
  std::error_code failed;
  for (fs::directory_iterator it(bus, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string device = str(hexadecimal(it->path() / "vendor"), ":", hexadecimal(it->path() / "class"));
    if (std::any_of(pci.begin(), pci.end(), [&](const std::string& wanted) { return device.starts_with(wanted); }))
      return true;
  }
  return false;
}

}  // namespace arkit
