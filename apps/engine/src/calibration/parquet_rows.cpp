#include "calibration/parquet_rows.h"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <exception>
#include <string_view>
#include <utility>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

#include "calibration/parquet_door.h"

namespace arkit::calibration {
namespace {

constexpr ArkitParquetLimits kLimits{
    .memory_bytes = int64_t{512} << 20, .row_bytes = int64_t{64} << 20, .range_bytes = int64_t{1} << 20, .depth = 32};

struct Door {
  const ArkitParquetDoor* functions = nullptr;
  std::string refusal;  // of the loader
};

// Never closed: Arrow may own threads.
const Door& door() {
  static const Door opened = [] {
    void* module = ::dlopen(parquet::kModule, RTLD_NOW | RTLD_LOCAL);
    if (module == nullptr) return Door{nullptr, ::dlerror()};
    const auto entry = reinterpret_cast<ArkitParquetEntry>(::dlsym(module, parquet::kEntry));
    if (entry == nullptr) return Door{nullptr, str("it has no ", parquet::kEntry)};
    return Door{entry(), {}};
  }();
  return opened;
}

class ParquetRows final : public RowReader {
 public:
  ParquetRows(std::unique_ptr<hub::RandomAccess> file, std::string what, const ChooseColumns& columns)
      : file_(std::move(file)), what_(std::move(what)), door_(*door().functions) {
    const ArkitParquetFile source{.self = this, .size = file_->size(), .read = read};
    reader_ = door_.open(&source, &kLimits, error_.data(), error_.size());
    if (reader_ == nullptr) fail("is no parquet file that can be read");
    try {
      select(columns);
    } catch (...) {
      door_.close(reader_);
      throw;
    }
  }
  ~ParquetRows() override { door_.close(reader_); }
  ParquetRows(const ParquetRows&) = delete;
  ParquetRows& operator=(const ParquetRows&) = delete;

  [[nodiscard]] std::optional<json::Value> next() override {
    const char* text = nullptr;
    int64_t length = 0;
    const int more = door_.next(reader_, &text, &length, error_.data(), error_.size());
    if (more < 0) fail(str("row ", row_ + 1, " cannot be read"));
    if (more == 0) return std::nullopt;
    return json::parse({text, static_cast<size_t>(length)}, str(what_, " row ", ++row_));
  }

 private:
  void select(const ChooseColumns& columns) {
    std::vector<std::string> names;
    for (int64_t i = 0; i < door_.num_columns(reader_); ++i) names.emplace_back(door_.column(reader_, i));
    const std::vector<std::string> wanted = columns(names);
    std::vector<int64_t> chosen;
    for (size_t i = 0; i < names.size(); ++i)
      if (wanted.empty() || std::find(wanted.begin(), wanted.end(), names[i]) != wanted.end())
        chosen.push_back(static_cast<int64_t>(i));
    if (door_.select(reader_, chosen.data(), static_cast<int64_t>(chosen.size()), error_.data(), error_.size()) != 0)
      fail("its columns cannot be read");
  }

  // What the file itself threw says more than what Arrow makes of it.
  [[noreturn]] void fail(std::string_view how) {
    if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
    throw_input(str(what_, ": ", how, " (", printable(error_.data(), 160), ")"));
  }

  static int read(void* self, int64_t offset, int64_t count, void* to) {
    auto& rows = *static_cast<ParquetRows*>(self);
    try {
      throw_if_interrupted();
      rows.file_->read(offset, count, to);
      return 0;
    } catch (...) {
      rows.thrown_ = std::current_exception();
      return 1;
    }
  }

  std::unique_ptr<hub::RandomAccess> file_;
  std::string what_;
  const ArkitParquetDoor& door_;
  ArkitParquetReader* reader_ = nullptr;
  std::array<char, 512> error_{};
  std::exception_ptr thrown_;
  int64_t row_ = 0;
};

}  // namespace

std::unique_ptr<RowReader> open_parquet_rows(std::unique_ptr<hub::RandomAccess> file, std::string what,
                                             const ChooseColumns& columns) {
  if (door().functions == nullptr)
    throw_unsupported(
        str(what, ": parquet is read by ", parquet::kModule, ", which this build lacks (", printable(door().refusal),
            "); './setup' brings Arrow's C++ libraries in pyarrow's wheel and builds it, or give a .jsonl"));
  return std::make_unique<ParquetRows>(std::move(file), std::move(what), columns);
}

}  // namespace arkit::calibration
