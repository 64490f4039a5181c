#include "calibration/document_source.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include <arkit/error.h>
#include <arkit/input_file.h>
#include <arkit/str.h>

#include "calibration/data_files.h"
#include "calibration/row_reader.h"
#include "hub/local_file.h"
#include "hub/repo_names.h"
#include "util/numpy_random.h"
#include "util/python_random.h"

namespace arkit::calibration {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kStreamBuffer = 1000;  // documents, as in the reference
constexpr int64_t kMaxHeldBytes = int64_t{1} << 30;
constexpr int64_t kMaxDroppedRows = 1'000'000;
constexpr size_t kMaxLocalFiles = 100'000;
constexpr const char* kConverted = "refs/convert/parquet";  // the branch in which the hub keeps its own conversion

class Counted final : public hub::RandomAccess {
 public:
  Counted(std::unique_ptr<hub::RandomAccess> file, int64_t& bytes) : file_(std::move(file)), bytes_(bytes) {}
  [[nodiscard]] int64_t size() const override { return file_->size(); }
  void read(int64_t offset, int64_t count, void* to) override {
    file_->read(offset, count, to);
    bytes_ += count;
  }

 private:
  std::unique_ptr<hub::RandomAccess> file_;
  int64_t& bytes_;
};

bool asks_for_all(Shuffle order) {
  return order == Shuffle::whole || order == Shuffle::list;
}

int64_t bytes_of(const Document& document) {
  int64_t bytes = static_cast<int64_t>(document.text.size()) + 128;
  for (const json::Value& turn : document.messages)
    for (const auto& member : turn.get_object())
      bytes += 64 + (member.value().is_string() ? static_cast<int64_t>(member.value().get_string().size()) : 0);
  return bytes;
}

void trim_right(std::string& text) {  // Python's str.rstrip for the characters that occur
  while (!text.empty() && (text.back() == ' ' || (text.back() >= '\t' && text.back() <= '\r'))) text.pop_back();
}

// Files below a folder, '/' between the parts, sorted. Links to folders are not followed.
std::vector<std::string> paths_below(const fs::path& folder, const std::string& what) {
  std::vector<std::string> paths;
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    std::error_code failed;
    if (!it->is_regular_file(failed)) continue;
    if (paths.size() == kMaxLocalFiles) throw_input(str(what, ": holds more than ", kMaxLocalFiles, " files"));
    paths.push_back(it->path().lexically_relative(folder).generic_string());
  }
  if (error) throw_input(str(what, ": cannot be listed (", error.message(), ")"));
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace

// Rows of the chosen files, one after another, as documents.
class DocumentSource::Rows {
 public:
  Rows(KnownDataset dataset, const SourceOptions& options, std::string what, hub::Hub& hub, Reporter& reporter)
      : dataset_(std::move(dataset)),
        options_(options),
        what_(std::move(what)),
        hub_(hub),
        reporter_(reporter),
        picker_(dataset_.text, dataset_.filters, what_),
        whole_(std::any_of(dataset_.shuffle.begin(), dataset_.shuffle.end(), asks_for_all) && !dataset_.streams()) {
    if (dataset_.local.empty())
      choose_on_hub();
    else
      choose_local();
    // The reference puts the files of a stream into numpy's order, too.
    if (!dataset_.streams()) return;
    std::vector<std::string> shuffled;
    for (const int64_t i : numpy_permutation(options_.seed, static_cast<int64_t>(paths_.size())))
      shuffled.push_back(paths_[static_cast<size_t>(i)]);
    paths_ = std::move(shuffled);
  }

  std::optional<Document> next() {
    for (int64_t dropped = 0;;) {
      throw_if_interrupted();
      if (rows_ == nullptr && !open_next()) return std::nullopt;
      const auto row = rows_->next();
      if (!row) {
        rows_.reset();
        continue;
      }
      ++report_.rows;
      if (!picker_.keeps(*row)) {
        if (++dropped == kMaxDroppedRows)
          throw_input(str(what_, ": its filter kept none of ", dropped, " rows up to row ", report_.rows,
                          "; look at the values it asks for"));
        continue;
      }
      Document document = picker_.document(*row, static_cast<size_t>(report_.rows));
      if (report_.text.empty()) {
        report_.text = picker_.chosen();
        if (dataset_.text.automatic() && row->is_object())
          reporter_.info(str(what_, ": texts are taken from ", report_.text));
      }
      if (options_.trim) trim_right(document.text);
      return document;
    }
  }

