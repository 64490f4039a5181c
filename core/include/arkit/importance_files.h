#pragma once
// A second face of a ModelReader whose programs exchange importance matrices: files that say of each linear layer how
// much its inputs count (docs/spec/imatrix.md 1). Found by dynamic_cast.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

// What one matrix saw, or a stack of experts.
struct ImportanceEntry {
  std::string name;   // as the file calls the matrix: "blk.0.attn_q.weight"; empty = by its layer
  std::string layer;  // of the model: "model.layers.0.self_attn.q_proj"; empty = none of its layers
  at::Tensor sums;    // f32 [matrices, in], sum of x^2 over all tokens, finite and not negative
  at::Tensor counts;  // f32 [matrices], tokens; 0 = no token came
};

struct ImportanceMatrix {
  std::vector<ImportanceEntry> entries;
  std::vector<std::string> datasets;  // names of what the samples were taken from
  int64_t chunks = 0;                 // samples; 0 = not said
  int64_t chunk_tokens = 1;           // tokens of each
};

class ARKIT_EXPORT ImportanceFiles {
 public:
  virtual ~ImportanceFiles();
  // Which of the forms a file has is told from its bytes. `config` is the model's config.json: layers have the names
  // they have in its checkpoint. Throws ErrorCode::input for a file that holds no such matrix or a damaged one,
  // ErrorCode::unsupported for a model whose layers have no names in such files.
  [[nodiscard]] virtual ImportanceMatrix read_importance(const std::filesystem::path& path,
                                                         const json::Object& config) const = 0;
  // May write_importance be asked? `name` is the file's, whose ending says the form.
  [[nodiscard]] virtual Verdict writes_importance(const std::filesystem::path& name,
                                                  const json::Object& config) const = 0;
  // The bytes of a file. Throws ErrorCode::unsupported for a layer without a name.
  [[nodiscard]] virtual std::string write_importance(const ImportanceMatrix& matrix, const std::filesystem::path& name,
                                                     const json::Object& config) const = 0;
};

}  // namespace arkit
