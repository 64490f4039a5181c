#pragma once
// Layers as bytes that are kept from one start to the next.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include <arkit/sdk/backend.h>

#include "layer_group.h"

namespace arkit::ark {

void write_layers(std::span<const ArkLayer* const> layers, const sdk::BlobSink& sink);
// Throws BackendError for what write_layers did not write, or not for layers of these shapes.
// With `keeper`, which keeps the blob, weights stay in it.
[[nodiscard]] std::vector<ArkLayer> read_layers(std::span<const std::byte> blob, std::span<const sdk::LinearSpec> specs,
                                                const std::shared_ptr<const void>& keeper);

}  // namespace arkit::ark
