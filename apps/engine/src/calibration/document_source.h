#pragma once
// The documents of a data set, in the order the reference looks at them: files of a folder or of a hub, rows of the
// files, filters, texts, orders (docs/spec/calibration.md 2 and 7). Rows are read when documents are asked for; what
// must be whole to be shuffled is fetched into the hub's cache, the rest is read by ranges.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <arkit/export.h>
#include <arkit/json.h>
#include <arkit/log.h>

#include "calibration/dataset_registry.h"
#include "calibration/text_rule.h"
#include "hub/hub.h"

namespace arkit::calibration {

// What was read, for the run record.
struct SourceReport {
  std::string hub_id, commit;  // empty for local files
  std::string config;          // empty where there is none
  std::vector<std::string> splits;
  std::vector<std::string> files;  // read, in this order; paths of this machine for local ones
  std::string text;                // what documents were made of: "field 'text'"
  int64_t rows = 0;                // looked at, with those the filters dropped
  int64_t bytes = 0;               // read from the files
};

struct SourceOptions {
  std::string name;  // for messages
  uint64_t seed = 42;
  int64_t take = 0;         // documents, where the description allows fewer than are wanted; 0 = as it says
  bool modelscope = false;  // which of the two ids counts
  bool trim = false;        // white space at the end of texts, as the reference does for local files
};

class ARKIT_EXPORT DocumentSource {
 public:
  // Lists and chooses files; reads none. `hub` and `reporter` outlive the source. Throws ErrorCode::input and usage.
  DocumentSource(KnownDataset dataset, SourceOptions options, hub::Hub& hub, Reporter& reporter);
  ~DocumentSource();

  // Throws ErrorCode::input for damaged data, for a data set too large to be shuffled as a whole (1 GiB of text), and
  // where filters keep none of a million rows.
  [[nodiscard]] std::optional<Document> next();
  [[nodiscard]] SourceReport report() const;

 private:
  class Rows;
  using Next = std::function<std::optional<Document>()>;
  [[nodiscard]] Next shuffled(Next in, Shuffle order);

  std::string what_;
  SourceOptions options_;
  std::unique_ptr<Rows> rows_;
  Next next_;
};

// All documents of one local file, in its order; white space at their ends goes. Throws as DocumentSource does.
[[nodiscard]] ARKIT_EXPORT std::vector<Document> read_documents(const std::filesystem::path& file);

}  // namespace arkit::calibration
