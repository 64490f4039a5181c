// libarkit_parquet.so: rows of a parquet file as JSON, through Arrow's C++ libraries. Sees neither LibTorch nor arkit
// but for the door. Files are hostile: every allocation goes through a capped pool, schema depth, thrift sizes and rows
// have limits, and whatever is thrown becomes a sentence.

#include <algorithm>
#include <cstring>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/result.h>
#include <arrow/type.h>
#include <arrow/util/utf8.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include "calibration/parquet_door.h"
#include "calibration/parquet_json.h"

namespace arkit::parquet {
namespace {

constexpr int64_t kBatchRows = 64;  // decoded at once
constexpr int32_t kMaxThriftText = 16 << 20, kMaxThriftItems = 1'000'000;

// The caller's file as Arrow wants it.
class File final : public arrow::io::RandomAccessFile {
 public:
  File(const ArkitParquetFile& file, arrow::MemoryPool* pool) : file_(file), pool_(pool) {}

  arrow::Status Close() override {
    closed_ = true;
    return arrow::Status::OK();
  }
  [[nodiscard]] bool closed() const override { return closed_; }
  [[nodiscard]] arrow::Result<int64_t> Tell() const override { return at_; }
  arrow::Status Seek(int64_t position) override {
    if (position < 0) return arrow::Status::Invalid("a negative position");
    at_ = position;
    return arrow::Status::OK();
  }
  arrow::Result<int64_t> GetSize() override { return file_.size; }

  arrow::Result<int64_t> ReadAt(int64_t position, int64_t count, void* to) override {
    if (position < 0 || count < 0 || position > file_.size)
      return arrow::Status::IOError("a range outside the file is asked for");
    const int64_t inside = std::min(count, file_.size - position);
    if (inside > 0 && file_.read(file_.self, position, inside, to) != 0)
      return arrow::Status::IOError("the file cannot be read");
    return inside;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t count) override {
    if (position < 0 || count < 0 || position > file_.size)
      return arrow::Status::IOError("a range outside the file is asked for");
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(std::min(count, file_.size - position), pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, buffer->size(), buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(got));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  arrow::Result<int64_t> Read(int64_t count, void* to) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(at_, count, to));
    at_ += got;
    return got;
  }
  arrow::Result<std::shared_ptr<arrow::Buffer>> Read(int64_t count) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(at_, count));
    at_ += buffer->size();
    return buffer;
  }

 private:
  const ArkitParquetFile file_;
  arrow::MemoryPool* pool_;
  int64_t at_ = 0;
  bool closed_ = false;
};

void check(const arrow::Status& status) {
  if (!status.ok()) throw std::runtime_error(status.message());
}

template <typename T>
T value_of(arrow::Result<T> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

}  // namespace
}  // namespace arkit::parquet

// Members are destroyed from the last to the first: readers before the pool they took from.
struct ArkitParquetReader {
  ArkitParquetReader(const ArkitParquetFile& file, const ArkitParquetLimits& limits)
      : counted(arrow::system_memory_pool()), pool(&counted, limits.memory_bytes), row_bytes(limits.row_bytes) {
    using namespace arkit::parquet;
    ::parquet::ReaderProperties bytes(&pool);
    bytes.enable_buffered_stream();  // a column chunk is read as far as it is needed
    bytes.set_buffer_size(limits.range_bytes);
    bytes.set_thrift_string_size_limit(kMaxThriftText);
    bytes.set_thrift_container_size_limit(kMaxThriftItems);
    bytes.set_schema_depth_limit(limits.depth);
    ::parquet::ArrowReaderProperties decoding(false);  // no threads
    decoding.set_batch_size(kBatchRows);
    decoding.set_pre_buffer(false);
    auto opened = ::parquet::ParquetFileReader::Open(std::make_shared<File>(file, &pool), bytes);
    reader = value_of(::parquet::arrow::FileReader::Make(&pool, std::move(opened), decoding));
    check(reader->GetSchema(&schema));
    for (const auto& field : schema->fields()) names.push_back(field->name());
  }

