#include "calibration/samples.h"

#include <algorithm>
#include <utility>

#include <arkit/error.h>
#include <arkit/log.h>
#include <arkit/str.h>

namespace arkit::calibration {
namespace {

// Running text is tokenized in pieces of about this size, cut after a line.
constexpr size_t kTextPiece = size_t{1} << 20;

Row narrowed(std::span<const int64_t> ids) {
  return Row(ids.begin(), ids.end());
}

std::string render_turns(const json::Array& turns, const Document& document, const DatasetSpec& spec,
                         const Tokenizer& tokenizer) {
  try {
    return tokenizer.apply_chat_template(turns, !document.answered);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::interrupted) throw;
    throw Error(error.code(), str("dataset '", printable(spec.name), "': item ", document.item, ": ", error.what()));
  }
}

// What the tokenizer sees of a document: its text, or the conversation it stands for under the chat template.
std::string rendered(const Document& document, const DatasetSpec& spec, const Tokenizer& tokenizer) {
  if (!spec.apply_chat_template) return document.text;
  json::Array turns = document.messages;
  if (turns.empty()) turns.push_back(json::Object{{"role", "user"}, {"content", document.text}});
  if (spec.system_prompt.empty()) return render_turns(turns, document, spec, tokenizer);
  json::Array with_system{json::Object{{"role", "system"}, {"content", spec.system_prompt}}};
  with_system.insert(with_system.end(), turns.begin(), turns.end());
  try {
    return tokenizer.apply_chat_template(with_system, !document.answered);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::input) throw;  // only what the template itself raises, such as "no system role"
    return render_turns(turns, document, spec, tokenizer);
  }
}

// Token ids without special tokens, cut so that they fit seqlen together with them.
Row truncated_body(const std::string& text, const Tokenizer& tokenizer, const SpecialFrame& frame, int64_t seqlen) {
  const auto ids = tokenizer.encode(text, false);
  const auto special = static_cast<int64_t>(frame.before.size() + frame.after.size());
  const int64_t length = std::clamp(seqlen - special, int64_t{0}, static_cast<int64_t>(ids.size()));
  return narrowed(std::span(ids).first(static_cast<size_t>(length)));
}

Row framed(const SpecialFrame& frame, std::span<const int32_t> body) {
  Row row = frame.before;
  row.insert(row.end(), body.begin(), body.end());
  row.insert(row.end(), frame.after.begin(), frame.after.end());
  return row;
}

}  // namespace

SpecialFrame special_frame(const Tokenizer& tokenizer) {
  const Row empty = narrowed(tokenizer.encode("", true)), letter = narrowed(tokenizer.encode("a", true));
  const Row body = narrowed(tokenizer.encode("a", false));
  // letter = before + body + after; empty = before + after.
  for (size_t before = 0; before + body.size() <= letter.size(); ++before) {
    const auto at = letter.begin() + static_cast<std::ptrdiff_t>(before);
    if (std::equal(body.begin(), body.end(), at) && std::equal(letter.begin(), at, empty.begin()))
      return {Row(letter.begin(), at), Row(at + static_cast<std::ptrdiff_t>(body.size()), letter.end())};
  }
  return {empty, {}};
}

RowPacker::RowPacker(SpecialFrame frame, int64_t seqlen) : frame_(std::move(frame)) {
  const auto special = static_cast<int64_t>(frame_.before.size() + frame_.after.size());
  if (seqlen <= special)
    throw_usage(str("seqlen ", seqlen, " has no room beside ", special, " special tokens; choose a larger one"));
  body_length_ = static_cast<size_t>(seqlen - special);
}

void RowPacker::emit(std::vector<Row>& out) {
  out.push_back(framed(frame_, buffer_));
  buffer_.clear();
}

void RowPacker::add(std::span<const int32_t> body, std::vector<Row>& out) {
  while (!body.empty()) {
    const size_t taken = std::min(body_length_ - buffer_.size(), body.size());
    buffer_.insert(buffer_.end(), body.begin(), body.begin() + static_cast<std::ptrdiff_t>(taken));
    body = body.subspan(taken);
    if (buffer_.size() == body_length_) emit(out);
  }
}

bool repetitive(const Row& row) {
  return row.size() > 2 && std::count(row.begin(), row.end(), row.back()) > static_cast<std::ptrdiff_t>(row.size() / 2);
}

std::vector<Row> document_rows(const std::function<std::optional<Document>()>& next, const DatasetSpec& spec,
                               const Tokenizer& tokenizer, int64_t seqlen, int64_t limit, SampleCounts& counts) {
  const SpecialFrame frame = special_frame(tokenizer);
  RowPacker packer(frame, seqlen);
  std::vector<Row> rows, made;
  while (static_cast<int64_t>(rows.size()) < limit) {
    throw_if_interrupted();
    const auto document = next();
    if (!document) break;
    ++counts.documents;
    const Row body = truncated_body(rendered(*document, spec, tokenizer), tokenizer, frame, seqlen);
    made.clear();
    if (spec.concat)
      packer.add(body, made);
    else
      made.push_back(framed(frame, body));
    for (Row& row : made) {
      if (static_cast<int64_t>(row.size()) < seqlen)
        ++counts.too_short;
      else if (repetitive(row))
        ++counts.repetitive;
      else if (static_cast<int64_t>(rows.size()) < limit)
        rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<Row> running_text_rows(std::string_view text, const Tokenizer& tokenizer, int64_t seqlen,
                                   SampleCounts& counts) {
  RowPacker packer(special_frame(tokenizer), seqlen);
  std::vector<Row> rows;
  while (!text.empty()) {
    throw_if_interrupted();
    const size_t line_end = text.size() > kTextPiece ? text.find('\n', kTextPiece) : std::string_view::npos;
    const size_t length = line_end == std::string_view::npos ? text.size() : line_end + 1;
    packer.add(narrowed(tokenizer.encode(text.substr(0, length), false)), rows);
    text.remove_prefix(length);
  }
  counts.documents = 1;
  counts.too_short = rows.empty() ? 1 : 0;
  counts.repetitive = static_cast<int64_t>(std::erase_if(rows, repetitive));
  return rows;
}

}  // namespace arkit::calibration
