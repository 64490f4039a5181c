#include "calibration/calibration.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "calibration/dataset_registry.h"
#include "calibration/dataset_spec.h"
#include "calibration/documents.h"
#include "calibration/samples.h"
#include "util/numpy_random.h"
#include "util/python_random.h"
#include "util/sha256.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

// One entry, ready to give rows: `available` of them, made (for "self") or handed out by take().
struct Entry {
  DatasetSpec spec;
  EntryReport report;
  int64_t available = 0;
  std::vector<Row> rows;  // empty for "self"
};

class Loader {
 public:
  Loader(const CalibrationOptions& options, const Tokenizer* tokenizer, const SelfSampler& self, Reporter& reporter)
      : options_(options), tokenizer_(tokenizer), self_(self), reporter_(reporter) {}

  CalibrationSet load();

 private:
  std::vector<DatasetSpec> specs() const;
  Entry open(const DatasetSpec& spec, int64_t limit) const;
  void open_file(Entry& entry, const fs::path& file, int64_t limit) const;
  void open_known(Entry& entry, const KnownDataset& dataset, int64_t limit) const;
  void open_ids(Entry& entry, const fs::path& file) const;
  void finish_rows(Entry& entry, std::vector<Row> rows, const SampleCounts& counts) const;
  std::vector<Row> take(Entry& entry, int64_t count) const;
  std::vector<Row> mixed(std::vector<Entry>& entries) const;
  const Tokenizer& tokenizer(std::string_view name) const;
  void check_ids(const std::vector<Row>& rows) const;
  [[noreturn]] void nothing_left(const std::vector<Entry>& entries) const;

  const CalibrationOptions& options_;
  const Tokenizer* tokenizer_;
  const SelfSampler& self_;
  Reporter& reporter_;
};

std::vector<DatasetSpec> Loader::specs() const {
  if (!options_.dataset.empty()) return parse_dataset(options_.dataset);
  constexpr std::string_view kDefault = "NeelNanda/pile-10k";
  try {
    (void)cached_dataset_file(*find_dataset(kDefault), "train");
  } catch (const Error&) {
    throw_usage(str("no dataset given and the default, '", kDefault,
                    "', is not in the local cache; give '--dataset self' to let the model write its own samples, or a "
                    ".json, .jsonl or .txt file"));
  }
  return parse_dataset(kDefault);
}

const Tokenizer& Loader::tokenizer(std::string_view name) const {
  if (tokenizer_ == nullptr)
    throw_input(str("dataset '", printable(name),
                    "': the model brings no tokenizer.json; give token ids (.safetensors with input_ids) or 'self'"));
  return *tokenizer_;
}

// Whatever a spec asks for that its source cannot do is refused rather than ignored.
void refuse_options(const DatasetSpec& spec, std::string_view kind, bool text_options) {
  if (!spec.splits.empty())
    throw_usage(str("dataset '", printable(spec.name), "': split=", spec.splits.front(), " has no meaning for ", kind,
                    "; leave it out"));
  if (text_options) return;
  if (spec.concat || spec.apply_chat_template)
    throw_usage(str("dataset '", printable(spec.name), "': ", spec.concat ? "concat" : "apply_chat_template",
                    " has no meaning for ", kind, "; leave it out"));
}

void Loader::finish_rows(Entry& entry, std::vector<Row> rows, const SampleCounts& counts) const {
  entry.report.documents = counts.documents;
  entry.report.too_short = counts.too_short;
  entry.report.repetitive = counts.repetitive;
  entry.rows = std::move(rows);
  if (entry.spec.num && static_cast<int64_t>(entry.rows.size()) > *entry.spec.num)
    entry.rows.resize(static_cast<size_t>(*entry.spec.num));
  entry.available = static_cast<int64_t>(entry.rows.size());
  entry.report.rows = entry.available;
}

