#pragma once
// Importance matrices in llama.cpp's two forms (docs/spec/imatrix.md 1 and 2): the older one (.dat), a list of vectors, and GGUF
// files of sums and counts.

#include <cstddef>
#include <span>
#include <string>

#include <arkit/exporter.h>
#include <arkit/importance_files.h>

#include "gguf_key_values.h"

namespace arkit::gguf {

// Entries by their names in the file, `layer` left empty. `what` names the file, quoted. Throws ErrorCode::input for
// anything malformed; nothing is allocated that the file does not hold.
[[nodiscard]] ImportanceMatrix parse_imatrix(std::span<const std::byte> bytes, const std::string& what);

enum class ImatrixForm { dat, gguf };

// Every entry has a name.
[[nodiscard]] std::string imatrix_bytes(const ImportanceMatrix& matrix, ImatrixForm form);

// The keys that tell which matrix a file's blocks were rounded with.
void put_importance_keys(KeyValues& keys, const ImportanceRecord& record);

// The face of the plugin's reader: forms over the names of the architectures.
class ImatrixFiles : public ImportanceFiles {
 public:
  [[nodiscard]] ImportanceMatrix read_importance(const std::filesystem::path& path,
                                                 const json::Object& config) const override;
  [[nodiscard]] Verdict writes_importance(const std::filesystem::path& name, const json::Object& config) const override;
  [[nodiscard]] std::string write_importance(const ImportanceMatrix& matrix, const std::filesystem::path& name,
                                             const json::Object& config) const override;
};

}  // namespace arkit::gguf
