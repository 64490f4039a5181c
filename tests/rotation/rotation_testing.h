#pragma once
// Tiny models, rotated, as logits.

#include <filesystem>
#include <memory>
#include <string>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <arkit/engine/jobs.h>
#include <arkit/model_adapter.h>
#include <arkit/model_source.h>
#include <arkit/registry.h>
#include <arkit/sdk/block_hooks.h>

#include "rotated_source.h"
#include "transform/model_roles.h"

namespace arkit::rotation {

inline const std::filesystem::path kModels = ARKIT_TEST_DATA "/models";

inline const Registry& registry() {
  static const Registry kRegistry(PluginSearch{.named = {}, .folders = {ARKIT_PLUGIN_BUILD_DIR}});
  return kRegistry;
}

inline at::Tensor some_ids() {
  return at::arange(0, 48, at::kLong).mul(37).remainder(251).reshape({2, 24});
}

// Logits of the whole model in float32; `hook` sees every layer.
inline at::Tensor logits_of(const ModelSource& source, BlockHook& hook) {
  at::set_num_threads(1);  // the models are tiny
  const std::unique_ptr<Model> model = adapter_for(source, registry()).open(source, at::kFloat);
  model->load_rest();
  const at::Tensor ids = some_ids();
  const ForwardContext context = model->context(ids.size(0), ids.size(1), {}, {}, {});
  at::Tensor hidden = model->embed(ids);
  for (int64_t block = 0; block < model->num_blocks(); ++block) {
    model->load_block(block);
    hidden = model->run_block(block, hidden, context, hook);
  }
  return model->logits(hidden, hook);
}

inline at::Tensor logits_of(const ModelSource& source) {
  sdk::PlainHook plain;
  return logits_of(source, plain);
}

// Every layer of the blocks in 4 bits.
inline QuantPlan plan_of(const ModelSource& source) {
  QuantPlan plan;
  plan.global.weight.bits = 4;
  plan.layers = adapter_for(source, registry()).open(source, at::kFloat)->linears();
  for (LayerPlan& layer : plan.layers)
    if (layer.block >= 0) layer.quant = plan.global;
  return plan;
}

inline ModelRoles roles_of(const ModelSource& source) {
  return read_roles(source, adapter_for(source, registry()).layout(source), "rotation");
}

inline std::unique_ptr<RotatedSource> rotated(const std::string& model, const std::string& rotation) {
  return std::make_unique<RotatedSource>(open_hf_folder(kModels / model), parse_rotation(rotation), roles_of);
}

// With its online part on all layers of the blocks.
inline std::unique_ptr<RotatedSource> fully_rotated(const std::string& model, const std::string& rotation) {
  auto source = rotated(model, rotation);
  QuantPlan plan = plan_of(*source);
  source->rotate_inputs(plan);
  return source;
}

}  // namespace arkit::rotation
