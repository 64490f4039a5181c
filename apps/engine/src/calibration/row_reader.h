#pragma once
// Rows of a data file as JSON values, in file order: .parquet, .jsonl / .ndjson, .json, .txt (a row {"text": line} a
// line), the last three also compressed (.gz, .zst). Bounds: a row 64 MiB, a .json file 256 MiB, what Arrow holds of a
// parquet file 512 MiB.

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>

#include "hub/hub.h"

namespace arkit::calibration {

class ARKIT_EXPORT RowReader {
 public:
  virtual ~RowReader();
  // Throws ErrorCode::input naming file and place for damaged data, and what the file's read() throws.
  [[nodiscard]] virtual std::optional<json::Value> next() = 0;
};

// Of a file's columns, those that are wanted; an empty answer = all. Asked once where a format keeps columns apart.
using ChooseColumns = std::function<std::vector<std::string>(const std::vector<std::string>& columns)>;

// True for names that open_rows reads ("data/train.jsonl.zst").
[[nodiscard]] ARKIT_EXPORT bool is_data_file(std::string_view name);

// The ending that decides, lower case, without that of the compression: ".jsonl".
[[nodiscard]] ARKIT_EXPORT std::string data_ending(std::string_view name);

// `what` opens every message and ends with the file's name. Throws ErrorCode::input for another ending, and, for
// parquet, ErrorCode::unsupported where arkit was built without Arrow's libraries.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<RowReader> open_rows(std::unique_ptr<hub::RandomAccess> file,
                                                                std::string_view name, const std::string& what,
                                                                const ChooseColumns& columns);

}  // namespace arkit::calibration
