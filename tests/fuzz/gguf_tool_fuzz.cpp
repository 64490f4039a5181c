// The length of a second part, 4 bytes, then a GGUF file, or two parts of a model: shown, changed, cut, joined and read
// again. What is written has the tensors of what was read, and no more bytes than honest padding takes.

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <arkit/error.h>
#include <arkit/json.h>

#include "fuzz_file.h"
#include "gguf_parts.h"
#include "gguf_tool.h"

namespace {

namespace fs = std::filesystem;
using namespace arkit;

constexpr uintmax_t kSparePadding = uintmax_t{32} << 20;

// Null = refused, as bad files are; a fault of our own ends the process.
template <typename F>
auto attempt(const F& work) -> std::optional<decltype(work())> {
  try {
    return work();
  } catch (const Error& error) {
    if (error.code() == ErrorCode::internal) std::abort();
    return std::nullopt;
  }
}

void require_same_tensors(const fs::path& one, const fs::path& other) {
  const gguf::Parts a(one), b(other);
  if (a.file.tensors.size() != b.file.tensors.size()) std::abort();
  for (size_t i = 0; i < a.file.tensors.size(); ++i) {
    const gguf::TensorEntry &x = a.file.tensors[i], &y = b.file.tensors[i];
    const std::byte *from = a.maps[0]->bytes().data() + x.offset, *to = b.maps[0]->bytes().data() + y.offset;
    if (x.name != y.name || x.type != y.type || x.shape != y.shape || x.bytes != y.bytes ||
        std::memcmp(from, to, static_cast<size_t>(x.bytes)) != 0)
      std::abort();
  }
}

fs::path beside(const fs::path& file, const char* name) {
  fs::path path = file.parent_path() / name;
  fs::remove(path);
  return path;
}

void use_whole(std::string_view bytes) {
  const fuzz::File file("m.gguf", bytes);
  for (const bool whole : {false, true})
    if (const auto shown = attempt([&] { return gguf::show_file(file.path(), {.filter = {}, .whole = whole}); }))
      (void)json::parse(json::dump(*shown), "'shown'");
  const fs::path changed = beside(file.path(), "changed.gguf"), joined = beside(file.path(), "joined.gguf");
  for (const bool force : {false, true})
    (void)attempt([&] {
      return gguf::set_metadata(
          file.path(), {.output = changed, .set = {"general.description=string:of it"}, .remove = {}, .force = force});
    });
  if (fs::exists(changed)) require_same_tensors(file.path(), changed);
  const auto split = attempt([&] {
    return gguf::split_file(file.path(),
                            {.output = file.path().parent_path() / "cut", .max_bytes = {}, .max_tensors = 1});
  });
  if (!split) return;
  const json::Array& parts = split->at("files").as_array();
  (void)gguf::merge_file(std::string(parts.at(0).as_string()), {.output = joined});  // what was cut can be joined
  require_same_tensors(file.path(), joined);
  for (const json::Value& part : parts) fs::remove(std::string(part.as_string()));
}

void use_parts(std::string_view first, std::string_view second) {
  const fuzz::File one("m-00001-of-00002.gguf", first), two("m-00002-of-00002.gguf", second);
  for (const fs::path& part : {one.path(), two.path()}) {
    const fs::path joined = beside(part, "joined.gguf");
    if (!attempt([&] { return gguf::merge_file(part, {.output = joined}); })) continue;
    (void)gguf::Parts(joined);
    if (fs::file_size(joined) > 2 * (first.size() + second.size()) + kSparePadding) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  uint32_t second = 0;
  if (size < sizeof(second)) return 0;
  std::memcpy(&second, data, sizeof(second));
  const std::string_view bytes(reinterpret_cast<const char*>(data) + sizeof(second), size - sizeof(second));
  if (second == 0 || second > bytes.size())
    use_whole(bytes);
  else
    use_parts(bytes.substr(0, bytes.size() - second), bytes.substr(bytes.size() - second));
  return 0;
}
