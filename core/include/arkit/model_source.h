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
  [[nodiscard]] virtual std::span<const TensorInfo> tensors() const = 0;

  // Null when absent.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const;

  // A read-only view of mapped memory where possible, else a fresh tensor; contiguous, CPU. The view stays valid while
  // the source lives. Throws ErrorCode::input for an unknown name or unreadable data.
  [[nodiscard]] virtual at::Tensor load(std::string_view name) const = 0;

  // The caller is done with `name` for now: mapped pages may be given back to the system. Views stay valid (they fault
  // in again).
  virtual void release(std::string_view name) const noexcept;

 private:
  mutable std::map<std::string, size_t, std::less<>> index_;  // built on first find()
};

// A text file that travels with a model: tokenizer.json, generation_config.json, LICENSE ...
struct CompanionFile {
  std::string name;            // path inside the folder: "tokenizer.json", "1_Pooling/config.json"
  std::filesystem::path path;  // where it lies; empty = `content` holds it (GGUF metadata)
  std::string content;
};

// An opened model: configuration, tensors, texts.
class ARKIT_EXPORT ModelSource {
 public:
  virtual ~ModelSource();

  [[nodiscard]] virtual std::string kind() const = 0;  // "safetensors", "gguf", "auto_round:auto_gptq" ... for people
  [[nodiscard]] virtual const std::filesystem::path& path() const = 0;  // folder or file it was opened from
  [[nodiscard]] virtual const json::Object& config() const = 0;  // config.json, or its equivalent made from metadata
  [[nodiscard]] virtual const WeightSource& weights() const = 0;

  // tokenizer.json text, or its equivalent; empty = the model brings none.
  [[nodiscard]] virtual std::string tokenizer_json() const = 0;
  // tokenizer_config.json as parsed (bos/eos/pad tokens, chat_template); an empty object when there is none.
  [[nodiscard]] virtual json::Object tokenizer_config() const = 0;
  // Files an export carries along, in a fixed order. config.json, weights and indexes are not among them.
  [[nodiscard]] virtual std::vector<CompanionFile> companions() const = 0;

  // Packed linear layers of an export; empty for a plain model. Their tensors are not reached through
  // weights().load(name.weight).
  [[nodiscard]] virtual std::span<const LinearSpec> packed_layers() const;
  // Tensors of one packed layer by suffix ("qweight", "scales" ...). Throws ErrorCode::input for an unknown layer.
  [[nodiscard]] virtual TensorMap packed_tensors(std::string_view layer) const;
  // Exact dequantized codes of a packed layer. Throws ErrorCode::input for an unknown layer.
  [[nodiscard]] virtual struct QuantizedWeight unpack(std::string_view layer) const;

  // Attention modules with static scales; empty for most sources.
  [[nodiscard]] virtual std::span<const AttentionSpec> attention_specs() const;
  // What the scales of one of them stand for. Throws ErrorCode::input for an unknown module.
  [[nodiscard]] virtual AttentionRanges attention_ranges(std::string_view module) const;

  // What turns the input of a linear layer; null for most layers of most sources. Model adapters put it into
  // Linear::rotation.
  [[nodiscard]] virtual std::shared_ptr<const InputRotation> input_rotation(std::string_view layer) const;
  // What turns queries and keys after RoPE (R3); null = nothing.
  [[nodiscard]] virtual std::shared_ptr<const InputRotation> query_key_rotation() const;
  // How formats record the rotations: members of quantization_config ("rotation_config", "spinquant_config"); empty =
  // the source is not rotated, or in a way that needs nothing at run time.
  [[nodiscard]] virtual json::Object rotation_config() const;
  // Tensors a packed layer carries for its rotation, by suffix ("hadamard_matrix", "spinquant_r1_size" ...).
  [[nodiscard]] virtual TensorMap rotation_tensors(std::string_view layer) const;
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
