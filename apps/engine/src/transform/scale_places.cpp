#include "transform/scale_places.h"

#include <algorithm>
#include <map>
#include <string>
#include <variant>

#include <arkit/error.h>
#include <arkit/sdk/forwarding_source.h>
#include <arkit/str.h>

#include "transform/model_roles.h"

namespace arkit {

std::vector<ScalePlace> scale_places(const ModelSource& source, const ModelLayout& layout) {
  const ModelRoles roles = read_roles(source, layout, "scaling channels");
  std::map<std::string, LayerPlan> layers;
  for (LayerPlan& layer : layout.linears()) layers.emplace(layer.name, std::move(layer));

  std::vector<ScalePlace> places;
  const auto turned = [&](const std::string& layer) { return sdk::input_rotation(source, layer) != nullptr; };
  const auto add = [&](ScalePlace place) {
    if (std::any_of(place.into.begin(), place.into.end(), turned)) return;
    const LayerPlan& reader = layers.at(place.into.front());
    place.channels = place.from_norm ? reader.in_features : layers.at(place.from).out_features;
    if (place.channels * place.repeats == reader.in_features) places.push_back(std::move(place));
  };
  for (size_t i = 0; i < roles.blocks.size(); ++i) {
    const BlockRoles& block = roles.blocks[i];
    const auto index = static_cast<int64_t>(i);
    const auto& attention = std::get<Attention>(layout.blocks[i].mixer);
    add({.block = index,
         .from = block.attention_norm,
         .from_norm = true,
         .into = {block.q, block.k, block.v},
         .measured = block.o});
    // Each head of values is read by as many heads of queries as share it.
    add({.block = index,
         .from = block.v,
         .into = {block.o},
         .measured = block.o,
         .heads = attention.kv_heads,
         .repeats = attention.heads / attention.kv_heads});
    add({.block = index,
         .from = block.feed_forward_norm,
         .from_norm = true,
         .into = {block.gate, block.up},
         .measured = block.down});
    add({.block = index, .from = block.up, .into = {block.down}, .measured = block.down});
  }
  return places;
}

}  // namespace arkit
