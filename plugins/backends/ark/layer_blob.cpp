#include "layer_blob.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "layer_codes.h"

namespace arkit::ark {
namespace {

// A blob: this, then for each layer the sizes in bytes of weight, bias, order and rounding, and these four; each part fills up to
// the next multiple of 64 bytes, so that weights can be used where they lie.
constexpr char kMagic[8] = {'a', 'r', 'k', 'l', 'i', 'n', '0', '2'};
struct BlobHead {
  char magic[8];
  uint64_t layers;
};

size_t filled(size_t bytes) {
  return (bytes + kLine - 1) / kLine * kLine;
}

void put(const sdk::BlobSink& sink, std::span<const std::byte> part) {
  static constexpr std::byte kNothing[kLine] = {};
  sink.write(part);
  sink.write(std::span(kNothing).first(filled(part.size()) - part.size()));
}

[[noreturn]] void bad_blob() {
  throw sdk::BackendError(ARKIT_BAD_INPUT, "the kept weights are damaged");
}

std::span<const std::byte> taken(std::span<const std::byte>& blob, size_t count) {
  if (count > blob.size()) bad_blob();
  const std::span<const std::byte> part = blob.first(count);
  blob = blob.subspan(std::min(blob.size(), filled(count)));
  return part;
}

template <typename T>
std::vector<T> values_of(std::span<const std::byte> bytes) {
  if (bytes.size() % sizeof(T) != 0) bad_blob();
  std::vector<T> values(bytes.size() / sizeof(T));
  std::memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

}  // namespace

void write_layers(std::span<const ArkLayer* const> layers, const sdk::BlobSink& sink) {
  BlobHead head{};
  std::copy(std::begin(kMagic), std::end(kMagic), head.magic);
  head.layers = layers.size();
  put(sink, std::as_bytes(std::span(&head, 1)));
  for (const ArkLayer* layer : layers) {
    const std::span<const std::byte> parts[] = {layer->weight.bytes(), std::as_bytes(std::span(layer->bias)),
                                                std::as_bytes(std::span(layer->order)),
                                                std::as_bytes(std::span(&layer->rounding, 1))};
    const uint64_t sizes[] = {parts[0].size(), parts[1].size(), parts[2].size(), parts[3].size()};
    put(sink, std::as_bytes(std::span(sizes)));
    for (const std::span<const std::byte> part : parts) put(sink, part);
  }
}

std::vector<ArkLayer> read_layers(std::span<const std::byte> blob, std::span<const sdk::LinearSpec> specs,
                                  const std::shared_ptr<const void>& keeper) {
  BlobHead head{};
  std::memcpy(&head, taken(blob, sizeof(head)).data(), sizeof(head));
  if (!std::equal(std::begin(kMagic), std::end(kMagic), head.magic) || head.layers != specs.size()) bad_blob();
  std::vector<ArkLayer> layers;
  for (const sdk::LinearSpec& spec : specs) {
    uint64_t sizes[4];
    std::memcpy(sizes, taken(blob, sizeof(sizes)).data(), sizeof(sizes));
    ArkLayer layer{PackedWeight(taken(blob, sizes[0]), keeper),
                   values_of<float>(taken(blob, sizes[1])),
                   values_of<int32_t>(taken(blob, sizes[2])),
                   {}};
    const std::vector<Rounding> rounding = values_of<Rounding>(taken(blob, sizes[3]));
    if (rounding.size() != 1) bad_blob();
    layer.rounding = rounding.front();
    Rounding wanted;  // but for a limit, which is the file's
    if (layer.weight.view().kind != CodeKind::integer)
      wanted = rounding_of(spec.activation, spec.in_features).value_or(wanted);
    wanted.limit = layer.rounding.limit;
    const bool fixed = wanted.kind != Rounding::none && !spec.activation.dynamic;
    if (wanted != layer.rounding || fixed != (wanted.limit > 0) ||
        (layer.weight.view().kind != CodeKind::integer) != is_float8(spec.weight))
      bad_blob();
    if (layer.weight.out_features() != spec.out_features || layer.weight.blocks().in_features != spec.in_features ||
        layer.bias.size() != (spec.has_bias ? static_cast<size_t>(spec.out_features) : 0) ||
        (!layer.order.empty() && layer.order.size() != static_cast<size_t>(spec.in_features)))
      bad_blob();
    for (const int32_t column : layer.order)
      if (column < 0 || column >= spec.in_features) bad_blob();
    layers.push_back(std::move(layer));
  }
  if (!blob.empty()) bad_blob();
  return layers;
}

}  // namespace arkit::ark
