#include "calibration/calibration.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <numeric>
#include <span>
#include <utility>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/file_start.h>
#include <arkit/input_file.h>
#include <arkit/model_source.h>
#include <arkit/str.h>

#include "calibration/byte_stream.h"
#include "calibration/dataset_default.h"
#include "calibration/dataset_name.h"
#include "calibration/dataset_registry.h"
#include "calibration/dataset_spec.h"
#include "calibration/document_source.h"
#include "calibration/row_reader.h"
#include "calibration/samples.h"
#include "hub/local_file.h"
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

constexpr size_t kMaxTextBytes = size_t{1} << 30;

class Loader {
 public:
  Loader(const CalibrationOptions& options, const Tokenizer* tokenizer, const SelfSampler& self, hub::Hub& hub,
         Reporter& reporter)
      : options_(options),
        tokenizer_(tokenizer),
        self_(self),
        hub_(hub),
        reporter_(reporter),
        default_(options.dataset.empty() ? default_dataset(options.model_names, options.model_tasks, options.nsamples)
                                         : DefaultDataset{}),
        argument_(options.dataset.empty() ? default_.argument : options.dataset) {}

  CalibrationSet load();

 private:
  std::vector<Entry> open_all();
  Entry open(const DatasetSpec& spec, bool alone) const;
  void open_running_text(Entry& entry) const;
  void open_documents(Entry& entry, KnownDataset dataset, bool alone) const;
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
  hub::Hub& hub_;
  Reporter& reporter_;
  const DefaultDataset default_;  // where --dataset is not given
  const std::string argument_;
};

const Tokenizer& Loader::tokenizer(std::string_view name) const {
  if (tokenizer_ == nullptr)
    throw_input(str("dataset '", printable(name),
                    "': the model brings no tokenizer.json; give token ids (.safetensors with input_ids) or 'self'"));
  return *tokenizer_;
}

