#pragma once
// Where a model's tensors and texts come from: a Hugging Face folder (core), a GGUF file or a packed export (format
// plugins). Everything is mapped and read on demand; a source never holds more than what its callers hold.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>

#include <arkit/descriptors.h>
#include <arkit/export.h>
#include <arkit/json.h>

namespace arkit {

using TensorMap =
    std::map<std::string, at::Tensor, std::less<>>;  // suffix or full name -> tensor; which one, the function says

// Largest magnitudes of an attention module's states, f32, [1] or one a head; undefined = not quantized.
struct AttentionRanges {
  std::string module;
  at::Tensor key, value, query;
};

// An orthogonal matrix that turns a layer's input before its product (docs/spec/rotations.md 2): x' = x R, on blocks of
// size() consecutive features. The layer's weight is turned already, so that the product stays the same.
class ARKIT_EXPORT InputRotation {
 public:
  virtual ~InputRotation();
  [[nodiscard]] virtual int64_t size() const = 0;  // divides the layer's in_features
  // x [..., k * size()], any float type -> the same shape and type. Differentiable in x.
  [[nodiscard]] virtual at::Tensor apply(const at::Tensor& x) const = 0;
};

struct TensorInfo {
  std::string name;
  at::ScalarType dtype = at::ScalarType::Undefined;  // dtype that load() gives
  std::string stored_type;                           // as the file spells it: "BF16", "Q4_1"
  std::vector<int64_t> shape;
  int64_t stored_bytes = 0;
  std::string file;  // file name for messages

  [[nodiscard]] ARKIT_EXPORT int64_t numel() const noexcept;
};

// Named tensors, read on demand. Thread-safe for concurrent loads.
class ARKIT_EXPORT WeightSource {
 public:
  virtual ~WeightSource();

  // In the order of the file(s): shard by shard, by offset within a shard.
  [[nodiscard]] std::span<const TensorInfo> tensors() const noexcept;

  // Null when absent.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const noexcept;

  // A read-only view of mapped memory where possible, else a fresh tensor; contiguous, CPU. The view stays valid while
  // the source lives. Throws ErrorCode::input for an unknown name or unreadable data.
  [[nodiscard]] virtual at::Tensor load(std::string_view name) const = 0;

  // Is `name` made of codes by load(), taking more memory than in the file, and by load_rows() a few rows at a time? No,
  // unless overridden.
  [[nodiscard]] virtual bool decodes_rows(std::string_view name) const;
  // Rows first .. first + count - 1 along the first dimension of load(name). Where decodes_rows() says yes only these are
  // decoded, and the pages they came from are given back; else they are cut out of the whole.
  [[nodiscard]] virtual at::Tensor load_rows(std::string_view name, int64_t first, int64_t count) const;

  // The caller is done with `name` for now: mapped pages may be given back to the system. Views stay valid (they fault
  // in again).
  virtual void release(std::string_view name) const noexcept;

 protected:
  // Which tensors there are and where their names lead to: said once, in the constructor, and read by all threads ever
  // after. Of tensors of one name the first counts.
  void set_tensors(std::vector<TensorInfo> tensors);
  void set_tensors(const WeightSource& same);  // those of another source, whose table is shared

