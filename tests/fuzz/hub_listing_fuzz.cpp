// A hub's list of files as bytes: what is accepted has names inside the repository, and says the same after it was kept.

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include <arkit/error.h>

#include "fuzz_file.h"
#include "hub/listing.h"
#include "hub/model_files.h"
#include "hub/repo_names.h"

namespace {

bool same(const arkit::hub::RemoteFile& a, const arkit::hub::RemoteFile& b) {
  return a.path == b.path && a.size == b.size && a.blob == b.blob && a.sha256 == b.sha256 && a.xet == b.xet;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace arkit;
  try {
    hub::Listing listing;
    (void)hub::add_page({reinterpret_cast<const char*>(data), size}, "'fuzz'", listing);
    listing = hub::checked(std::move(listing), "'fuzz'");
    std::vector<hub::Entry> entries;
    for (const hub::RemoteFile& file : listing) {
      if (!hub::is_repo_path(file.path) || file.size < 0 || file.etag().find('/') != std::string::npos) std::abort();
      entries.push_back({file.path, file.size});
    }
    (void)hub::model_texts(entries);
    const fuzz::File kept("listing.json", "");
    hub::write_listing(kept.path(), listing);
    const auto read = hub::read_listing(kept.path());
    if (!read || !std::equal(read->begin(), read->end(), listing.begin(), listing.end(), same)) std::abort();
    (void)hub::model_weights(entries, "/nonexistent", "'fuzz'");
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
