#pragma once
// Documents to rows of exactly seqlen token ids: tokenize, truncate, concatenate, filter
// (docs/spec/calibration.md 3 and 5).

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include <arkit/engine/tokenizer.h>
#include <arkit/export.h>

#include "calibration/dataset_spec.h"
#include "calibration/text_rule.h"

namespace arkit::calibration {

using Row = std::vector<int32_t>;

// What became of the documents looked at; reading stops when enough rows are there.
struct SampleCounts {
  int64_t documents = 0;
  int64_t too_short = 0;   // fewer than seqlen tokens
  int64_t repetitive = 0;  // the last token makes up more than half of the row
};

// The ids a tokenizer puts around every text.
struct SpecialFrame {
  Row before, after;
};
[[nodiscard]] ARKIT_EXPORT SpecialFrame special_frame(const Tokenizer& tokenizer);

// Joins token sequences to rows of seqlen ids, each with the special tokens the tokenizer gives one text
// (docs/spec/calibration.md 5; the reference counts BOS and EOS once per sample and so misses seqlen). An unfinished
// last row is dropped.
class ARKIT_EXPORT RowPacker {
 public:
  RowPacker(SpecialFrame frame, int64_t seqlen);
  void add(std::span<const int32_t> body, std::vector<Row>& out);  // `body` without special tokens

 private:
  void emit(std::vector<Row>& out);

  SpecialFrame frame_;
  size_t body_length_;
  Row buffer_;
};

// Rows of the documents in their order, at most `limit`; no more documents are asked for than that takes.
[[nodiscard]] ARKIT_EXPORT std::vector<Row> document_rows(const std::function<std::optional<Document>()>& next,
                                                          const DatasetSpec& spec, const Tokenizer& tokenizer,
                                                          int64_t seqlen, int64_t limit, SampleCounts& counts);

// Consecutive rows of one running text.
[[nodiscard]] ARKIT_EXPORT std::vector<Row> running_text_rows(std::string_view text, const Tokenizer& tokenizer,
                                                              int64_t seqlen, SampleCounts& counts);

[[nodiscard]] ARKIT_EXPORT bool repetitive(const Row& row);

}  // namespace arkit::calibration