  [[nodiscard]] const KnownDataset& dataset() const { return dataset_; }
  [[nodiscard]] const SourceReport& report() const { return report_; }

 private:
  void choose_local() {
    std::error_code error;
    if (!fs::is_directory(dataset_.local, error)) {
      folder_ = dataset_.local.parent_path();
      paths_ = {dataset_.local.filename().string()};
      return;
    }
    folder_ = dataset_.local;
    const std::vector<std::string> all = paths_below(folder_, what_);
    std::string card;
    if (std::find(all.begin(), all.end(), "README.md") != all.end())
      card = read_input_file(folder_ / "README.md", kMaxCard);
    take_files(choose_data_files(all, card, wanted(), what_, reporter_));
    if (paths_.empty()) no_files(all);
  }

  void choose_on_hub() {
    const std::string& id = options_.modelscope && !dataset_.modelscope.empty() ? dataset_.modelscope : dataset_.source;
    const hub::Repo repo = hub::repo_of(hub::RepoKind::dataset, id);
    snapshot_ = hub_.snapshot(repo);
    std::vector<std::string> all = paths_on_hub();
    std::string card;
    if (dataset_.files.empty() && std::find(all.begin(), all.end(), "README.md") != all.end())
      card = read_input_file(hub_.fetch(snapshot_, "README.md"), kMaxCard);
    DataFiles files = choose_data_files(all, card, wanted(), what_, reporter_);
    if (files.paths.empty() && repo.revision == hub::Repo{}.revision) files = converted(repo, all);
    take_files(std::move(files));
    if (paths_.empty()) no_files(all);
    report_.hub_id = snapshot_.repo.id;
    report_.commit = snapshot_.commit;
  }

  // Data sets whose files arkit does not read (csv, scripts, archives) mostly have a copy in parquet, made by the hub.
  DataFiles converted(hub::Repo repo, const std::vector<std::string>& originals) {
    repo.revision = kConverted;
    try {
      snapshot_ = hub_.snapshot(repo);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::input) throw;
      no_files(originals);
    }
    DataWanted asked = wanted();
    asked.converted = true;
    asked.files.clear();
    return choose_data_files(paths_on_hub(), {}, asked, what_, reporter_);
  }

  std::vector<std::string> paths_on_hub() {
    std::vector<std::string> all;
    for (const hub::Entry& entry : hub_.files(snapshot_)) all.push_back(entry.path);
    return all;
  }

  [[nodiscard]] DataWanted wanted() const {
    return {.config = dataset_.config, .splits = dataset_.splits, .files = dataset_.files, .converted = false};
  }

  void take_files(DataFiles files) {
    report_.config = std::move(files.config);
    report_.splits = std::move(files.splits);
    paths_ = std::move(files.paths);
  }

  [[noreturn]] void no_files(const std::vector<std::string>& all) const {
    std::vector<std::string> some;
    for (const std::string& path : all)
      if (some.size() < 6 && path.front() != '.') some.push_back(printable(path, 60));
    throw_input(str(what_, ": ", dataset_.local.empty() ? "" : "a folder, and ", "none of its ", all.size(),
                    " files is one arkit reads (.parquet, .jsonl, .json, .txt)",
                    some.empty() ? std::string() : str("; it has ", quoted_list(some))));
  }

  bool open_next() {
    if (next_path_ == paths_.size()) return false;
    const std::string& path = paths_[next_path_++];
    const bool local = !dataset_.local.empty();
    std::unique_ptr<hub::RandomAccess> file;
    if (local)
      file = hub::open_local_file(folder_ / path, "dataset ");
    else if (whole_)
      file = hub::open_local_file(hub_.fetch(snapshot_, path));
    else
      file = hub_.open(snapshot_, path);
    report_.files.push_back(local ? (folder_ / path).string() : path);
    rows_ =
        open_rows(std::make_unique<Counted>(std::move(file), report_.bytes), path,
                  local ? str("'", printable((folder_ / path).string()), "'") : str(what_, " '", printable(path), "'"),
                  [this](const std::vector<std::string>& columns) { return picker_.columns(columns); });
    return true;
  }

  static constexpr int64_t kMaxCard = int64_t{4} << 20;

