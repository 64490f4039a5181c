#include "hub/transfer.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "hub/content_hash.h"
#include "hub/disk.h"
#include "hub/file_lock.h"
#include "hub/repo_names.h"
#include "hub/retries.h"
#include "hub/stop.h"

namespace arkit::hub {
namespace fs = std::filesystem;
namespace {

constexpr int kMostDamaged = 2;  // complete files with another content, after which the hub is at fault

// What has arrived of a file.
class Incomplete {
 public:
  Incomplete(const fs::path& path, const RemoteFile& file, Voice& voice) : path_(path), file_(file), voice_(voice) {
    make_folder(path.parent_path());
    open();
    struct stat state {};
    if (::fstat(descriptor_, &state) != 0 || !S_ISREG(state.st_mode)) throw_disk(path, "opening", EINVAL);
    state.st_size > file.size ? restart() : take_over(state.st_size);
  }
  ~Incomplete() { ::close(descriptor_); }
  Incomplete(const Incomplete&) = delete;
  Incomplete& operator=(const Incomplete&) = delete;

  [[nodiscard]] const fs::path& path() const { return path_; }
  [[nodiscard]] int64_t size() const { return size_; }
  [[nodiscard]] bool complete() const { return size_ == file_.size; }
  [[nodiscard]] bool agrees() { return hash_->agrees(); }

  void append(std::string_view bytes) {
    hash_->update(bytes);
    for (std::string_view left = bytes; !left.empty();) {
      const ssize_t written = ::pwrite(descriptor_, left.data(), left.size(), size_);
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) throw_disk(path_, "writing", errno);
      left.remove_prefix(static_cast<size_t>(written));
      size_ += written;
    }
    voice_.received(static_cast<int64_t>(bytes.size()));
  }

  // False when somebody gave it its final name whom the lock should have kept out, on a file system without locks: it is
  // whole, and not this one's to change any more.
  [[nodiscard]] bool is_mine() const {
    struct stat mine {
    }, there{};
    return ::fstat(descriptor_, &mine) == 0 && ::stat(path_.c_str(), &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
  }

  void restart() {
    if (!is_mine()) {
      ::close(descriptor_);
      open();
    }
    if (::ftruncate(descriptor_, 0) != 0) throw_disk(path_, "emptying", errno);
    voice_.received(-size_);
    size_ = 0;
    hash_.emplace(file_);
  }

  void sync() {
    if (::fsync(descriptor_) != 0) throw_disk(path_, "syncing", errno);
  }

 private:
  void open() {
    descriptor_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (descriptor_ < 0) throw_disk(path_, "opening", errno);
  }

  // Of an earlier run.
  void take_over(int64_t bytes) {
    std::array<char, 1 << 16> piece;
    while (size_ < bytes) {
      stop_if_interrupted();
      const ssize_t count = ::pread(descriptor_, piece.data(), piece.size(), size_);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) throw_disk(path_, "reading", errno);
      hash_->update({piece.data(), static_cast<size_t>(count)});
      size_ += count;
    }
    voice_.found(size_);
  }

