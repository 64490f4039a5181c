#include "calibration/row_reader.h"

#include <algorithm>
#include <array>
#include <utility>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/str.h>

#include "calibration/byte_stream.h"
#include "calibration/parquet_rows.h"

namespace arkit::calibration {
namespace {

constexpr std::array<std::string_view, 5> kEndings{".parquet", ".jsonl", ".ndjson", ".json", ".txt"};
constexpr size_t kMaxJsonBytes = size_t{256} << 20;

class JsonLines final : public RowReader {
 public:
  JsonLines(std::unique_ptr<ByteStream> stream, const std::string& what)
      : lines_(std::move(stream), what), what_(what) {}

  [[nodiscard]] std::optional<json::Value> next() override {
    const auto line = lines_.next();
    if (!line) return std::nullopt;
    return json::parse(*line, str(what_, " line ", lines_.number()), true);
  }

 private:
  LineReader lines_;
  std::string what_;
};

class TextLines final : public RowReader {
 public:
  TextLines(std::unique_ptr<ByteStream> stream, const std::string& what) : lines_(std::move(stream), what) {}

  [[nodiscard]] std::optional<json::Value> next() override {
    auto line = lines_.next();
    if (!line) return std::nullopt;
    return json::Object{{"text", *std::move(line)}};
  }

 private:
  LineReader lines_;
};

// Rows that are all there.
class Listed final : public RowReader {
 public:
  explicit Listed(std::vector<json::Value> rows) : rows_(std::move(rows)) {}

  [[nodiscard]] std::optional<json::Value> next() override {
    if (at_ == rows_.size()) return std::nullopt;
    return std::move(rows_[at_++]);
  }

 private:
  std::vector<json::Value> rows_;
  size_t at_ = 0;
};

// Bytes of a text that is all there.
class TextStream final : public ByteStream {
 public:
  explicit TextStream(std::string text) : text_(std::move(text)) {}
  [[nodiscard]] size_t read(char* to, size_t count) override {
    const size_t taken = text_.copy(to, count, at_);
    at_ += taken;
    return taken;
  }

 private:
  std::string text_;
  size_t at_ = 0;
};

// On the hub many a .json holds an object a line: a line that begins with one, before another that does.
bool holds_lines(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos || text[first] != '{') return false;
  const size_t line_end = text.find('\n', first);
  if (line_end == std::string_view::npos) return false;
  const size_t second = text.find_first_not_of(" \t\r\n", line_end);
  const size_t last = text.find_last_not_of(" \t\r", line_end - 1);
  return second != std::string_view::npos && text[second] == '{' && text[last] == '}';
}

// A list's items, or an object's values.
std::unique_ptr<RowReader> open_json(ByteStream& stream, const std::string& what) {
  std::string whole = read_all(stream, kMaxJsonBytes, what);
  const std::string_view text = without_byte_order_mark(whole);
  if (holds_lines(text)) return std::make_unique<JsonLines>(std::make_unique<TextStream>(std::move(whole)), what);
  json::Value value = json::parse(text, what, true);
  std::vector<json::Value> rows;
  if (value.is_object()) {
    for (auto& member : value.get_object()) rows.push_back(std::move(member.value()));
  } else {
    (void)json::as_array(value, what);
    for (json::Value& item : value.get_array()) rows.push_back(std::move(item));
  }
  return std::make_unique<Listed>(std::move(rows));
}

}  // namespace

RowReader::~RowReader() = default;

std::string data_ending(std::string_view name) {
  std::string text = lower(name.substr(name.rfind('/') + 1));
  for (const std::string_view packed : {".gz", ".zst", ".zstd"})
    if (text.ends_with(packed)) {
      text.resize(text.size() - packed.size());
      break;
    }
  const size_t dot = text.rfind('.');
  return dot == std::string::npos ? std::string() : text.substr(dot);
}

bool is_data_file(std::string_view name) {
  return std::find(kEndings.begin(), kEndings.end(), data_ending(name)) != kEndings.end();
}

std::unique_ptr<RowReader> open_rows(std::unique_ptr<hub::RandomAccess> file, std::string_view name,
                                     const std::string& what, const ChooseColumns& columns) {
  const std::string ending = data_ending(name);
  if (ending == ".parquet") return open_parquet_rows(std::move(file), what, columns);
  if (!is_data_file(name))
    throw_input(str(what, ": extension '", printable(ending),
                    "' is not read; expected .parquet, .jsonl, .json or .txt, the last three also as .gz or .zst"));
  auto stream = open_stream(std::move(file), what);
  if (ending == ".json") return open_json(*stream, what);
  if (ending == ".txt") return std::make_unique<TextLines>(std::move(stream), what);
  return std::make_unique<JsonLines>(std::move(stream), what);
}

}  // namespace arkit::calibration
