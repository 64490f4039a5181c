#pragma once
// Prepared layers on disk, so that a second start need not repack: one file for what runs as one, named by a hash of
// everything it follows from: the packed tensors byte for byte, how they are quantized, the plugin and its version, and
// what the backend says its layout depends on. A file is used only if all of it is what was written, and is written
// again otherwise; several processes may write at once.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include <ATen/core/Tensor.h>

#include <arkit/inference_backend.h>
#include <arkit/log.h>
#include <arkit/registry.h>

namespace arkit {

// Of one source.
class PreparedCache {
 public:
  // Makes the folder where it is not there. `registry` and `reporter` outlive the cache. Throws ErrorCode::resource for
  // a folder that cannot be made, ErrorCode::input for one that is none or that anybody may write into.
  PreparedCache(std::filesystem::path folder, const Registry& registry, Reporter& reporter);

  // As InferenceBackend::make_linears, from the file where there is one, else from weights, and then there is one.
  [[nodiscard]] std::unique_ptr<QuantLinear> prepare(const InferenceBackend& backend,
                                                     std::span<const LayerWeights> layers, size_t device,
                                                     at::ScalarType compute_dtype);

  // As InferenceBackend::make_block, in the same way.
  [[nodiscard]] std::unique_ptr<QuantBlock> prepare(const InferenceBackend& backend, const BlockWeights& block,
                                                    size_t device, at::ScalarType compute_dtype);

  [[nodiscard]] int64_t used() const noexcept { return used_; }        // files that layers were made of
  [[nodiscard]] int64_t written() const noexcept { return written_; }  // and those that are new

 private:
  // make(blob) -> std::unique_ptr<Unit>; `kind` tells units of the same layers apart.
  template <typename Unit>
  [[nodiscard]] std::unique_ptr<Unit> prepared(std::string_view kind, const InferenceBackend& backend,
                                               std::span<const LayerWeights> layers, size_t device,
                                               at::ScalarType compute_dtype,
                                               const std::function<std::unique_ptr<Unit>(const at::Tensor&)>& make);
  [[nodiscard]] std::string key_of(std::string_view kind, const InferenceBackend& backend,
                                   std::span<const LayerWeights> layers, size_t device,
                                   at::ScalarType compute_dtype) const;
  [[nodiscard]] std::filesystem::path file_of(const std::string& key) const;
  [[nodiscard]] at::Tensor load(const std::string& key) const;
  void store(const std::string& key, const PreparedUnit& prepared);
  void forget_abandoned() const;

  std::filesystem::path folder_;
  const Registry& registry_;
  Reporter& reporter_;
  std::map<std::string, std::string> keys_;  // by device and names of layers
  int64_t used_ = 0, written_ = 0;
  bool writes_ = true;  // until it fails
};

}  // namespace arkit
