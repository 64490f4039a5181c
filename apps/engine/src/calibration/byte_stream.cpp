#include "calibration/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/log.h>
#include <arkit/str.h>

namespace arkit::calibration {
namespace {

constexpr size_t kFirstRange = size_t{64} << 10, kLargestRange = size_t{4} << 20;
constexpr size_t kMaxLineBytes = size_t{64} << 20;
constexpr size_t kPiece = size_t{256} << 10;

class Plain final : public ByteStream {
 public:
  explicit Plain(std::unique_ptr<hub::RandomAccess> file) : file_(std::move(file)) {}

  [[nodiscard]] size_t read(char* to, size_t count) override {
    if (at_ == buffer_.size() && !fill()) return 0;
    const size_t taken = std::min(count, buffer_.size() - at_);
    std::memcpy(to, buffer_.data() + at_, taken);
    at_ += taken;
    return taken;
  }

  // The first bytes, which stay.
  [[nodiscard]] std::string_view start() {
    if (buffer_.empty()) (void)fill();
    return {buffer_.data(), std::min<size_t>(buffer_.size(), 64)};
  }

 private:
  bool fill() {
    throw_if_interrupted();
    const int64_t left = file_->size() - offset_;
    if (left <= 0) return false;
    buffer_.resize(static_cast<size_t>(std::min(left, static_cast<int64_t>(range_))));
    file_->read(offset_, static_cast<int64_t>(buffer_.size()), buffer_.data());
    offset_ += static_cast<int64_t>(buffer_.size());
    at_ = 0;
    range_ = std::min(2 * range_, kLargestRange);
    return true;
  }

  std::unique_ptr<hub::RandomAccess> file_;
  std::vector<char> buffer_;
  size_t at_ = 0, range_ = kFirstRange;
  int64_t offset_ = 0;
};

// Compressed bytes come in pieces; `decode` turns what is there into bytes at `to` and returns how many.
class Decoder : public ByteStream {
 public:
  Decoder(std::unique_ptr<ByteStream> in, std::string what) : in_(std::move(in)), what_(std::move(what)) {}

 protected:
  // False at the end of the file.
  bool refill() {
    piece_.resize(kPiece);
    piece_.resize(in_->read(piece_.data(), piece_.size()));
    return !piece_.empty();
  }
  [[noreturn]] void damaged(std::string_view kind, std::string_view why) const {
    throw_input(str(what_, ": its ", kind, " data are damaged (", printable(why), "); fetch it again"));
  }
  [[noreturn]] void cut(std::string_view kind) const {
    throw_input(str(what_, ": its ", kind, " data end too early; fetch it again"));
  }

  std::vector<char> piece_;