void Loader::open_ids(Entry& entry, const fs::path& file) const {
  refuse_options(entry.spec, "token ids", false);
  entry.report.kind = "ids";
  const auto source = open_safetensors(file);
  const TensorInfo* info = source->find("input_ids");
  if (info == nullptr) throw_input(str("'", file.string(), "': has no tensor 'input_ids'; expected int64 [n, length]"));
  const bool integral = info->dtype == at::kLong || info->dtype == at::kInt;
  if (!integral || info->shape.size() != 2)
    throw_input(str("'", file.string(), "': input_ids is ", info->stored_type, " with ", info->shape.size(),
                    " dimensions; expected int64 or int32 [n, length]"));
  const at::Tensor ids = source->load("input_ids").to(at::kLong).contiguous();
  SampleCounts counts;
  counts.documents = ids.size(0);
  std::vector<Row> rows;
  if (ids.size(1) < options_.seqlen) {
    counts.too_short = ids.size(0);
  } else {
    for (int64_t i = 0; i < ids.size(0); ++i) {
      const std::span<const int64_t> row(ids.const_data_ptr<int64_t>() + i * ids.size(1),
                                         static_cast<size_t>(options_.seqlen));
      for (const int64_t id : row)
        if (id < 0 || id > INT32_MAX)
          throw_input(str("'", file.string(), "': row ", i, " holds ", id, ", which is no token id"));
      rows.emplace_back(row.begin(), row.end());
    }
  }
  finish_rows(entry, std::move(rows), counts);
}

void Loader::open_file(Entry& entry, const fs::path& file, int64_t limit) const {
  entry.report.file = file.string();
  const std::string extension = lower(file.extension().string());
  if (extension == ".safetensors") {
    open_ids(entry, file);
    return;
  }
  const Tokenizer& words = tokenizer(entry.spec.name);
  PythonRandom random(static_cast<uint64_t>(options_.seed));
  SampleCounts counts;
  if (extension == ".txt") {
    DatasetSpec checked = entry.spec;
    checked.concat = false;  // running text is always concatenated
    refuse_options(checked, "running text", false);
    entry.report.kind = "text";
    auto rows = running_text_rows(read_running_text(file), words, options_.seqlen, counts);
    random.shuffle(rows);
    finish_rows(entry, std::move(rows), counts);
    return;
  }
  if (extension != ".json" && extension != ".jsonl")
    throw_input(str("dataset '", printable(file.string()), "': extension '", extension,
                    "' is not read; expected .json, .jsonl, .txt or .safetensors (token ids)"));
  refuse_options(entry.spec, "a local file", true);
  entry.report.kind = "json";
  auto documents = read_documents(file);
  random.shuffle(documents);
  auto rows = document_rows(documents, entry.spec, words, options_.seqlen, limit, counts);
  finish_rows(entry, std::move(rows), counts);
}

void Loader::open_known(Entry& entry, const KnownDataset& dataset, int64_t limit) const {
  if (entry.spec.splits.size() > 1)
    throw_usage(str("dataset '", printable(entry.spec.name), "': split= names several splits; give one"));
  const std::string split = entry.spec.splits.empty() ? std::string(dataset.split) : entry.spec.splits.front();
  const fs::path file = cached_dataset_file(dataset, split);
  entry.report.kind = "json";
  entry.report.file = file.string();
  const Tokenizer& words = tokenizer(entry.spec.name);
  auto documents = read_known_documents(file, dataset);
  std::vector<Document> shuffled;
  const auto count = static_cast<int64_t>(documents.size());
  for (const int64_t i : numpy_permutation(static_cast<uint64_t>(options_.seed), count))
    shuffled.push_back(std::move(documents[static_cast<size_t>(i)]));
  SampleCounts counts;
  auto rows = document_rows(shuffled, entry.spec, words, options_.seqlen, limit, counts);
  finish_rows(entry, std::move(rows), counts);
}

// Whatever is there under this name, or may be but cannot be looked at, is meant; a folder may be called like a
// dataset.
bool names_file(const std::string& name) {
  std::error_code error;
  const fs::file_status status = fs::status(name, error);
  return status.type() != fs::file_type::not_found && status.type() != fs::file_type::directory;
}

