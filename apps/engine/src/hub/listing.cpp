#include "hub/listing.h"

#include <algorithm>
#include <system_error>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

#include "hub/disk.h"
#include "hub/repo_names.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int64_t kVersion = 1;

[[noreturn]] void refuse(std::string_view what, const std::string& why) {
  throw_input(str(what, ": the hub lists ", why, "; nothing of it is downloaded"));
}

void check(const RemoteFile& file, std::string_view what) {
  if (!is_repo_path(file.path))
    refuse(what, str("a file called '", printable(file.path), "', which is no name inside a repository"));
  if (file.size < 0) refuse(what, str("'", file.path, "' with ", file.size, " bytes"));
  const bool hashes = (file.blob.empty() || is_hex(file.blob, 40)) && (file.sha256.empty() || is_hex(file.sha256, 64));
  if (!hashes) refuse(what, str("'", file.path, "' with a hash that is none"));
}

std::string text_of(const json::Object& object, std::string_view key, std::string_view what) {
  return json::get_string(object, key, what).value_or("");
}

void add_entry(const json::Object& entry, const std::string& what, Listing& listing) {
  if (text_of(entry, "type", what) != "file") return;
  RemoteFile file;
  file.path = text_of(entry, "path", what);
  file.size = json::get_int(entry, "size", what).value_or(-1);
  file.blob = text_of(entry, "oid", what);
  file.xet = text_of(entry, "xetHash", what);
  if (const json::Value* lfs = json::find(entry, "lfs")) {
    const json::Object& large = json::as_object(*lfs, what);
    file.sha256 = text_of(large, "oid", what);
    file.size = json::get_int(large, "size", what).value_or(file.size);
  }
  if (file.etag().empty())
    throw_input(str(what, ": the hub lists '", printable(file.path), "' without a hash; it cannot be checked"));
  listing.push_back(std::move(file));
}

RemoteFile file_of(std::string_view path, const json::Object& entry) {
  constexpr std::string_view kWhat = "listing";
  RemoteFile file;
  file.path = path;
  file.size = json::get_int(entry, "size", kWhat).value_or(-1);
  file.blob = json::get_string(entry, "blob_id", kWhat).value_or("");
  file.sha256 = json::get_string(entry, "lfs_sha256", kWhat).value_or("");
  file.xet = json::get_string(entry, "xet_hash", kWhat).value_or("");
  if (!file.sha256.empty()) file.size = json::get_int(entry, "lfs_size", kWhat).value_or(file.size);
  return file;
}

}  // namespace

Listing checked(Listing listing, std::string_view what) {
  for (RemoteFile& file : listing) {
    check(file, what);
    if (!is_hex(file.xet, 64)) file.xet.clear();
  }
  const auto by_path = [](const RemoteFile& a, const RemoteFile& b) { return a.path < b.path; };
  std::sort(listing.begin(), listing.end(), by_path);
  for (size_t i = 1; i < listing.size(); ++i)
    if (listing[i].path == listing[i - 1].path) refuse(what, str("'", listing[i].path, "' twice"));
  for (const RemoteFile& file : listing)
    for (size_t slash = file.path.find('/'); slash != std::string::npos; slash = file.path.find('/', slash + 1))
      if (find_file(listing, file.path.substr(0, slash)) != nullptr)
        refuse(what, str("'", file.path.substr(0, slash), "' as a file and as a folder"));
  return listing;
}

const RemoteFile* find_file(const Listing& listing, std::string_view path) {
  const auto found =
      std::lower_bound(listing.begin(), listing.end(), path,
                       [](const RemoteFile& file, std::string_view wanted) { return file.path < wanted; });
  return found != listing.end() && found->path == path ? &*found : nullptr;
}

std::vector<Entry> entries_of(const Listing& listing) {
  std::vector<Entry> entries;
  for (const RemoteFile& file : listing) entries.push_back({file.path, file.size, file.sha256});
  return entries;
}

size_t add_page(std::string_view text, const std::string& what, Listing& listing) {
  const std::string whole = str(what, ": the hub's list of files");
  const json::Value page = json::parse(text, whole);
  const json::Array& entries = json::as_array(page, whole);
  for (const json::Value& entry : entries) add_entry(json::as_object(entry, what), what, listing);
  return entries.size();
}

std::optional<Listing> read_listing(const fs::path& file) {
  std::error_code error;
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  try {
    const json::Value content = json::read_file(file);
    const json::Object& top = json::as_object(content, "listing");
    if (json::get_int(top, "format_version", "listing") != kVersion) return std::nullopt;
    const json::Value* files = json::find(top, "files");
    if (files == nullptr) return std::nullopt;
    Listing listing;
    for (const auto& [path, entry] : json::as_object(*files, "listing"))
      listing.push_back(file_of(path, json::as_object(entry, "listing")));
    return checked(std::move(listing), "listing");
  } catch (const Error&) {
    return std::nullopt;  // the hub is asked again
  }
}

void write_listing(const fs::path& file, const Listing& listing) {
  json::Object files;
  for (const RemoteFile& one : listing) {
    json::Object entry{{"size", one.size}, {"blob_id", one.blob}};
    if (!one.sha256.empty()) {
      entry["lfs_sha256"] = one.sha256;
      entry["lfs_size"] = one.size;
    }
    if (!one.xet.empty()) entry["xet_hash"] = one.xet;
    files[one.path] = std::move(entry);
  }
  write_small(file, json::dump(json::Object{{"format_version", kVersion}, {"files", std::move(files)}}, 1));
}

}  // namespace arkit::hub
