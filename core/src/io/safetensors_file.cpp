#include "io/safetensors_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/str.h>

namespace arkit::io {
namespace {

namespace fs = std::filesystem;

std::string_view dtype_name(at::ScalarType dtype) {
  switch (dtype) {
    case at::kBool:
      return "BOOL";
    case at::kByte:
      return "U8";
    case at::kChar:
      return "I8";
    case at::kShort:
      return "I16";
    case at::kInt:
      return "I32";
    case at::kLong:
      return "I64";
    case at::kHalf:
      return "F16";
    case at::kBFloat16:
      return "BF16";
    case at::kFloat:
      return "F32";
    case at::kDouble:
      return "F64";
    default:
      throw_unsupported(str("safetensors has no name for dtype ", c10::toString(dtype)));
  }
}

// A file under a partial name; removed again unless commit() renames it to its own.
class PartialFile {
 public:
  explicit PartialFile(const fs::path& target)
      : target_(target),
        partial_(target.string() + ".part"),
        fd_(::open(partial_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
    if (fd_ < 0) fail("cannot be created");
  }
  PartialFile(const PartialFile&) = delete;
  PartialFile& operator=(const PartialFile&) = delete;
  ~PartialFile() {
    if (fd_ >= 0) ::close(fd_);
    if (!committed_) ::unlink(partial_.c_str());
  }

  void write(const void* data, size_t bytes) {
    const char* at = static_cast<const char*>(data);
    while (bytes > 0) {
      const ssize_t count = ::write(fd_, at, bytes);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail("cannot be written");
      at += count;
      bytes -= static_cast<size_t>(count);
    }
  }

  void commit() {
    if (::fsync(fd_) != 0) fail("cannot be flushed to disk");
    if (::rename(partial_.c_str(), target_.c_str()) != 0) fail("cannot be renamed into place");
    committed_ = true;
  }

 private:
  [[noreturn]] void fail(std::string_view what) const {
    throw_resource(str("'", target_.string(), "' ", what, ": ", std::strerror(errno)));
  }

  fs::path target_, partial_;
  int fd_;
  bool committed_ = false;
};

}  // namespace

// Layout: u64 little-endian header length, JSON header padded with blanks to 8 bytes, tensors without gaps.
void write_safetensors(const fs::path& file, const TensorMap& tensors) {
  json::Object header;
  header["__metadata__"] = json::Object{{"format", "pt"}};
  std::vector<at::Tensor> data;
  int64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    data.push_back(tensor.contiguous());
    const int64_t end = checked_add(offset, static_cast<int64_t>(data.back().nbytes()), name);
    json::Array shape;
    for (const int64_t d : tensor.sizes()) shape.emplace_back(d);
    header[name] = json::Object{
        {"dtype", dtype_name(tensor.scalar_type())}, {"shape", shape}, {"data_offsets", json::Array{offset, end}}};
    offset = end;
  }
  std::string text = json::dump(header);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  unsigned char length[8];
  for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(static_cast<uint64_t>(text.size()) >> (8 * i));
  PartialFile out(file);
  out.write(length, sizeof length);
  out.write(text.data(), text.size());
  for (const at::Tensor& tensor : data) out.write(tensor.const_data_ptr(), tensor.nbytes());
  out.commit();
}

}  // namespace arkit::io
