#pragma once
// Rows of Arrow's arrays as JSON. Part of libarkit_parquet.so.

#include <cstdint>
#include <string>

#include <arrow/record_batch.h>

namespace arkit::parquet {

// Appends one row as an object. Lists and structs nest; maps are lists of {"key", "value"}; binary that is UTF-8 counts
// as text, other binary is null; what JSON has no type for (dates, decimals) is written as Arrow prints it. Throws
// std::runtime_error past `max_bytes`.
void write_row(const arrow::RecordBatch& batch, int64_t row, int64_t max_bytes, std::string& out);

}  // namespace arkit::parquet
