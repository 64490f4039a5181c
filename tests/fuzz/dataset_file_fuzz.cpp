// Bytes as a data set: the first chooses .json, .jsonl, .txt or .parquet, and whether texts are looked for or named.

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <arkit/error.h>
#include <arkit/log.h>

#include "calibration/data_files.h"
#include "calibration/dataset_registry.h"
#include "calibration/row_reader.h"
#include "calibration/text_rule.h"

namespace {

using namespace arkit;

class Bytes final : public hub::RandomAccess {
 public:
  explicit Bytes(std::string_view bytes) : bytes_(bytes) {}
  [[nodiscard]] int64_t size() const override { return static_cast<int64_t>(bytes_.size()); }
  void read(int64_t offset, int64_t count, void* to) override {
    if (offset < 0 || count < 0 || offset > size() || count > size() - offset) std::abort();
    bytes_.copy(static_cast<char*>(to), static_cast<size_t>(count), static_cast<size_t>(offset));
  }

 private:
  std::string_view bytes_;
};

void read(std::string_view name, std::string_view text, calibration::TextRule rule) {
  calibration::TextPicker picker(std::move(rule), {}, "data set");
  const auto rows = calibration::open_rows(std::make_unique<Bytes>(text), name, "data set",
                                           [&](const auto& all) { return picker.columns(all); });
  for (size_t item = 1; const auto row = rows->next(); ++item)
    for (const json::Value& turn : picker.document(*row, item).messages)
      if (!turn.get_object().contains("role")) std::abort();
}

void read_as(const calibration::KnownDataset& known, std::string_view name, std::string_view text) {
  try {
    read(name, text, known.text);
  } catch (const Error&) {  // refused: fine
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const char kind = static_cast<char>(data[0]);
  const std::string_view name = kind == 't'                  ? "set.txt"
                                : kind == 'p'                ? "set.parquet"
                                : kind == 'j' || kind == 'k' ? "set.json"
                                                             : "set.jsonl";
  try {
    if (kind == 'c') {  // the card of a repository
      Reporter quiet;
      (void)calibration::choose_data_files({"a/train.jsonl", "b/test-00000-of-00001.parquet", "c.json"}, text, {},
                                           "data set", quiet);
    } else if (kind == 'd') {  // a description
      (void)calibration::parse_dataset_file(text, "/nowhere/x.toml");
    } else if (kind == 'k' || kind == 'K') {
      for (const calibration::KnownDataset& known : calibration::known_datasets()) read_as(known, name, text);
    } else {
      read(name, text, {});
    }
  } catch (const Error&) {  // refused: fine
  }
  return 0;
}
