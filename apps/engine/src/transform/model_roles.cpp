#include "transform/model_roles.h"

#include <algorithm>
#include <memory>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/str.h>

namespace arkit {
namespace {

constexpr std::string_view kHead = "lm_head";

// What is asked for a model, of which family.
struct Purpose {
  std::string_view what;
  std::string family;
};

[[noreturn]] void refuse(const Purpose& purpose, const std::string& why) {
  throw_unsupported(str(purpose.what, ": family '", printable(purpose.family), "' ", why,
                        "; families that allow it: ", quoted_list(transformed_families())));
}

// Fills `names` from the layers of one block.
void place(const LayerPlan& layer, const Purpose& purpose, BlockRoles& names) {
  struct Place {
    std::string_view ending;
    std::string BlockRoles::*member;
  };
  static constexpr Place kPlaces[] = {{".self_attn.q_proj", &BlockRoles::q}, {".self_attn.k_proj", &BlockRoles::k},
                                      {".self_attn.v_proj", &BlockRoles::v}, {".self_attn.o_proj", &BlockRoles::o},
                                      {".mlp.gate_proj", &BlockRoles::gate}, {".mlp.up_proj", &BlockRoles::up},
                                      {".mlp.down_proj", &BlockRoles::down}};
  for (const Place& p : kPlaces)
    if (layer.name.ends_with(p.ending)) {
      names.*(p.member) = layer.name;
      return;
    }
  refuse(purpose, str("has a layer '", layer.name, "' of unknown place in its block"));
}

}  // namespace

const std::vector<std::string>& transformed_families() {
  static const std::vector<std::string> kFamilies = {"llama", "mistral", "qwen2", "qwen3"};
  return kFamilies;
}

namespace {

Purpose purpose_of(const ModelSource& source, std::string_view what) {
  return {what, json::get_string(source.config(), "model_type", "config.json").value_or("")};
}

void require_known(const Purpose& purpose) {
  const std::vector<std::string>& known = transformed_families();
  if (std::find(known.begin(), known.end(), purpose.family) == known.end()) refuse(purpose, "is not known to allow it");
}

}  // namespace

ModelRoles read_roles(const ModelSource& source, const Registry& registry, std::string_view what) {
  require_known(purpose_of(source, what));
  const std::unique_ptr<Model> model = adapter_for(source, registry).open(source, at::kBFloat16);
  return read_roles(source, *model, what);
}

ModelRoles read_roles(const ModelSource& source, const Model& opened, std::string_view what) {
  const Purpose purpose = purpose_of(source, what);
  require_known(purpose);
  const Model* const model = &opened;

  ModelRoles layout;
  layout.hidden = model->hidden_size();
  layout.tied = model->tied_embeddings();
  layout.blocks.resize(static_cast<size_t>(model->num_blocks()));
  for (const LayerPlan& layer : model->linears()) {
    if (layer.block < 0) continue;
    BlockRoles& names = layout.blocks.at(static_cast<size_t>(layer.block));
    place(layer, purpose, names);
    if (layer.name == names.down) layout.intermediate = layer.in_features;
  }
  for (int64_t block = 0; block < model->num_blocks(); ++block) {
    BlockRoles& names = layout.blocks[static_cast<size_t>(block)];
    names.attention_norm = model->block_name(block) + ".input_layernorm.weight";
    names.feed_forward_norm = model->block_name(block) + ".post_attention_layernorm.weight";
    for (const std::string* name : {&names.q, &names.k, &names.v, &names.o, &names.gate, &names.up, &names.down})
      if (name->empty()) refuse(purpose, str("has a block ", block, " without all of q, k, v, o, gate, up and down"));
  }
  const auto attentions = model->attentions();
  if (attentions.empty()) refuse(purpose, "does not say what its attention heads are");
  layout.head_dim = attentions.front().value_dim;

  const WeightSource& weights = source.weights();
  const std::string prefix = weights.find("model.norm.weight") != nullptr ? "model." : "";
  layout.embedding = prefix + "embed_tokens.weight";
  layout.final_norm = prefix + "norm.weight";
  const std::string head = str(kHead, ".weight");
  layout.embedding_origin = weights.find(layout.embedding) != nullptr ? layout.embedding : head;
  layout.head_origin = !layout.tied && weights.find(head) != nullptr ? head : layout.embedding_origin;
  return layout;
}

}  // namespace arkit