 private:
  struct Table;
  std::shared_ptr<const Table> table_;  // null = no tensors
};

// A text file that travels with a model: tokenizer.json, generation_config.json, LICENSE ...
struct CompanionFile {
  std::string name;            // path inside the folder: "tokenizer.json", "1_Pooling/config.json"
  std::filesystem::path path;  // where it lies; empty = `content` holds it (GGUF metadata)
  std::string content;
};

// What only some sources have is a facet of theirs. It lives as long as its source, and once planning is done it is
// always the same.

// The packed linear layers of an export. Their tensors are not reached through weights().load(name.weight).
class ARKIT_EXPORT PackedLayers {
 public:
  virtual ~PackedLayers();
  [[nodiscard]] virtual std::span<const LinearSpec> layers() const = 0;
  // Tensors of one layer by suffix ("qweight", "scales" ...). Throws ErrorCode::input for an unknown layer.
  [[nodiscard]] virtual TensorMap tensors(std::string_view layer) const = 0;
  // Exact dequantized codes of a layer. Throws ErrorCode::input for an unknown layer.
  [[nodiscard]] virtual struct QuantizedWeight unpack(std::string_view layer) const = 0;
};

// Static scales of attention modules.
class ARKIT_EXPORT AttentionScales {
 public:
  virtual ~AttentionScales();
  [[nodiscard]] virtual std::span<const AttentionSpec> modules() const = 0;
  // What the scales of one of them stand for. Throws ErrorCode::input for an unknown module.
  [[nodiscard]] virtual AttentionRanges ranges(std::string_view module) const = 0;
};

// Which rotations a checkpoint needs at run time (docs/spec/rotations.md 6); formats render it in words of their own.
// Of single layers, each on its own:
struct LayerRotations {
  int64_t block_size = 0;     // consecutive features that turn together
  bool random_signs = false;  // else the matrix follows from block_size
  std::vector<std::string> left_alone;
  bool operator==(const LayerRotations&) const = default;
};
// Of the model: R1 to R4, those that are in the weights included.
struct ModelRotations {
  bool r1 = true, r2 = true, r3 = false, r4 = false;
  bool online_r1 = true;                 // false: in the weights
  std::optional<int64_t> rotation_size;  // block of R1 and R4; unset = all features
  bool random_r1 = false, random_r2 = false, random_r4 = false;
  int64_t head_dim = 0, hidden_size = 0, intermediate_size = 0;  // 0 = the checkpoint does not say
  bool operator==(const ModelRotations&) const = default;
};
using RotationRecord = std::variant<LayerRotations, ModelRotations>;

// What turns the input of one layer, x' = x R, as formats store it.
struct StoredRotation {
  enum class Place { layer, r1, r4 };
  Place place = Place::layer;
  int64_t size = 0;
  // [size, size]. i8 of +1 and -1: R = matrix / sqrt(size). f32: R. Undefined: R is rebuilt from its size.
  at::Tensor matrix;
};

// What a rotated checkpoint leaves for run time.
class ARKIT_EXPORT Rotations {
 public:
  virtual ~Rotations();
  // What turns the input of a linear layer; null = nothing. Model adapters put it into Linear::rotation.
  [[nodiscard]] virtual std::shared_ptr<const InputRotation> of_input(std::string_view layer) const = 0;
  // What turns queries and keys after RoPE (R3); null = nothing.
  [[nodiscard]] virtual std::shared_ptr<const InputRotation> of_query_key() const = 0;
  [[nodiscard]] virtual const RotationRecord& record() const = 0;
  // Nothing for layers whose input stays as it is.
  [[nodiscard]] virtual std::optional<StoredRotation> stored(std::string_view layer) const = 0;
};

// The texts of a tokenizer. A model may bring one of them alone.
class ARKIT_EXPORT TokenizerTexts {
 public:
  virtual ~TokenizerTexts();
  // tokenizer.json, or its equivalent; empty = none.
  [[nodiscard]] virtual std::string tokenizer_json() const = 0;
  // tokenizer_config.json as parsed (bos/eos/pad tokens, chat_template); an empty object = none.
  [[nodiscard]] virtual json::Object tokenizer_config() const = 0;
};

// An opened model: configuration, tensors, texts. Decorators derive from sdk::ForwardingSource.
class ARKIT_EXPORT ModelSource {
 public:
  virtual ~ModelSource();

  [[nodiscard]] virtual std::string kind() const = 0;  // "safetensors", "gguf", "auto_round:auto_gptq" ... for people
  [[nodiscard]] virtual const std::filesystem::path& path() const = 0;  // folder or file it was opened from
  [[nodiscard]] virtual const json::Object& config() const = 0;  // config.json, or its equivalent made from metadata
  [[nodiscard]] virtual const WeightSource& weights() const = 0;
  // Files an export carries along, in a fixed order. config.json, weights and indexes are not among them.
  [[nodiscard]] virtual std::vector<CompanionFile> companions() const = 0;

  // Facets; null = it has none, which is the default.
  [[nodiscard]] virtual const PackedLayers* packed() const;
  [[nodiscard]] virtual const AttentionScales* attention_scales() const;
  [[nodiscard]] virtual const Rotations* rotations() const;
  [[nodiscard]] virtual const TokenizerTexts* tokenizer() const;

  // The same model without packed layers: their weights are among weights(), as the file's own arithmetic gives them. It
  // lives no longer than this. Null, which is the default: those who want numbers dequantize what packed() unpacks.
  [[nodiscard]] virtual std::unique_ptr<ModelSource> plain() const;
};

struct ReaderInfo {
  std::string_view name;
  std::string_view summary;
};

// The reading half of a format plugin: recognises a path and opens it.
class ARKIT_EXPORT ModelReader {
 public:
  virtual ~ModelReader();
  [[nodiscard]] virtual const ReaderInfo& info() const noexcept = 0;
  // Strict and quiet: "not mine" is no error. A folder is given with its parsed config.json, a file with null.
  [[nodiscard]] virtual Verdict matches(const std::filesystem::path& path, const json::Object* config) const = 0;
  // Throws ErrorCode::input for "mine, but broken", ErrorCode::unsupported for "mine, but not this variant".
  [[nodiscard]] virtual std::unique_ptr<ModelSource> open(const std::filesystem::path& path) const = 0;
};

// A plain Hugging Face folder: config.json and one or several safetensors files (F64 F32 F16 BF16 F8 and integer
// types), headers and index checked (docs/spec/checkpoints.md 1). Pickle weights are refused. This is what
// readers of packed exports build on.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<ModelSource> open_hf_folder(const std::filesystem::path& folder);

// Only the tensors of a .safetensors file or of a folder with shards and index.
[[nodiscard]] ARKIT_EXPORT std::unique_ptr<WeightSource> open_safetensors(const std::filesystem::path& file_or_folder);

}  // namespace arkit
