#pragma once
// The files of a repository at one commit, as a hub lists them. A commit does not change, so neither does its listing:
// it is kept in the cache, in the form of huggingface_hub.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>

#include "hub/hub.h"

namespace arkit::hub {

struct RemoteFile {
  std::string path;
  int64_t size = 0;
  std::string blob;    // 40 hexadecimal digits: Git's SHA-1 of the content, or of the pointer of a large file; or empty
  std::string sha256;  // of the content, 64 digits, where the hub tells it: large files (LFS)
  std::string xet;     // kept for huggingface_hub, 64 digits or empty

  bool operator==(const RemoteFile&) const = default;
  // What its blob is called: the hash that its content has.
  [[nodiscard]] const std::string& etag() const { return sha256.empty() ? blob : sha256; }
};

// Sorted by path; paths obey is_repo_path().
using Listing = std::vector<RemoteFile>;

// Sorts, and refuses what no honest hub says: bad paths, sizes below zero, hashes that are none, a path twice, one that
// is a file and a folder. `what` opens messages. Throws ErrorCode::input.
[[nodiscard]] ARKIT_INTERNAL Listing checked(Listing listing, std::string_view what);

[[nodiscard]] ARKIT_INTERNAL const RemoteFile* find_file(const Listing& listing, std::string_view path);

[[nodiscard]] std::vector<Entry> entries_of(const Listing& listing);

// A page of a Hugging Face hub's answer to "which files?", added to `listing`, which is not yet checked(). Returns how
// many entries it has, folders included. Throws ErrorCode::input.
ARKIT_INTERNAL size_t add_page(std::string_view text, const std::string& what, Listing& listing);

// "<folder>/trees/<commit>.json". A file that is damaged or from elsewhere counts as absent.
[[nodiscard]] ARKIT_INTERNAL std::optional<Listing> read_listing(const std::filesystem::path& file);
ARKIT_INTERNAL void write_listing(const std::filesystem::path& file, const Listing& listing);

}  // namespace arkit::hub