  void select(const int64_t* columns, int64_t count) {
    using namespace arkit::parquet;
    std::vector<int> leaves;
    for (int64_t i = 0; i < count; ++i) {
      const auto& field = reader->manifest().schema_fields.at(static_cast<size_t>(columns[i]));
      add_leaves(field, leaves);
    }
    std::vector<int> groups(static_cast<size_t>(reader->num_row_groups()));
    for (size_t i = 0; i < groups.size(); ++i) groups[i] = static_cast<int>(i);
    batches = value_of(reader->GetRecordBatchReader(groups, leaves));
  }

  bool next() {
    using namespace arkit::parquet;
    while (batch == nullptr || row == batch->num_rows()) {
      batch.reset();
      check(batches->ReadNext(&batch));
      row = 0;
      if (batch == nullptr) return false;
      check(batch->Validate());
    }
    text.clear();
    write_row(*batch, row++, row_bytes, text);
    return true;
  }

  static void add_leaves(const ::parquet::arrow::SchemaField& field, std::vector<int>& leaves) {
    if (field.is_leaf()) leaves.push_back(field.column_index);
    for (const auto& child : field.children) add_leaves(child, leaves);
  }

  arrow::ProxyMemoryPool counted;  // of this file alone
  arrow::CappedMemoryPool pool;
  int64_t row_bytes;
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::string> names;
  std::unique_ptr<::parquet::arrow::FileReader> reader;
  std::unique_ptr<arrow::RecordBatchReader> batches;
  std::shared_ptr<arrow::RecordBatch> batch;
  int64_t row = 0;
  std::string text;
};

namespace arkit::parquet {
namespace {

// Calls `work`; what it throws is written to `error`, on one line.
template <typename Work>
bool guarded(char* error, size_t size, const Work& work) {
  std::string message;
  try {
    work();
    return true;
  } catch (const std::bad_alloc&) {
    message = "more memory is needed than there is";
  } catch (const std::exception& fault) {
    message = fault.what();
  } catch (...) {
    message = "it cannot be decoded";
  }
  std::replace(message.begin(), message.end(), '\n', ' ');
  const size_t length = std::min(message.size(), size - 1);
  std::memcpy(error, message.data(), length);
  error[length] = '\0';
  return false;
}

constexpr ArkitParquetDoor kDoor{
    .open = [](const ArkitParquetFile* file, const ArkitParquetLimits* limits, char* error,
               size_t size) -> ArkitParquetReader* {
      std::unique_ptr<ArkitParquetReader> reader;
      guarded(error, size, [&] { reader = std::make_unique<ArkitParquetReader>(*file, *limits); });
      return reader.release();
    },
    .close = [](ArkitParquetReader* reader) { delete reader; },
    .num_columns = [](const ArkitParquetReader* reader) { return static_cast<int64_t>(reader->names.size()); },
    .column = [](const ArkitParquetReader* reader,
                 int64_t index) { return reader->names[static_cast<size_t>(index)].c_str(); },
    .select = [](ArkitParquetReader* reader, const int64_t* columns, int64_t count, char* error,
                 size_t size) { return guarded(error, size, [&] { reader->select(columns, count); }) ? 0 : -1; },
    .next =
        [](ArkitParquetReader* reader, const char** text, int64_t* length, char* error, size_t size) {
          bool more = false;
          if (!guarded(error, size, [&] { more = reader->next(); })) return -1;
          *text = reader->text.data();
          *length = static_cast<int64_t>(reader->text.size());
          return more ? 1 : 0;
        },
};

}  // namespace
}  // namespace arkit::parquet

extern "C" __attribute__((visibility("default"))) const ArkitParquetDoor* arkit_parquet_door_1() {
  arrow::util::InitializeUTF8();
  return &arkit::parquet::kDoor;
}