// Whatever a spec asks for that its source cannot do is refused rather than ignored. `kind`: what has no documents.
void refuse_options(const DatasetSpec& spec, std::string_view kind) {
  const std::pair<bool, std::string_view> given[] = {{!spec.splits.empty(), "split"},
                                                     {!spec.config.empty(), "config"},
                                                     {!spec.revision.empty(), "revision"},
                                                     {!spec.fields.empty(), "field"},
                                                     {!spec.pattern.empty(), "template"},
                                                     {spec.concat, "concat"},
                                                     {spec.apply_chat_template, "apply_chat_template"}};
  for (const auto& [is_given, key] : given)
    if (is_given)
      throw_usage(str("dataset '", printable(spec.name), "': ", key, " has no meaning for ", kind, "; leave it out"));
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
  refuse_options(entry.spec, "token ids");
  entry.report.kind = "ids";
  entry.report.source.files = {file.string()};
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

void Loader::open_running_text(Entry& entry) const {
  const std::string what = str("'", printable(entry.spec.name), "'");
  DatasetSpec checked = entry.spec;
  checked.concat = false;  // running text is always concatenated
  refuse_options(checked, "running text");
  entry.report.kind = "text";
  entry.report.source.files = {entry.spec.name};
  const Tokenizer& words = tokenizer(entry.spec.name);
  const std::string text =
      read_all(*open_stream(hub::open_local_file(entry.spec.name, "dataset "), what), kMaxTextBytes, what);
  SampleCounts counts;
  auto rows = running_text_rows(without_byte_order_mark(text), words, options_.seqlen, counts);
  PythonRandom(static_cast<uint64_t>(options_.seed)).shuffle(rows);
  finish_rows(entry, std::move(rows), counts);
}

void Loader::open_documents(Entry& entry, KnownDataset dataset, bool alone) const {
  const DatasetSpec& spec = entry.spec;
  entry.report.kind = "documents";
  const Tokenizer& words = tokenizer(spec.name);
  entry.spec.concat = spec.concat || dataset.concat;
  // A lone entry stops reading at nsamples, and so does a stream; mixing others needs to know how many rows each has.
  const int64_t otherwise = alone || dataset.streams() ? options_.nsamples : INT64_MAX;
  const int64_t limit = alone ? std::min(spec.num.value_or(otherwise), otherwise) : spec.num.value_or(otherwise);
  DocumentSource documents(std::move(dataset),
                           {.name = spec.name,
                            .seed = static_cast<uint64_t>(options_.seed),
                            .take = limit == INT64_MAX ? 0 : limit,
                            .modelscope = options_.modelscope,
                            .trim = names_file(spec.name) && !spec.name.ends_with(".toml")},
                           hub_, reporter_);
  SampleCounts counts;
  auto rows = document_rows([&] { return documents.next(); }, entry.spec, words, options_.seqlen, limit, counts);
  entry.report.source = documents.report();
  finish_rows(entry, std::move(rows), counts);
}

Entry Loader::open(const DatasetSpec& spec, bool alone) const {
  Entry entry;
  entry.spec = spec;
  entry.report.name = spec.name;
  if (spec.name == "self") {
    refuse_options(spec, "'self'");
    if (!self_) throw_usage("dataset 'self': this command has no model that could write samples");
    entry.report.kind = "self";
    entry.available = spec.num.value_or(options_.nsamples);
    entry.report.rows = entry.available;
    return entry;
  }
  const bool file = names_file(spec.name);
  if (file) check_input_file(spec.name, std::numeric_limits<int64_t>::max(), "dataset ");
  if (file && lower(fs::path(spec.name).extension().string()) == ".safetensors")
    open_ids(entry, spec.name);
  else if (file && data_ending(spec.name) == ".txt")
    open_running_text(entry);
  else
    open_documents(entry, described(spec), alone);
  return entry;
}

// The default is nobody's wish: where it cannot be had, the others are named.
std::vector<Entry> Loader::open_all() {
  const std::vector<DatasetSpec> wanted = parse_dataset(argument_);
  if (!default_.reason.empty())
    reporter_.info(str("no dataset given; '", argument_, "' is taken for this model: ", default_.reason));
  std::vector<Entry> entries;
  try {
    for (const DatasetSpec& spec : wanted) entries.push_back(open(spec, wanted.size() == 1));
  } catch (const Error& error) {
    const bool mended = error.code() == ErrorCode::input;  // by the user; a network by waiting
    if (default_.argument.empty() || (!mended && error.code() != ErrorCode::resource)) throw;
    throw Error(mended ? ErrorCode::usage : error.code(),
                str("no dataset given, and the default cannot be had: ", error.what(),
                    "; or give '--dataset self' to let the model write its own samples, or a file"));
  }
  return entries;
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
        throw_input(str("dataset '", printable(argument_), "': token id ", id, " is outside the model's vocabulary of ",
                        options_.vocab_size, "; the tokenizer or the ids belong to another model"));
}

void Loader::nothing_left(const std::vector<Entry>& entries) const {
  std::string details;
  bool any_document = false, any_dropped = false;
  for (const Entry& entry : entries) {
    const EntryReport& report = entry.report;
    const int64_t dropped = std::max<int64_t>(report.source.rows - report.documents, 0);
    details += str(details.empty() ? "" : "; ", "'", printable(report.name),
                   "': ", dropped > 0 ? str(dropped, " rows dropped by its filter, ") : std::string(), report.documents,
                   " documents, ", report.too_short, " shorter than ", options_.seqlen, " tokens, ", report.repetitive,
                   " too repetitive");
    any_document = any_document || report.documents > 0;
    any_dropped = any_dropped || dropped > 0;
  }
  throw_input(str("dataset '", printable(argument_), "': no sample is left after filtering (", details, "); ",
                  any_document  ? "use longer texts, a smaller --seqlen, or ':concat' to join short documents"
                  : any_dropped ? "look at the values that its filter asks for"
                                : "give one that holds texts"));
}

CalibrationSet Loader::load() {
  if (options_.nsamples <= 0 || options_.seqlen <= 0)
    throw_usage(str("nsamples ", options_.nsamples, " and seqlen ", options_.seqlen, " must be positive"));
  std::vector<Entry> entries = open_all();
  const bool one = entries.size() == 1;
  std::vector<Row> rows = one ? take(entries[0], std::min(entries[0].available, options_.nsamples)) : mixed(entries);
  if (rows.empty()) nothing_left(entries);
  if (static_cast<int64_t>(rows.size()) > options_.nsamples) rows.resize(static_cast<size_t>(options_.nsamples));
  check_ids(rows);
  const auto n = static_cast<int64_t>(rows.size());
  if (n < options_.nsamples)
    reporter_.warn(str("dataset '", printable(argument_), "' gives ", n, " samples of ", options_.seqlen,
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
  set.dataset = argument_;
  for (Entry& entry : entries) set.entries.push_back(std::move(entry.report));
  return set;
}

// Files of a hub are told by its commit, local ones are hashed by who writes the record.
void add_source(json::Object& item, const SourceReport& source) {
  const auto add = [&](std::string_view key, const std::string& text) {
    if (!text.empty()) item[key] = text;
  };
  const auto list = [&](std::string_view key, const std::vector<std::string>& texts) {
    if (!texts.empty()) item[key] = json::Array(texts.begin(), texts.end());
  };
  add("hub_id", source.hub_id);
  add("commit", source.commit);
  add("config", source.config);
  list("splits", source.splits);
  list(source.hub_id.empty() ? "files" : "hub_files", source.files);
  add("text", source.text);
  if (source.rows > 0) item["rows_read"] = source.rows;
  if (source.bytes > 0) item["bytes_read"] = source.bytes;
}

}  // namespace

json::Object CalibrationSet::report() const {
  json::Object out;
  out["dataset"] = dataset;
  out["samples"] = input_ids.size(0);
  out["seqlen"] = input_ids.size(1);
  out["tokens"] = input_ids.numel();
  out["unique_tokens"] = unique_tokens;
  out["sha256"] = sha256;
  json::Array list;
  for (const EntryReport& entry : entries) {
    json::Object item{{"name", entry.name}, {"kind", entry.kind}};
    add_source(item, entry.source);
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
                                hub::Hub& hub, Reporter& reporter) {
  return Loader(options, tokenizer, self, hub, reporter).load();
}

}  // namespace arkit::calibration