  const KnownDataset dataset_;
  const SourceOptions options_;
  const std::string what_;
  hub::Hub& hub_;
  Reporter& reporter_;
  TextPicker picker_;
  const bool whole_;  // files are fetched, not read by ranges
  fs::path folder_;
  hub::Snapshot snapshot_;
  std::vector<std::string> paths_;
  size_t next_path_ = 0;
  std::unique_ptr<RowReader> rows_;
  SourceReport report_;
};

DocumentSource::DocumentSource(KnownDataset dataset, SourceOptions options, hub::Hub& hub, Reporter& reporter)
    : what_(str("dataset '", printable(options.name), "'")), options_(std::move(options)) {
  rows_ = std::make_unique<Rows>(std::move(dataset), options_, what_, hub, reporter);
  next_ = [rows = rows_.get()] { return rows->next(); };
  // How many documents are looked at is settled by the first order, as in the reference.
  int64_t take = rows_->dataset().take;
  if (take > 0) take = std::max(take, options_.take);
  bool first = true;
  for (const Shuffle order : rows_->dataset().shuffle) {
    next_ = shuffled(std::move(next_), order);
    if (std::exchange(first, false) && take > 0)
      next_ = [in = std::move(next_), left = take]() mutable -> std::optional<Document> {
        return left-- > 0 ? in() : std::nullopt;
      };
  }
}

DocumentSource::~DocumentSource() = default;

std::optional<Document> DocumentSource::next() {
  return next_();
}

SourceReport DocumentSource::report() const {
  return rows_->report();
}

DocumentSource::Next DocumentSource::shuffled(Next in, Shuffle order) {
  if (order == Shuffle::none) return in;
  struct State {
    Next in;
    NumpyRandom random;
    std::vector<Document> held, ready;  // ready: given from the back
    bool ended = false;
  };
  const auto state = std::make_shared<State>(State{std::move(in), NumpyRandom(options_.seed), {}, {}, false});
  const int64_t most = order == Shuffle::stream ? kStreamBuffer : INT64_MAX;
  return [this, state, order, most]() -> std::optional<Document> {
    State& s = *state;
    if (s.ready.empty() && !s.ended) {
      int64_t bytes = 0;
      for (const Document& document : s.held) bytes += bytes_of(document);
      while (static_cast<int64_t>(s.held.size()) < most) {
        auto document = s.in();
        s.ended = !document;
        if (s.ended) break;
        bytes += bytes_of(*document);
        if (bytes > kMaxHeldBytes)
          throw_input(str(what_, ": its first ", s.held.size(), " documents are more than ", kMaxHeldBytes >> 20,
                          " MiB, the most that is shuffled at once; describe it in a file with shuffle = \"",
                          most == INT64_MAX ? "stream" : "none", "\""));
        s.held.push_back(*std::move(document));
      }
      std::vector<Document> ordered;
      if (order == Shuffle::list) {
        PythonRandom(options_.seed).shuffle(s.held);
        ordered = std::move(s.held);
      } else {
        for (const int64_t i : s.random.permutation(static_cast<int64_t>(s.held.size())))
          ordered.push_back(std::move(s.held[static_cast<size_t>(i)]));
      }
      s.held.clear();
      if (!s.ended) {  // half of the buffer stays for the next round
        const auto keep = ordered.end() - kStreamBuffer / 2;
        s.held.assign(std::make_move_iterator(keep), std::make_move_iterator(ordered.end()));
        ordered.erase(keep, ordered.end());
      }
      std::reverse(ordered.begin(), ordered.end());
      s.ready = std::move(ordered);
    }
    if (s.ready.empty()) return std::nullopt;
    Document document = std::move(s.ready.back());
    s.ready.pop_back();
    return document;
  };
}

std::vector<Document> read_documents(const fs::path& file) {
  const std::string what = str("'", printable(file.string()), "'");
  TextPicker picker({}, {}, what);
  const auto rows = open_rows(hub::open_local_file(file), file.filename().string(), what,
                              [&](const std::vector<std::string>& columns) { return picker.columns(columns); });
  std::vector<Document> documents;
  int64_t bytes = 0;
  while (const auto row = rows->next()) {
    throw_if_interrupted();
    documents.push_back(picker.document(*row, documents.size() + 1));
    trim_right(documents.back().text);
    bytes += bytes_of(documents.back());
    if (bytes > kMaxHeldBytes) throw_input(str(what, ": holds more than ", kMaxHeldBytes >> 20, " MiB of text"));
  }
  return documents;
}

}  // namespace arkit::calibration
