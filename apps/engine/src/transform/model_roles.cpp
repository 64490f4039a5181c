#include "transform/model_roles.h"

#include <string>
#include <variant>

#include <arkit/error.h>
#include <arkit/str.h>

namespace arkit {
namespace {

// What is asked for a model, and which block of it is looked at.
struct Purpose {
  std::string_view what;
  const ModelLayout& layout;
  const BlockLayout* block = nullptr;

  [[noreturn]] void refuse(const std::string& why) const {
    throw_unsupported(str(what, ": family '", printable(layout.model_type), "', block '",
                          printable(block == nullptr ? "" : block->name), "' ", why,
                          "; expected attention and a gated feed-forward network, each behind one RMSNorm"));
  }
};

void place(const LayerPlan& layer, const Purpose& purpose, BlockRoles& names) {
  std::string* name = nullptr;
  switch (layer.role) {
    case LayerRole::query:
      name = &names.q;
      break;
    case LayerRole::key:
      name = &names.k;
      break;
    case LayerRole::value:
      name = &names.v;
      break;
    case LayerRole::output:
      name = &names.o;
      break;
    case LayerRole::gate:
      name = &names.gate;
      break;
    case LayerRole::up:
      name = &names.up;
      break;
    case LayerRole::down:
      name = &names.down;
      break;
    default:
      break;
  }
  if (name == nullptr || !name->empty()) purpose.refuse(str("has a layer '", printable(layer.name), "' beside these"));
  *name = layer.name;
}

BlockRoles roles_of(const Purpose& purpose, const BlockLayout& block) {
  const auto* dense = std::get_if<Dense>(&block.feed_forward);
  if (!std::holds_alternative<Attention>(block.mixer)) purpose.refuse("has no attention");
  if (dense == nullptr || !dense->gated) purpose.refuse("has no gated feed-forward network");
  const Norms& norms = block.norms;
  if (norms.kind != "rms" || norms.offset != 0.0 || norms.mixer_in.empty() || norms.feed_forward_in.empty() ||
      !norms.mixer_out.empty() || !norms.feed_forward_out.empty())
    purpose.refuse("has other norms");
  BlockRoles names{.attention_norm = norms.mixer_in, .feed_forward_norm = norms.feed_forward_in};
  for (const LayerPlan& layer : block.layers) place(layer, purpose, names);
  for (const std::string* name : {&names.q, &names.k, &names.v, &names.o, &names.gate, &names.up, &names.down})
    if (name->empty()) purpose.refuse("fuses layers that have to be apart");
  return names;
}

}  // namespace

ModelRoles read_roles(const ModelSource& source, const ModelLayout& layout, std::string_view what) {
  Purpose purpose{what, layout};
  if (layout.blocks.empty() || layout.outside.empty())
    purpose.refuse("is not there: the model has no blocks or no head");
  ModelRoles roles{.tied = layout.tokens.tied, .hidden = layout.lists.front().hidden_size};
  for (const BlockLayout& block : layout.blocks) {
    purpose.block = &block;
    roles.blocks.push_back(roles_of(purpose, block));
  }
  roles.intermediate = std::get<Dense>(layout.blocks.front().feed_forward).width;
  roles.head_dim = std::get<Attention>(layout.blocks.front().mixer).value_dim;

  const WeightSource& weights = source.weights();
  const std::string head = layout.outside.front().name + ".weight";
  roles.embedding = layout.tokens.embedding;
  roles.final_norm = layout.tokens.final_norm;
  roles.embedding_origin = weights.find(roles.embedding) != nullptr ? roles.embedding : head;
  roles.head_origin = !roles.tied && weights.find(head) != nullptr ? head : roles.embedding_origin;
  return roles;
}

}  // namespace arkit
