#pragma once
// The door to libarkit_parquet.so, which alone knows Arrow's C++ libraries (ADR 0044). It is made of C: no exception, no
// type of either side crosses it. Texts a call returns stay valid until the next call with the same reader.

#include <stddef.h>
#include <stdint.h>

extern "C" {

struct ArkitParquetFile {
  void* self;
  int64_t size;  // bytes
  // Fills `to` with `count` bytes from `offset`; both lie inside the file. 0 = done, else reading ends with an error.
  int (*read)(void* self, int64_t offset, int64_t count, void* to);
};

struct ArkitParquetLimits {
  int64_t memory_bytes;  // of everything Arrow holds for this file
  int64_t row_bytes;     // of a row's text
  int64_t range_bytes;   // read at once
  int32_t depth;         // of nested columns
};

struct ArkitParquetReader;

struct ArkitParquetDoor {
  // Reads the footer. Null = `error` (size bytes, ends with 0) says why.
  ArkitParquetReader* (*open)(const ArkitParquetFile* file, const ArkitParquetLimits* limits, char* error, size_t size);
  void (*close)(ArkitParquetReader* reader);
  // Top-level columns.
  int64_t (*num_columns)(const ArkitParquetReader* reader);
  const char* (*column)(const ArkitParquetReader* reader, int64_t index);
  // Which columns rows are made of; before the first row. 0 = done.
  int (*select)(ArkitParquetReader* reader, const int64_t* columns, int64_t count, char* error, size_t size);
  // The next row as a JSON object, UTF-8: 1 = a row, 0 = the end, -1 = `error` says why.
  int (*next)(ArkitParquetReader* reader, const char** text, int64_t* length, char* error, size_t size);
};

typedef const ArkitParquetDoor* (*ArkitParquetEntry)(void);

}  // extern "C"

namespace arkit::parquet {

constexpr const char* kModule = "libarkit_parquet.so";
constexpr const char* kEntry = "arkit_parquet_door_1";  // another number when the structs change

}  // namespace arkit::parquet
