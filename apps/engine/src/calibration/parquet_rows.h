#pragma once
// Rows of parquet files, through libarkit_parquet.so, which is opened when the first of them is read.

#include <memory>
#include <string>

#include "calibration/row_reader.h"

namespace arkit::calibration {

// Reads the footer, then the column chunks of the chosen columns as far as rows are asked for. Throws
// ErrorCode::unsupported where the library was not built or does not load, ErrorCode::input for a damaged file.
[[nodiscard]] std::unique_ptr<RowReader> open_parquet_rows(std::unique_ptr<hub::RandomAccess> file, std::string what,
                                                           const ChooseColumns& columns);

}  // namespace arkit::calibration