Entry Loader::open(const DatasetSpec& spec, int64_t limit) const {
  Entry entry;
  entry.spec = spec;
  entry.report.name = spec.name;
  for (const std::string& key : spec.unknown_keys)
    reporter_.warn(str("dataset '", printable(spec.name), "': key '", printable(key),
                       "' is unknown and ignored; known are split, num, concat, apply_chat_template, system_prompt"));
  if (spec.name == "self") {
    refuse_options(spec, "'self'", false);
    if (!self_) throw_usage("dataset 'self': this command has no model that could write samples");
    entry.report.kind = "self";
    entry.available = spec.num.value_or(options_.nsamples);
    entry.report.rows = entry.available;
    return entry;
  }
  if (names_file(spec.name)) {
    check_input_file(spec.name, std::numeric_limits<int64_t>::max(), "dataset ");
    open_file(entry, spec.name, limit);
  } else if (const KnownDataset* known = find_dataset(spec.name)) {
    open_known(entry, *known, limit);
  } else {
    std::vector<std::string> names{"self"};
    for (const KnownDataset& dataset : known_datasets())
      for (const std::string& name : split(dataset.names, ' ')) names.push_back(name);
    std::error_code error;
    if (fs::exists(spec.name, error)) check_input_file(spec.name, 0, "dataset ");  // a folder
    throw_input(unknown_name("dataset", spec.name, names, "neither a file nor a name of 'arkit list datasets'"));
  }
  return entry;
}

std::vector<Row> Loader::take(Entry& entry, int64_t count) const {
  entry.report.used = count;
  if (entry.report.kind != "self") {
    entry.rows.resize(static_cast<size_t>(count));
    return std::move(entry.rows);
  }
  std::vector<Row> rows;
  if (count == 0) return rows;
  const at::Tensor ids = self_(count).contiguous();
  ARKIT_CHECK(ids.dim() == 2 && ids.size(0) == count && ids.size(1) == options_.seqlen, "self sampler's shape");
  const int64_t* data = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < count; ++i) rows.emplace_back(data + i * options_.seqlen, data + (i + 1) * options_.seqlen);
  return rows;
}

// Shares nsamples out among several entries (docs/spec/calibration.md 6): those with num take it, the others share the
// rest, short ones first. (The reference caps by the length of another entry when the order by length differs from the
// order given; here each by its own.)
std::vector<Row> Loader::mixed(std::vector<Entry>& entries) const {
  std::stable_sort(entries.begin(), entries.end(),
                   [](const Entry& a, const Entry& b) { return a.available < b.available; });
  int64_t with_num = 0, given = 0;
  for (const Entry& entry : entries) {
    with_num += entry.spec.num ? 1 : 0;
    given += entry.spec.num.value_or(0);
  }
  int64_t count = given > options_.nsamples ? 0 : given;
  const auto total = static_cast<int64_t>(entries.size());
  std::vector<Row> rows;
  for (int64_t i = 0; i < total; ++i) {
    Entry& entry = entries[static_cast<size_t>(i)];
    int64_t wanted = entry.spec.num.value_or(0);
    if (!entry.spec.num) {
      wanted = (options_.nsamples - count) / (with_num > 0 ? total - with_num : total - i);
      wanted = std::clamp(wanted, int64_t{0}, entry.available);
      count += wanted;
    }
    for (Row& row : take(entry, std::min(wanted, entry.available))) rows.push_back(std::move(row));
  }
  std::vector<Row> shuffled;
  for (const int64_t i : numpy_permutation(static_cast<uint64_t>(options_.seed), static_cast<int64_t>(rows.size())))
    shuffled.push_back(std::move(rows[static_cast<size_t>(i)]));
  return shuffled;
}

void Loader::check_ids(const std::vector<Row>& rows) const {
  if (options_.vocab_size <= 0) return;
  for (const Row& row : rows)
    for (const int32_t id : row)
      if (id >= options_.vocab_size)
        throw_input(str("dataset '", printable(options_.dataset), "': token id ", id,
                        " is outside the model's vocabulary of ", options_.vocab_size,
                        "; the tokenizer or the ids belong to another model"));
}

