#include "rotation/decoder_layout.h"

#include <algorithm>
#include <memory>

#include <arkit/engine/open_source.h>
#include <arkit/error.h>
#include <arkit/model_adapter.h>
#include <arkit/str.h>

namespace arkit::rotation {
namespace {

constexpr std::string_view kHead = "lm_head";

[[noreturn]] void refuse(const std::string& family, const std::string& why) {
  throw_unsupported(str("rotation of the whole model: family '", printable(family), "' ", why,
                        "; families that can be rotated: ", quoted_list(rotated_families()),
                        ". 'hadamard' rotates the inputs of single layers"));
}

// Fills `names` from the layers of one block.
void place(const LayerPlan& layer, const std::string& family, BlockNames& names) {
  struct Place {
    std::string_view ending;
    std::string BlockNames::*member;
  };
  static constexpr Place kPlaces[] = {{".self_attn.q_proj", &BlockNames::q}, {".self_attn.k_proj", &BlockNames::k},
                                      {".self_attn.v_proj", &BlockNames::v}, {".self_attn.o_proj", &BlockNames::o},
                                      {".mlp.gate_proj", &BlockNames::gate}, {".mlp.up_proj", &BlockNames::up},
                                      {".mlp.down_proj", &BlockNames::down}};
  for (const Place& p : kPlaces)
    if (layer.name.ends_with(p.ending)) {
      names.*(p.member) = layer.name;
      return;
    }
  refuse(family, str("has a layer '", layer.name, "' that no rotation is known for"));
}

}  // namespace

const std::vector<std::string>& rotated_families() {
  static const std::vector<std::string> kFamilies = {"llama", "mistral", "qwen2", "qwen3"};
  return kFamilies;
}

DecoderLayout read_layout(const ModelSource& source, const Registry& registry) {
  const std::string family = json::get_string(source.config(), "model_type", "config.json").value_or("");
  const std::vector<std::string>& known = rotated_families();
  if (std::find(known.begin(), known.end(), family) == known.end()) refuse(family, "is not known to be rotatable");
  const std::unique_ptr<Model> model = adapter_for(source, registry).open(source, at::kBFloat16);

  DecoderLayout layout;
  layout.hidden = model->hidden_size();
  layout.tied = model->tied_embeddings();
  layout.blocks.resize(static_cast<size_t>(model->num_blocks()));
  for (const LayerPlan& layer : model->linears()) {
    if (layer.block < 0) continue;
    BlockNames& names = layout.blocks.at(static_cast<size_t>(layer.block));
    place(layer, family, names);
    if (layer.name == names.down) layout.intermediate = layer.in_features;
  }
  for (int64_t block = 0; block < model->num_blocks(); ++block) {
    BlockNames& names = layout.blocks[static_cast<size_t>(block)];
    names.attention_norm = model->block_name(block) + ".input_layernorm.weight";
    names.mlp_norm = model->block_name(block) + ".post_attention_layernorm.weight";
    for (const std::string* name : {&names.q, &names.k, &names.v, &names.o, &names.gate, &names.up, &names.down})
      if (name->empty()) refuse(family, str("has a block ", block, " without all of q, k, v, o, gate, up and down"));
    layout.readers.insert({names.q, names.k, names.v, names.gate, names.up});
    layout.downs.insert(names.down);
  }
  const auto attentions = model->attentions();
  if (attentions.empty()) refuse(family, "does not say what its attention heads are");
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

}  // namespace arkit::rotation
