#include "inference/prepared_cache.h"

#include <cerrno>
#include <chrono>
#include <cstdio>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/stat.h>
#include <unistd.h>

#include <ATen/ATen.h>

#include <arkit/error.h>
#include <arkit/json.h>
#include <arkit/mapped_file.h>
#include <arkit/part_file.h>
#include <arkit/str.h>

#include "quant/quant_key.h"
#include "util/sha256.h"

namespace arkit {
namespace fs = std::filesystem;

namespace {

// A file: one page that begins with header_of(), zeros to its end, then the blob, which so lies aligned.
constexpr size_t kPage = 4096;
constexpr std::string_view kSuffix = ".prepared", kNew = ".new";
constexpr std::chrono::hours kAbandoned{1};

std::string header_of(const std::string& key, uint64_t bytes, const std::string& hash) {
  return str("arkit prepared layers 1\nkey ", key, "\nbytes ", bytes, "\nsha256 ", hash, "\n");
}

std::string hash_of(std::span<const std::byte> bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.hex();
}

std::span<const std::byte> bytes_of(const at::Tensor& tensor) {
  return {static_cast<const std::byte*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// The plugin of a backend: "id version".
std::string plugin_of(const Registry& registry, std::string_view backend) {
  for (const PluginEntry& plugin : registry.plugins())
    for (const ComponentEntry& component : plugin.components)
      if (component.kind == Kind::backend && component.name == backend && !component.shadowed)
        return str(plugin.id, " ", plugin.version);
  return {};
}

json::Object layer_key(const LayerWeights& layer) {
  json::Array tensors;
  for (const auto& [suffix, tensor] : layer.packed)
    tensors.push_back(json::Array{suffix, c10::toString(tensor.scalar_type()),
                                  json::Array(tensor.sizes().begin(), tensor.sizes().end())});
  return {{"packing", layer.spec.packing},
          {"shape", json::Array{layer.spec.out_features, layer.spec.in_features, layer.spec.has_bias}},
          {"quant", quant_key(layer.spec.quant)},
          {"tensors", std::move(tensors)}};
}

}  // namespace

PreparedCache::PreparedCache(fs::path folder, const Registry& registry, Reporter& reporter)
    : folder_(std::move(folder)), registry_(registry), reporter_(reporter) {
  std::error_code failed;
  fs::create_directories(folder_, failed);
  struct stat state {};
  if (::stat(folder_.c_str(), &state) != 0)
    throw_resource(
        str("'", folder_.string(), "': the folder for prepared layers cannot be made (", failed.message(), ")"));
  if (!S_ISDIR(state.st_mode))
    throw_input(str("'", folder_.string(), "': is no folder; expected one for prepared layers"));
  if ((state.st_mode & S_IWOTH) != 0)
    throw_input(str("'", folder_.string(),
                    "': anybody may write into this folder, and prepared layers in it would be "
                    "run; name a folder of your own, or 'chmod o-w' it"));
  forget_abandoned();
}

// What processes that were killed left while they wrote.
void PreparedCache::forget_abandoned() const {
  std::error_code failed, ignored;
  const auto now = fs::file_time_type::clock::now();
  for (fs::directory_iterator it(folder_, failed), end; !failed && it != end; it.increment(failed)) {
    const std::string name = it->path().filename().string();
    if (!name.ends_with(kNew) && !name.ends_with(str(kNew, kPartSuffix))) continue;
    const auto written = it->last_write_time(ignored);
    if (!ignored && now - written > kAbandoned) fs::remove(it->path(), ignored);
  }
}

std::string PreparedCache::key_of(std::string_view kind, const InferenceBackend& backend,
                                  std::span<const LayerWeights> layers, size_t device,
                                  at::ScalarType compute_dtype) const {
  std::vector<const LinearSpec*> specs;
  json::Array described;
  for (const LayerWeights& layer : layers) {
    if (layer.packed.empty()) return {};  // what the layer is made of cannot be seen
    specs.push_back(&layer.spec);
    described.push_back(layer_key(layer));
  }
  const std::string compatibility = backend.blob_compatibility(specs, device);
  if (compatibility.empty()) return {};
  const json::Object key{{"arkit", ARKIT_VERSION},
                         {"kind", kind},
                         {"backend", backend.info().name},
                         {"plugin", plugin_of(registry_, backend.info().name)},
                         {"device", backend.devices()[device].kind},
                         {"compatibility", compatibility},
                         {"dtype", c10::toString(compute_dtype)},
                         {"layers", std::move(described)}};
  Sha256 hash;
  hash.update(json::dump(key, 0, true));
  for (const LayerWeights& layer : layers)
    for (const auto& [suffix, tensor] : layer.packed) hash.update(bytes_of(tensor.contiguous()));
  return hash.hex();
}

fs::path PreparedCache::file_of(const std::string& key) const {
  return folder_ / str(key, kSuffix);
}

at::Tensor PreparedCache::load(const std::string& key) const {
  const fs::path path = file_of(key);
  std::error_code absent;
  if (!fs::exists(path, absent)) return {};
  try {
    auto file = std::make_shared<const MappedFile>(path);
    if (file->bytes().size() <= kPage) throw_input("it is cut short");
    const std::span<const std::byte> blob = file->bytes().subspan(kPage);
    const std::string header = header_of(key, blob.size(), hash_of(blob));
    if (!file->text().starts_with(header)) throw_input("its content is not what was written");
    // Nobody writes through it; a tensor has no type for that.
    return at::from_blob(
        const_cast<std::byte*>(blob.data()), {static_cast<int64_t>(blob.size())},
        [file](void*) mutable { file.reset(); }, at::kByte);
  } catch (const Error& failure) {
    if (failure.code() == ErrorCode::interrupted) throw;
    if (fs::exists(path, absent))  // else somebody has just removed it
      reporter_.warn(str("prepared layers in '", path.string(), "' are not used and written again: ", failure.what()));
    return {};
  }
}

// Under a name of its own first: two processes may have the same layers to write, and whoever is last has the same.
void PreparedCache::store(const std::string& key, const PreparedUnit& prepared) {
  if (!writes_) return;
  try {
    const fs::path mine = folder_ / str(key, ".", ::getpid(), kNew);
    PartFile file(mine);
    Sha256 hash;
    uint64_t bytes = 0;
    prepared.save([&](std::span<const std::byte> piece) {
      file.write_at(static_cast<int64_t>(kPage + bytes), piece.data(), static_cast<int64_t>(piece.size()));
      hash.update(piece);
      bytes += piece.size();
    });
    if (bytes == 0) return;
    std::string header = header_of(key, bytes, hash.hex());
    header.resize(kPage, '\0');
    file.write_at(0, header.data(), static_cast<int64_t>(header.size()));
    file.sync();
    file.commit();
    if (std::rename(mine.c_str(), file_of(key).c_str()) != 0) {
      const int error_number = errno;
      ::unlink(mine.c_str());
      throw_io(file_of(key), "renaming the finished file", error_number);
    }
    ++written_;
  } catch (const Error& failure) {
    if (failure.code() == ErrorCode::interrupted) throw;
    writes_ = false;
    reporter_.warn(str("prepared layers are not kept for the next start: ", failure.what()));
  }
}

template <typename Unit>
std::unique_ptr<Unit> PreparedCache::prepared(std::string_view kind, const InferenceBackend& backend,
                                              std::span<const LayerWeights> layers, size_t device,
                                              at::ScalarType compute_dtype,
                                              const std::function<std::unique_ptr<Unit>(const at::Tensor&)>& make) {
  // Sources do not change: blocks that come and go are hashed once.
  std::string names = str(kind, " ", c10::toString(compute_dtype), " ", device);
  for (const LayerWeights& layer : layers) names += str("\n", layer.spec.name);
  const auto [known, is_new] = keys_.try_emplace(std::move(names));
  if (is_new) known->second = key_of(kind, backend, layers, device, compute_dtype);
  const std::string& key = known->second;
  if (key.empty()) return make({});
  if (const at::Tensor blob = load(key); blob.defined()) {
    try {
      auto prepared = make(blob);
      ++used_;
      return prepared;
    } catch (const Error& failure) {
      if (failure.code() == ErrorCode::interrupted || failure.code() == ErrorCode::resource) throw;
      reporter_.warn(
          str("prepared layers in '", file_of(key).string(), "' are not used and written again: ", failure.what()));
    }
  }
  auto prepared = make({});
  store(key, *prepared);
  return prepared;
}

std::unique_ptr<QuantLinear> PreparedCache::prepare(const InferenceBackend& backend,
                                                    std::span<const LayerWeights> layers, size_t device,
                                                    at::ScalarType compute_dtype) {
  return prepared<QuantLinear>("layers", backend, layers, device, compute_dtype, [&](const at::Tensor& blob) {
    return backend.make_linears(layers, device, compute_dtype, blob);
  });
}

std::unique_ptr<QuantBlock> PreparedCache::prepare(const InferenceBackend& backend, const BlockWeights& block,
                                                   size_t device, at::ScalarType compute_dtype) {
  return prepared<QuantBlock>("block", backend, block.layers, device, compute_dtype, [&](const at::Tensor& blob) {
    return backend.make_block(block, device, compute_dtype, blob);
  });
}

}  // namespace arkit