  fs::path path_;
  const RemoteFile& file_;
  Voice& voice_;
  std::optional<ContentHash> hash_{file_};
  int descriptor_ = -1;
  int64_t size_ = 0;
};

// "bytes 100-199/200": where an answer begins and how long the file is; -1 = not told.
struct ContentRange {
  int64_t begin = -1, total = -1;
};

int64_t number(std::string_view text) {
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size() && value >= 0 ? value : -1;
}

ContentRange content_range(std::string_view text) {
  const size_t blank = text.find(' '), dash = text.find('-'), slash = text.find('/');
  if (blank == std::string_view::npos || dash == std::string_view::npos || slash == std::string_view::npos) return {};
  if (dash < blank || slash < dash) return {};
  return {number(text.substr(blank + 1, dash - blank - 1)), number(text.substr(slash + 1))};
}

// The hub has, or gives, another file than it lists.
class OtherFile : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Looks at the headers of an answer: where do its bytes belong, and are they of the file that is listed?
void begin_answer(const Response& answer, const RemoteFile& file, Incomplete& incomplete) {
  const ContentRange range = content_range(answer.header("content-range"));
  const bool part = answer.status == 206;
  const int64_t told = part ? range.total : number(answer.header("content-length"));
  if (told >= 0 && told != file.size)
    throw OtherFile(str("sends a file of ", told, " bytes where it lists ", file.size));
  if (!part) {
    incomplete.restart();  // ranges are not known there
  } else if (range.begin != incomplete.size()) {
    throw OtherFile(str("sends bytes from ", range.begin, " on where it was asked for those from ", incomplete.size()));
  }
}

// One request for what is still missing.
void request_rest(TransferContext context, const Snapshot& snapshot, const RemoteFile& file, Incomplete& incomplete,
                  Retries& retries) {
  Request request{.url = context.protocol.file_url(snapshot, file.path), .begin = incomplete.size()};
  request.on_start = [&](const Response& answer) { begin_answer(answer, file, incomplete); };
  request.on_body = [&](std::string_view bytes) {
    if (static_cast<int64_t>(bytes.size()) > file.size - incomplete.size())
      throw OtherFile(str("sends more than the ", file.size, " bytes it lists"));
    incomplete.append(bytes);
    retries.progress(incomplete.size());
  };
  const Response response = context.pool.use([&](Http& http) { return http.get(request); });
  if (response.ok()) {
    if (!incomplete.complete())
      throw NetworkFault(
          str("'", origin_of(response.url), "': ended after ", incomplete.size(), " of ", file.size, " bytes"),
          NetworkFault::Kind::broken);
    return;
  }
  if (response.status == 416) throw OtherFile(str("has no bytes from ", incomplete.size(), " on"));
  if (!Retries::is_passing(response)) context.protocol.refuse(response, snapshot.repo, file.path);
  retries.after(response);
}

void fill(TransferContext context, const Snapshot& snapshot, const RemoteFile& file, Incomplete& incomplete) {
  require_room(incomplete.path().parent_path(), file.size - incomplete.size(), describe(snapshot.repo));
  const std::string what = str(describe(snapshot.repo), ": '", file.path, "'");
  Retries retries(context.settings, context.voice, what, context.pool.stop());
  for (int damaged = 0;;) {
    stop_if_interrupted();
    try {
      while (!incomplete.complete()) request_rest(context, snapshot, file, incomplete, retries);
      if (incomplete.agrees()) return;
      throw OtherFile(str("sends a content that does not have the hash it lists (", file.etag(), ")"));
    } catch (const NetworkFault& fault) {
      retries.after(fault);
    } catch (const OtherFile& wrong) {
      incomplete.restart();
      if (++damaged >= kMostDamaged)
        throw WrongFile(str(what, ": the hub ", wrong.what(),
                            "; nothing of it is kept, try again later or report it to ", context.settings.endpoint));
    }
  }
}

}  // namespace

bool has_size(const fs::path& path, int64_t size) {
  std::error_code error;
  const uintmax_t found = fs::file_size(path, error);  // of what a link leads to
  return !error && found == static_cast<uintmax_t>(size);
}

namespace {

bool has_content(const fs::path& path, const RemoteFile& file) {
  ContentHash hash(file);
  std::ifstream stream(path, std::ios::binary);
  std::vector<char> piece(size_t{1} << 20);
  while (stream.read(piece.data(), static_cast<std::streamsize>(piece.size())) || stream.gcount() > 0) {
    stop_if_interrupted();
    hash.update({piece.data(), static_cast<size_t>(stream.gcount())});
  }
  return stream.eof() && hash.agrees();
}

// Where it is there, or its content is.
std::optional<fs::path> whole(TransferContext context, const Snapshot& snapshot, const RemoteFile& file,
                              const Cache::Place& place) {
  auto there = context.cache.find(snapshot, file.path);
  if (there && has_size(*there, file.size) && (!context.cache.mixes_commits() || has_content(*there, file)))
    return there;
  if (place.blob.empty() || !has_size(place.blob, file.size)) return std::nullopt;
  return context.cache.publish(snapshot, file, place, false);
}

}  // namespace

fs::path transfer(TransferContext context, const Snapshot& snapshot, const RemoteFile& file) {
  const Cache::Place place = context.cache.place(snapshot, file);
  const FileLock lock(place.lock, context.pool.stop(), [&] {
    context.voice.info(
        str(describe(snapshot.repo), ": another process is downloading '", file.path, "'; waiting for it"));
  });
  if (auto there = whole(context, snapshot, file, place)) {
    context.voice.found(file.size);
    return *std::move(there);
  }
  Incomplete incomplete(place.incomplete, file, context.voice);
  fill(context, snapshot, file, incomplete);
  incomplete.sync();
  if (!incomplete.is_mine())
    if (auto there = whole(context, snapshot, file, place)) return *std::move(there);
  return context.cache.publish(snapshot, file, place, true);
}

void transfer_into(TransferContext context, const Snapshot& snapshot, const RemoteFile& file, const fs::path& to) {
  Incomplete incomplete(to, file, context.voice);
  fill(context, snapshot, file, incomplete);
}

}  // namespace arkit::hub