void Loader::nothing_left(const std::vector<Entry>& entries) const {
  std::string details;
  for (const Entry& entry : entries)
    details += str(details.empty() ? "" : "; ", "'", printable(entry.report.name), "': ", entry.report.documents,
                   " documents, ", entry.report.too_short, " shorter than ", options_.seqlen, " tokens, ",
                   entry.report.repetitive, " too repetitive");
  throw_input(str("dataset '", printable(options_.dataset), "': no sample is left after filtering (", details,
                  "); use longer texts, a smaller --seqlen, or ':concat' to join short documents"));
}

CalibrationSet Loader::load() {
  if (options_.nsamples <= 0 || options_.seqlen <= 0)
    throw_usage(str("nsamples ", options_.nsamples, " and seqlen ", options_.seqlen, " must be positive"));
  const std::vector<DatasetSpec> wanted = specs();
  std::vector<Entry> entries;
  for (const DatasetSpec& spec : wanted) {
    // A lone entry stops reading at nsamples; mixing needs to know how many rows each could give.
    const int64_t otherwise = wanted.size() == 1 ? options_.nsamples : INT64_MAX;
    entries.push_back(open(spec, std::min(spec.num.value_or(otherwise), otherwise)));
  }
  const bool one = entries.size() == 1;
  std::vector<Row> rows = one ? take(entries[0], std::min(entries[0].available, options_.nsamples)) : mixed(entries);
  if (rows.empty()) nothing_left(entries);
  if (static_cast<int64_t>(rows.size()) > options_.nsamples) rows.resize(static_cast<size_t>(options_.nsamples));
  check_ids(rows);
  const auto n = static_cast<int64_t>(rows.size());
  if (n < options_.nsamples)
    reporter_.warn(str("dataset '", printable(options_.dataset), "' gives ", n, " samples of ", options_.seqlen,
                       " tokens, fewer than the ", options_.nsamples, " asked for",
                       n < options_.batch_size ? " and fewer than one batch" : ""));
  CalibrationSet set;
  set.input_ids = at::empty({n, options_.seqlen}, at::kLong);
  auto* out = set.input_ids.mutable_data_ptr<int64_t>();
  std::vector<int32_t> seen;
  for (const Row& row : rows) {
    out = std::copy(row.begin(), row.end(), out);
    seen.insert(seen.end(), row.begin(), row.end());
  }
  std::sort(seen.begin(), seen.end());
  set.unique_tokens = std::unique(seen.begin(), seen.end()) - seen.begin();
  Sha256 hash;
  hash.update(
      std::as_bytes(std::span(set.input_ids.const_data_ptr<int64_t>(), static_cast<size_t>(n * options_.seqlen))));
  set.sha256 = hash.hex();
  for (Entry& entry : entries) set.entries.push_back(std::move(entry.report));
  return set;
}

}  // namespace

json::Object CalibrationSet::report() const {
  json::Object out;
  out["samples"] = input_ids.size(0);
  out["seqlen"] = input_ids.size(1);
  out["tokens"] = input_ids.numel();
  out["unique_tokens"] = unique_tokens;
  out["sha256"] = sha256;
  json::Array list;
  for (const EntryReport& entry : entries) {
    json::Object item{{"name", entry.name}, {"kind", entry.kind}};
    if (!entry.file.empty()) item["file"] = entry.file;
    if (entry.kind != "self") {
      item["documents"] = entry.documents;
      item["too_short"] = entry.too_short;
      item["repetitive"] = entry.repetitive;
    }
    item["rows"] = entry.rows;
    item["used"] = entry.used;
    list.push_back(std::move(item));
  }
  out["entries"] = std::move(list);
  return out;
}

CalibrationSet load_calibration(const CalibrationOptions& options, const Tokenizer* tokenizer, const SelfSampler& self,
                                Reporter& reporter) {
  return Loader(options, tokenizer, self, reporter).load();
}

}  // namespace arkit::calibration