 private:
  std::unique_ptr<ByteStream> in_;
  std::string what_;
};

class Gzip final : public Decoder {
 public:
  Gzip(std::unique_ptr<ByteStream> in, std::string what) : Decoder(std::move(in), std::move(what)) {
    ARKIT_CHECK(inflateInit2(&state_, 15 + 16) == Z_OK, "zlib starts");
  }
  ~Gzip() override { inflateEnd(&state_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  [[nodiscard]] size_t read(char* to, size_t count) override {
    state_.next_out = reinterpret_cast<Bytef*>(to);
    state_.avail_out = static_cast<uInt>(std::min(count, kPiece));
    const uInt wanted = state_.avail_out;
    while (state_.avail_out == wanted) {
      if (state_.avail_in == 0) {
        if (!refill()) {
          if (!between_) cut("gzip");
          return 0;
        }
        state_.next_in = reinterpret_cast<Bytef*>(piece_.data());
        state_.avail_in = static_cast<uInt>(piece_.size());
      }
      between_ = false;
      const int result = inflate(&state_, Z_NO_FLUSH);
      if (result == Z_STREAM_END) {  // another member may follow
        between_ = true;
        ARKIT_CHECK(inflateReset(&state_) == Z_OK, "zlib starts again");
      } else if (result != Z_OK && result != Z_BUF_ERROR) {
        damaged("gzip", state_.msg == nullptr ? "zlib refuses it" : state_.msg);
      }
    }
    return wanted - state_.avail_out;
  }

 private:
  z_stream state_{};
  bool between_ = false;
};

class Zstd final : public Decoder {
 public:
  Zstd(std::unique_ptr<ByteStream> in, std::string what)
      : Decoder(std::move(in), std::move(what)), state_(ZSTD_createDStream(), ZSTD_freeDStream) {
    ARKIT_CHECK(state_ != nullptr, "zstd starts");  // its window is at most 2^27 bytes unless told otherwise
  }

  [[nodiscard]] size_t read(char* to, size_t count) override {
    ZSTD_outBuffer out{to, count, 0};
    while (out.pos == 0) {
      if (input_.pos == input_.size && !pending_) {
        if (!refill()) {
          if (!between_) cut("zstd");
          return 0;
        }
        input_ = {piece_.data(), piece_.size(), 0};
      }
      const size_t result = ZSTD_decompressStream(state_.get(), &out, &input_);
      if (ZSTD_isError(result) != 0) damaged("zstd", ZSTD_getErrorName(result));
      between_ = result == 0;
      pending_ = out.pos == out.size && !between_;  // decoded bytes may wait for room
      if (out.pos == 0 && input_.pos == input_.size) pending_ = false;
    }
    return out.pos;
  }

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> state_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  bool between_ = false, pending_ = false;
};

bool blank(std::string_view line) {
  return line.find_first_not_of(" \t\r") == std::string_view::npos;
}

}  // namespace

ByteStream::~ByteStream() = default;

std::unique_ptr<ByteStream> open_stream(std::unique_ptr<hub::RandomAccess> file, std::string what) {
  auto plain = std::make_unique<Plain>(std::move(file));
  const std::string_view start = plain->start();
  refuse_lfs_pointer(start, what);
  if (start.starts_with("\x1f\x8b")) return std::make_unique<Gzip>(std::move(plain), std::move(what));
  if (start.starts_with("\x28\xb5\x2f\xfd")) return std::make_unique<Zstd>(std::move(plain), std::move(what));
  return plain;
}

std::string read_all(ByteStream& stream, size_t max_bytes, const std::string& what) {
  std::string text;
  std::vector<char> piece(kPiece);
  while (const size_t got = stream.read(piece.data(), piece.size())) {
    throw_if_interrupted();
    if (got > max_bytes - text.size())
      throw_input(str(what, ": has more than ", max_bytes >> 20, " MiB of text, the most arkit takes at once"));
    text.append(piece.data(), got);
  }
  return text;
}

LineReader::LineReader(std::unique_ptr<ByteStream> stream, std::string what)
    : stream_(std::move(stream)), what_(std::move(what)) {}

bool LineReader::fill() {
  if (ended_) return false;
  buffer_.erase(0, std::exchange(begin_, 0));
  const size_t before = buffer_.size();
  buffer_.resize(before + kPiece);
  const size_t got = stream_->read(buffer_.data() + before, kPiece);
  buffer_.resize(before + got);
  ended_ = got == 0;
  return !ended_;
}

std::optional<std::string> LineReader::next() {
  size_t skipped = 0;
  while (true) {
    throw_if_interrupted();
    size_t searched = begin_, end = std::string::npos;
    while ((end = buffer_.find('\n', searched)) == std::string::npos) {
      if (buffer_.size() - begin_ > kMaxLineBytes)
        throw_input(str(what_, ": line ", number_ + 1, " has more than ", kMaxLineBytes >> 20, " MiB"));
      searched = buffer_.size() - begin_;
      if (!fill()) break;
    }
    if (end == std::string::npos && begin_ == buffer_.size()) return std::nullopt;
    const size_t stop = std::min(end, buffer_.size());
    std::string line = buffer_.substr(begin_, stop - begin_);
    begin_ = std::min(stop + 1, buffer_.size());
    ++number_;
    if (number_ == 1) line = std::string(without_byte_order_mark(line));
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!blank(line)) return line;
    skipped += line.size() + 1;
    if (skipped > kMaxLineBytes)
      throw_input(str(what_, ": ", kMaxLineBytes >> 20, " MiB of blank lines end at line ", number_));
  }
}

}  // namespace arkit::calibration
